//! Integration tests: one binary, one module an area.

mod fake_api;
mod http;
mod kubernetes;
mod store;
