//! The names of limits, and what a limit that was reached says.

use std::time::Duration;

/// A limit, by the name that configuration, answers and metrics have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Requests of one address.
    Address,
    /// Refused tokens of one address.
    FailedAuth,
    /// The address has earned a drop.
    Blocked,
    /// An operator has blocked the address.
    Ordered,
    /// Messages of one principal.
    Token,
    /// Messages of one tenant.
    Tenant,
    /// Calls of one principal to some tools.
    Tool,
    /// Calls of one tool by one principal since midnight.
    BudgetCalls,
    /// Bytes of them and of their answers.
    BudgetBytes,
    /// Different arguments of them.
    BudgetArguments,
    /// The same arguments of them again and again.
    BudgetRepeats,
    /// Open streams of one principal.
    PrincipalStreams,
    /// Open streams of one tenant.
    TenantStreams,
}

/// A limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Which.
    pub limit: Limit,
    /// When to come again.
    pub wait: Duration,
}

impl Limit {
    /// The key in the configuration, without spaces; what answers and metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "rate_limiting.per_address",
            Self::FailedAuth => "rate_limiting.failed_auth",
            Self::Blocked => "rate_limiting.kernel_drop",
            Self::Ordered => "airlock block",
            Self::Token => "rate_limiting.per_token",
            Self::Tenant => "rate_limiting.per_tenant.requests",
            Self::Tool => "rate_limiting.per_tool",
            Self::BudgetCalls => "budget.calls",
            Self::BudgetBytes => "budget.bytes",
            Self::BudgetArguments => "budget.arguments",
            Self::BudgetRepeats => "budget.repeats",
            Self::PrincipalStreams => "rate_limiting.per_principal.streams",
            Self::TenantStreams => "rate_limiting.per_tenant.streams",
        }
    }
}
