//! A meter: how long a machine of a world was in which state, and from that what it drew, exactly: as in the daemon's
//! own model (`autoscaler::meter`) it draws at most while it boots, idle watts while it shuts down, and between both
//! in proportion to the CPU that pods on it ask for.

use crate::autoscaler::price::Draws;

/// What a machine does with its power.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Power {
    /// Off.
    #[default]
    Off,
    /// On, its node not Ready yet.
    Booting,
    /// Its node is Ready.
    On,
    /// Shutting down.
    Stopping,
}

/// Milliseconds in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Meter {
    since: i64,
    off: u128,
    booting: u128,
    /// On or shutting down.
    idle: u128,
    /// Thousandths of a core in use, times milliseconds.
    used: u128,
}

impl Meter {
    /// Counts up to now what went on since the last time.
    pub(super) fn count(&mut self, now: i64, power: Power, used_milli: u64) {
        let ms = u128::try_from(now.saturating_sub(self.since)).unwrap_or_default();
        self.since = now;
        match power {
            Power::Off => self.off += ms,
            Power::Booting => self.booting += ms,
            Power::Stopping => self.idle += ms,
            Power::On => {
                self.idle += ms;
                self.used += ms * u128::from(used_milli);
            }
        }
    }

    /// What was drawn, in microjoules (milliwatts times milliseconds), rounded up.
    pub(super) fn drawn(&self, draws: Draws, cpu_milli: u64) -> u128 {
        let by_work = u128::from(draws.full - draws.idle) * self.used;
        self.off * u128::from(draws.standby)
            + self.booting * u128::from(draws.full)
            + self.idle * u128::from(draws.idle)
            + by_work.div_ceil(u128::from(cpu_milli.max(1)))
    }

    /// Milliseconds with more than standby.
    pub(super) fn on(&self) -> u128 {
        self.booting + self.idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_draws_its_own() {
        let draws = Draws { standby: 5_000, idle: 50_000, full: 150_000 };
        let mut meter = Meter::default();
        meter.count(10_000, Power::Off, 0);
        meter.count(70_000, Power::Booting, 0);
        meter.count(100_000, Power::On, 0);
        meter.count(200_000, Power::On, 2_000);
        meter.count(220_000, Power::Stopping, 0);
        // 10 s x 5 W + 60 s x 150 W + 30 s x 50 W + 100 s x (50 + 100 / 2) W + 20 s x 50 W
        let joules = 50 + 9_000 + 1_500 + 10_000 + 1_000;
        assert_eq!(meter.drawn(draws, 4_000), joules * 1_000_000);
        assert_eq!(meter.on(), 210_000);
    }
}
