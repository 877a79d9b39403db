//! Tests that boot real machines of the local provider, without a cluster. They need root.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    clippy::unused_self,
    clippy::zombie_processes,
    clippy::needless_for_each,
    unreachable_pub,
    reason = "a test program: it may fail and speak"
)]

#[path = "../bmc.rs"]
#[allow(dead_code, reason = "shared with the other tests, which use all of it")]
mod bmc;
mod local_provider;
