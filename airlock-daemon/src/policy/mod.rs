//! Policy: Rego through regorus.
