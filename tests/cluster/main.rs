//! Tests that boot real machines. They need root.

mod local_provider;
