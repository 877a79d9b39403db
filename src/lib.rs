//! Marea turns one RADL file and a rack of machines into an elastic, on-premises Kubernetes cluster.
//!
//! The modules stand on floors, and a file imports only from lower ones (`tests/tidy.rs` holds this;
//! `docs/architecture.md` draws it):
//!
//! ```text
//! 8  main
//! 7  cli                              the edge: the words a person types
//! 6  daemon                           the one event loop
//! 5  executor, queue, bootstrap, http, supervisor   doing
//! 4  provider, kubernetes, store, metrics, bundle, s3, contextualize
//! 3  remote, clock, config, bootstrap::plan, contextualize::plan; simulate, which is pure
//! 2  autoscaler, recipe               deciding: pure
//! 1  radl, scheduling, schedule       reading and fitting: pure
//! 0  model, diagnostic                plain data
//! ```

pub mod autoscaler;
pub mod bootstrap;
pub mod bundle;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contextualize;
pub mod daemon;
pub mod diagnostic;
pub mod executor;
pub mod functions;
pub mod http;
pub mod kubernetes;
pub mod metrics;
pub mod model;
pub mod provider;
pub mod queue;
pub mod radl;
pub mod recipe;
pub mod remote;
pub mod s3;
pub mod schedule;
pub mod scheduling;
pub mod simulate;
pub mod standin;
pub mod store;
pub mod supervisor;
