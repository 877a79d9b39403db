//! The policy: how the decision core is to behave.

use serde::{Deserialize, Serialize};

/// Times in milliseconds, so that the journal writes them exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// A worker without work for this long goes off.
    pub idle_timeout_ms: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { idle_timeout_ms: 600_000 }
    }
}
