//! The command line.

pub mod power;
pub mod run;
pub mod socket;
pub mod status;
pub mod why;
