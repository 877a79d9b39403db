//! The decision core: a pure fold. `step` takes the state, the time and one event, and answers with the
//! actions to take, each so specific that doing it needs no choice. It reads no clock and does no I/O,
//! so the same journal gives the same bytes.

pub mod action;
pub mod arrivals;
mod atlas;
mod chart;
mod consent;
mod consolidate;
pub mod consolidation;
pub mod core;
mod daemon_set;
mod doubt;
pub mod energy;
pub mod event;
pub mod fleet;
mod fold;
mod forecast;
mod heard;
mod hold;
mod judge;
mod kept;
mod life;
pub mod meter;
mod metering;
mod muster;
pub mod noted;
mod plan;
mod pods;
pub mod policy;
pub mod price;
mod promise;
pub mod queue;
pub mod record;
mod scale_down;
mod scale_up;
mod sight;
pub mod solve;
pub mod standin;
pub mod state;
pub mod step;
mod survey;
mod time;
mod timer;
pub mod tracked;
mod view;
pub mod why;

pub use self::action::{Action, What};
pub use self::core::Core;
pub use self::event::{Event, Request};
pub use self::policy::Policy;
pub use self::state::State;
pub use self::step::{next_wakeup, step};
pub use self::why::queue::{QueueStatus, ServiceStatus, queues, why_queue};
pub use self::why::{MachineStatus, Why, status, unplaceable, why_node, why_pod};

#[cfg(test)]
mod tests;
