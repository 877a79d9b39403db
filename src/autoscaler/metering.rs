//! Metering: turns machines' meters on with what is known of their draw: as their BMCs measured, or as machines of
//! their kind draw.

use jiff::Timestamp;

use super::meter::Draw;
use super::policy::Policy;
use super::price::{price, standby};
use super::state::State;
use super::time::after;
use super::tracked::{Phase, Tracked};
use super::view::View;
use crate::model::machine::Power;

/// A measurement holds for this long, unless the machine goes on or off before.
const HOLDS_MS: i64 = 600_000;

/// What runs on unchanged is written down this often at least.
const ROUND_MS: i64 = 600_000;

/// How often a machine's meter is written down: not all at once, however many came up together.
fn round_ms(name: &str) -> i64 {
    let half = ROUND_MS.unsigned_abs() / 2;
    // FNV-1a: any number will do that is the same in every run.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    ROUND_MS - i64::try_from(hash % half).unwrap_or_default()
}

/// Turns the meters of these machines on to now: those of whom something is new.
pub(super) fn turn<'a>(state: &mut State, view: &View, names: impl IntoIterator<Item = &'a String>, now: Timestamp) {
    for name in names {
        let Some(tracked) = state.machines.get(name) else { continue };
        let load = view.load(name);
        let used = load.rest.cpu_milli.saturating_add(load.daemons.cpu_milli);
        let draw = draw(&state.policy, tracked, used, now);
        if tracked.record.meter.is_due(now, draw, round_ms(name))
            && let Some(meter) = state.machines.meter_mut(name)
        {
            meter.turn(now, draw);
        }
    }
}

/// When time alone turns a machine's meter: nobody need be woken for it.
pub(super) fn times(tracked: &Tracked) -> impl Iterator<Item = Timestamp> {
    let round = tracked.record.meter.since.map(|since| after(since, round_ms(&tracked.machine.name)));
    round.into_iter().chain(tracked.record.watts.map(|(at, _)| after(at, HOLDS_MS)))
}

/// Stops all meters at the last moment that anything was known of: the daemon did not run since then.
pub(super) fn stop(state: &mut State, last: Timestamp) {
    for tracked in state.machines.values_mut() {
        tracked.record.meter.count(last);
        tracked.record.meter.since = None;
    }
}

/// What a machine draws now.
fn draw(policy: &Policy, tracked: &Tracked, used_milli: u64, now: Timestamp) -> Draw {
    let price = price(policy, tracked);
    let seen_on =
        tracked.record.unverified.is_some() || tracked.power_seen.is_some_and(|(_, power)| power == Power::On);
    let (model, is_on) = match tracked.phase {
        Phase::Unknown => return Draw::default(),
        Phase::Failed { .. } if seen_on => (price.idle, false),
        Phase::Off | Phase::DeletingNode { .. } | Phase::Failed { .. } => (standby(policy, tracked), false),
        Phase::PoweringOn { .. } => (price.full, false),
        Phase::PoweringOff { .. } => (price.idle, false),
        Phase::On { .. } | Phase::Cordoning | Phase::Looking | Phase::Draining | Phase::Uncordoning => {
            let all = tracked.machine.shape.allocatable.cpu_milli.max(1);
            let used = used_milli.min(all);
            (price.idle + (price.full - price.idle).saturating_mul(used) / all, true)
        }
    };
    // What was measured before its power last changed says nothing of now.
    let changed = match tracked.phase {
        Phase::Off | Phase::DeletingNode { .. } | Phase::Failed { .. } | Phase::PoweringOn { .. } | Phase::Unknown => {
            tracked.since
        }
        Phase::On { .. }
        | Phase::Cordoning
        | Phase::Looking
        | Phase::Draining
        | Phase::Uncordoning
        | Phase::PoweringOff { .. } => tracked.off_seen.unwrap_or(Timestamp::MIN),
    };
    let fresh = |at: Timestamp| at >= changed && now < after(at, HOLDS_MS);
    let measured = tracked.record.watts.filter(|(at, _)| fresh(*at)).map(|(_, watts)| u64::from(watts) * 1000);
    let mw = measured.unwrap_or(model);
    Draw { mw, always_mw: if is_on { mw } else { price.idle }, measured: measured.is_some() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn meters_are_not_all_written_down_at_once() {
        let rounds: BTreeSet<i64> = (0..1000).map(|number| round_ms(&format!("worker-{number}"))).collect();
        assert!(rounds.len() > 900 && *rounds.first().unwrap() >= ROUND_MS / 2 && *rounds.last().unwrap() <= ROUND_MS);
    }
}
