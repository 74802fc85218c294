//! `policy`: who may do what.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::Period;

/// `policy`: who may do what.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// A directory of `.rego` and data files (`data.yaml`, `data.json`). It is read again on SIGHUP and when
    /// its files change.
    pub path: PathBuf,
    /// The fate of a refusal: it is carried out, or only recorded.
    pub mode: PolicyMode,
    /// The treatment of members of one object of the arguments that differ only in letter case, width or
    /// Unicode normal form.
    pub arguments: PolicyArguments,
    /// Which integers in arguments must be ones that a double holds exactly.
    pub numbers: PolicyNumbers,
    /// How long a decision may be reused for the same question; `null` switches that off. Decisions are kept
    /// by tenant and by everything that the policy can look at, the arguments included where it reads them,
    /// and are forgotten with the policy; a policy that reads the time is always asked.
    pub decision_cache_ttl: Option<Period>,
}

/// `policy.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyMode {
    /// A refusal is a refusal.
    #[default]
    Enforce,
    /// A call that the policy refuses, or allows under obligations that are not met, is recorded
    /// (`policy.shadowed`) and done all the same, and lists show everything. Authentication, limits and
    /// `allow_tools` are enforced as ever, and where no policy is in force everything is refused as ever.
    Shadow,
}

/// `policy.arguments`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyArguments {
    /// They may not: the policy would read one of them and a server without regard to case the other. Such a
    /// call is refused (400, -32602) with a JSON pointer to the second.
    #[default]
    Strict,
    /// They may: for tools whose members differ in letter case only, and servers that tell them apart.
    Lenient,
}

/// `policy.numbers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyNumbers {
    /// Those at places that the policy reads: there `9007199254740993` is refused (400, -32602), since a
    /// reader with doubles takes it for another number. Arguments that the policy does not read are passed on
    /// as they came.
    #[default]
    AsRead,
    /// All of them.
    Exact,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/etc/airlock/policies"),
            mode: PolicyMode::Enforce,
            arguments: PolicyArguments::Strict,
            numbers: PolicyNumbers::AsRead,
            decision_cache_ttl: Some(Period::secs(60)),
        }
    }
}
