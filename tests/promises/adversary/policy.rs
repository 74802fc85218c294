//! Principals against a policy that says something else than it seems to.
