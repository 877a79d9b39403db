//! The model: plain data that every other floor speaks in. No kube type, no clock, no I/O.

pub mod cluster;
pub mod context;
pub mod fact;
pub mod mac;
pub mod machine;
pub mod node;
pub mod pod;
pub mod queue;
pub mod resources;
pub mod selector;
