//! Tests of the adapters against a real wire.

mod command_provider;
mod radl;
mod recipe;
mod remote;
