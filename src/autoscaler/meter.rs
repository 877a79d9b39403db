//! A meter: what each machine has drawn, as its BMC measured where it measures, else as machines of its kind draw; and
//! what was saved against the same machine always on. It runs with what is known between two events; while the daemon
//! does not run, nothing is counted.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::time::after;

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
    pub(super) fn is_due(&self, now: Timestamp, draw: Draw, round_ms: i64) -> bool {
        draw != self.draw || self.since.is_none_or(|since| now >= after(since, round_ms))
    }

    /// Counts up to now, and goes on with this draw.
    pub(super) fn turn(&mut self, now: Timestamp, draw: Draw) {
        self.count(now);
        self.since = Some(now);
        self.draw = draw;
    }

    pub(super) fn count(&mut self, now: Timestamp) {
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

#[cfg(test)]
mod tests {
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
        assert!(!meter.is_due(time(61), watts(5, 60, true), 600_000), "what goes on is not written down each time");
        assert!(meter.is_due(time(61), watts(5, 60, false), 600_000));
        assert!(meter.is_due(time(661), watts(5, 60, true), 600_000));
        meter.turn(time(160), watts(150, 60, false));
        let seen = meter.reading(time(170));
        assert_eq!((seen.modelled_j, seen.measured_j), (6000 + 1500, 500));
        assert_eq!(seen.saved_j, 100 * 55 - 10 * 90, "a boot counts against what is saved");
        assert_eq!((seen.watts, seen.measured), (150, false));
        // A clock that is set back counts nothing.
        assert_eq!(meter.reading(time(0)).modelled_j, 6000);
    }
}
