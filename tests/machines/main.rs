//! Tests that boot real machines of the local provider, without a cluster. They need root.

mod local_provider;
