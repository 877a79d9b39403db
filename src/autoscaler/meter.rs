//! A meter: what each machine has drawn, as its BMC measured where it measures, else as machines of its kind draw; and
//! what was saved against the same machine always on. It runs with what is known between two events; while the daemon
//! does not run, nothing is counted.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::energy::{price, standby};
use super::policy::Policy;
use super::state::{Phase, State, Tracked, after};
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

/// What one machine has drawn, in millijoules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meter {
    /// Since when the draw is as it is now.
    pub since: Option<Timestamp>,
    /// The draw now.
    pub draw: Draw,
    /// By measurement.
    pub measured_mj: u64,
    /// By the model.
    pub modelled_mj: u64,
    /// Saved against always on. A boot costs more than it saves: it counts against it.
    pub saved_mj: i64,
}

/// What a machine draws at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Draw {
    /// In milliwatts.
    pub mw: u64,
    /// What it would draw if it were always on.
    pub always_mw: u64,
    /// Its BMC says so.
    pub measured: bool,
}

/// What a meter shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// Watts now.
    pub watts: u64,
    /// They are measured, and not modelled.
    pub measured: bool,
    /// Joules that were measured.
    pub measured_j: u64,
    /// Joules by the model.
    pub modelled_j: u64,
    /// Joules saved against always on.
    pub saved_j: i64,
}

impl Meter {
    /// Something is to be written down: another draw, or what has gone on for long.
    fn is_due(&self, now: Timestamp, draw: Draw, round_ms: i64) -> bool {
        draw != self.draw || self.since.is_none_or(|since| now >= after(since, round_ms))
    }

    /// Counts up to now, and goes on with this draw.
    fn turn(&mut self, now: Timestamp, draw: Draw) {
        self.count(now);
        self.since = Some(now);
        self.draw = draw;
    }

    fn count(&mut self, now: Timestamp) {
        let Some(since) = self.since else { return };
        let ms = u64::try_from(now.as_millisecond().saturating_sub(since.as_millisecond())).unwrap_or_default();
        let used = self.draw.mw.saturating_mul(ms) / 1000;
        let sum = if self.draw.measured { &mut self.measured_mj } else { &mut self.modelled_mj };
        *sum = sum.saturating_add(used);
        let always = self.draw.always_mw.saturating_mul(ms) / 1000;
        let saved = i64::try_from(always).unwrap_or(i64::MAX).saturating_sub(i64::try_from(used).unwrap_or(i64::MAX));
        self.saved_mj = self.saved_mj.saturating_add(saved);
    }

    /// What it shows now.
    pub fn reading(&self, now: Timestamp) -> Reading {
        let mut whole = self.clone();
        whole.count(now);
        Reading {
            watts: whole.draw.mw.saturating_add(500) / 1000,
            measured: whole.draw.measured,
            measured_j: whole.measured_mj / 1000,
            modelled_j: whole.modelled_mj / 1000,
            saved_j: whole.saved_mj / 1000,
        }
    }
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

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_571_200 + seconds).unwrap()
    }

    fn watts(mw: u64, always_mw: u64, measured: bool) -> Draw {
        Draw { mw: mw * 1000, always_mw: always_mw * 1000, measured }
    }

    #[test]
    fn what_is_drawn_is_counted_by_where_it_is_known_from() {
        let mut meter = Meter::default();
        meter.turn(time(0), watts(100, 100, false));
        assert_eq!(meter.reading(time(10)).modelled_j, 1000, "it shows what runs, too");
        meter.turn(time(60), watts(5, 60, true));
        assert!(!meter.is_due(time(61), watts(5, 60, true), ROUND_MS), "what goes on is not written down each time");
        assert!(meter.is_due(time(61), watts(5, 60, false), ROUND_MS));
        assert!(meter.is_due(time(661), watts(5, 60, true), ROUND_MS));
        let rounds: BTreeSet<i64> = (0..1000).map(|number| round_ms(&format!("worker-{number}"))).collect();
        assert!(rounds.len() > 900 && *rounds.first().unwrap() >= ROUND_MS / 2 && *rounds.last().unwrap() <= ROUND_MS);
        meter.turn(time(160), watts(150, 60, false));
        let seen = meter.reading(time(170));
        assert_eq!((seen.modelled_j, seen.measured_j), (6000 + 1500, 500));
        assert_eq!(seen.saved_j, 100 * 55 - 10 * 90, "a boot counts against what is saved");
        assert_eq!((seen.watts, seen.measured), (150, false));
        // A clock that is set back counts nothing.
        assert_eq!(meter.reading(time(0)).modelled_j, 6000);
    }
}
