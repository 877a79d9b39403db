//! Tests of the adapters and of the daemon against a real wire: one binary, one module an area.

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
mod bmc;
mod bundle;
mod cli;
mod command_provider;
mod daemon;
mod docs;
mod fake_api;
mod fake_namespace;
mod functions;
mod http;
mod im;
mod im_daemon;
mod im_node;
#[path = "../im_server.rs"]
mod im_server;
mod kubernetes;
mod metal;
mod minio;
mod oscar_clients;
mod queues;
mod radl;
mod recipe;
mod remote;
mod s3;
mod simulate;
mod store;
mod supervisor;
