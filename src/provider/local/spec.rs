//! A local machine's spec: what it is to be, and the record of what it was made as.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a local machine is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineSpec {
    /// Host name and node name.
    pub name: String,
    /// Its address in the site's subnet, host 2 to 254.
    pub address: Ipv4Addr,
    /// CPUs: what is shown inside and what it may use. No more than this computer has.
    pub cpus: u32,
    /// Memory in bytes: what is shown inside and what it may use.
    pub memory: u64,
    /// A folder shown read-only inside at `/var/lib/marea/bundle`, so that nothing need be pushed.
    pub bundle: Option<PathBuf>,
}

/// A machine as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) spec: MachineSpec,
    /// The folder name of the base that its changes lie over; a newer Marea has another one.
    pub(super) base: String,
}
