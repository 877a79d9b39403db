//! Energy's part of the policy: what is known of what machines draw and of what waiting is worth. What is not set
//! is guessed from a machine's size.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is known of energy. What is not set is guessed from a machine's size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Energy {
    /// How long a machine that is powered on is expected to stay.
    pub stay_ms: i64,
    /// What one pod's waiting is worth: as if it drew so many watts.
    pub waiting_watts: u32,
    /// How long a machine takes to boot that has not booted yet.
    pub boot_ms: i64,
    /// How long a machine takes to shut down.
    pub off_ms: i64,
    /// Watts by pool.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<String, Watts>,
    /// Watts by machine, in place of its pool's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub machines: BTreeMap<String, Watts>,
    /// All machines together may draw so many watts; none means no limit.
    pub max_watts: Option<u32>,
    /// The machines of a rack may draw so many watts, by rack.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub racks: BTreeMap<String, u32>,
}

/// What a machine draws, and what it hangs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watts {
    /// On, without work.
    pub idle: Option<u32>,
    /// At most.
    pub full: Option<u32>,
    /// Off, its BMC awake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby: Option<u32>,
    /// Its rack or power strip.
    pub rack: Option<String>,
}

impl Default for Energy {
    fn default() -> Self {
        Self {
            stay_ms: 3_600_000,
            waiting_watts: 20,
            boot_ms: 90_000,
            off_ms: 30_000,
            pools: BTreeMap::new(),
            machines: BTreeMap::new(),
            max_watts: None,
            racks: BTreeMap::new(),
        }
    }
}
