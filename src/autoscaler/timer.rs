//! A timer: when a machine next asks to be looked at, though nothing happens to it.

use jiff::Timestamp;

use super::record::Cycle;
use super::scale_down::{goes_at, paid};
use super::state::State;
use super::time::after;
use super::tracked::{Phase, Tracked};

/// When a machine next asks to be looked at.
pub(super) fn machine_times(state: &State, tracked: &Tracked, times: &mut Vec<Timestamp>) {
    let policy = &state.policy;
    let since = tracked.since;
    times.extend(tracked.not_before);
    times.extend(tracked.in_flight.as_ref().map(|flight| after(flight.since, policy.lost_ms)));
    match &tracked.phase {
        Phase::Unknown => times.push(after(since, policy.observe_ms)),
        Phase::Off | Phase::Cordoning | Phase::Uncordoning | Phase::DeletingNode { .. } => {}
        Phase::PoweringOn { deadline, .. } => {
            times.push(*deadline);
            if let Some(Cycle::Done(at)) = tracked.record.cycle {
                times.push(after(at, policy.boot_timeout_ms));
            }
            times.extend(tracked.power_seen.map(|(at, _)| after(at, policy.observe_ms)));
        }
        Phase::On { idle_since, unready_since } => {
            times.push(after(since, policy.settle_ms));
            // What should be on it by then is there, or will not be.
            times.push(after(since, policy.boot_timeout_ms));
            if let Some(idle) = idle_since {
                let idle = goes_at(policy, tracked, *idle);
                times.push(idle);
                times.extend(paid(state, tracked, state.now.max(idle)));
            }
            if let Some(unready) = unready_since {
                times.push(after(*unready, policy.boot_timeout_ms));
                times.push(after(*unready, policy.observe_ms));
                times.extend(tracked.power_seen.map(|(at, _)| after(at, policy.observe_ms)));
            }
        }
        Phase::Looking => {
            times.push(after(since, policy.settle_ms));
            times.push(after(since, policy.settle_ms + policy.observe_ms));
        }
        Phase::Draining => times.push(after(since, policy.drain_timeout_ms)),
        Phase::PoweringOff { .. } => times.push(after(since, policy.off_timeout_ms)),
        Phase::Failed { retry_at } => times.push(*retry_at),
    }
}
