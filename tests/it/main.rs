//! Tests of the adapters and of the daemon against a real wire: one binary, one module an area.

mod bundle;
mod command_provider;
mod daemon;
mod fake_api;
mod http;
mod kubernetes;
mod radl;
mod recipe;
mod remote;
mod store;
