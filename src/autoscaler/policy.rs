//! The policy: how the decision core is to behave. Times are in milliseconds, so that the journal writes
//! them exactly; every one has a default that suits machines that boot in a minute or two.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::consolidation::Consolidation;
use super::energy::Energy;
use super::time::after;
use crate::schedule::{Window, WindowError, utc};

/// How the decision core is to behave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Decide this long after the last new waiting pod.
    pub batch_idle_ms: i64,
    /// Decide at most this long after the first new waiting pod.
    pub batch_max_ms: i64,
    /// A worker without work for this long goes off,
    pub idle_timeout_ms: i64,
    /// unless this is set: then it goes once its break-even time has passed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub break_even: bool,
    /// A machine that came up stays on for at least this long.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_on_ms: i64,
    /// Which machines are emptied so that they can go off, and how patiently.
    #[serde(skip_serializing_if = "Consolidation::is_default")]
    pub consolidation: Consolidation,
    /// A machine that is not Ready this long after its power on has failed to boot.
    pub boot_timeout_ms: i64,
    /// A machine that is not seen off this long after a graceful power off has its power cut.
    pub off_timeout_ms: i64,
    /// A drain that has not ended in this time is given up and its node uncordoned.
    pub drain_timeout_ms: i64,
    /// How long a failed machine rests after its first failure; each further failure doubles it.
    pub backoff_base_ms: i64,
    /// The longest rest of a failed machine.
    pub backoff_max_ms: i64,
    /// How long after an action's error the same is tried again; doubles up to `backoff_max_ms`.
    pub retry_ms: i64,
    /// How long a cordoned node is watched before its power may go: a pod may have been bound just before.
    pub settle_ms: i64,
    /// How often a machine whose node is not Ready has its power looked at.
    pub observe_ms: i64,
    /// A pod that the scheduler leaves waiting this long beside a node that it should fit is believed: it does not.
    pub doubt_ms: i64,
    /// An action without an outcome after this long is given up as lost.
    pub lost_ms: i64,
    /// The most machines that boot at once; none means no limit.
    pub max_booting: Option<u32>,
    /// A machine that does not come up has its power cut and given back once before it is given up.
    pub power_cycle: bool,
    /// A machine that failed this often without working in between is told to a person.
    pub tell_after: u32,
    /// Machines that a person switches, and nobody else.
    pub by_hand: BTreeSet<String>,
    /// The most machines that begin to boot within a minute; none means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_boots_per_minute: Option<u32>,
    /// Pods of a lower priority than this are expendable: no machine is powered on for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expendable_below: Option<i32>,
    /// What machines draw and what waiting is worth.
    pub energy: Energy,
    /// Pools that stand in for others once those have no machine to give (`ec3_if_fail`): how far down the chain.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stand_ins: BTreeMap<String, u32>,
    /// The pools that they stand in for. One rests as a whole when a machine of it fails, for its cloud has refused it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub relieved: BTreeSet<String>,
    /// Pools whose machines are paid for by the interval: they go off just before one ends.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub paid: BTreeMap<String, Paid>,
    /// Bounds of each pool, by name. A pool that is not here has a minimum of 0 and no maximum.
    pub pools: BTreeMap<String, Bounds>,
    /// Windows of time in which a pool's minimum is raised.
    pub schedule: Vec<Rule>,
    /// The queues there are. At a start what is remembered of any other is let go.
    pub queues: BTreeSet<String>,
}

/// How the time of a machine is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paid {
    /// It is paid for so long at once, from its power on.
    pub interval_ms: i64,
    /// It may go so long before that ends.
    pub before_ms: i64,
}

impl Paid {
    /// When a machine that was powered on at `on` may go next; none when it may go now.
    pub(super) fn next(self, on: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let interval = self.interval_ms.max(1);
        let passed = now.as_millisecond().saturating_sub(on.as_millisecond()).max(0);
        let opens = interval.saturating_sub(self.before_ms).max(0);
        let begun = passed / interval * interval;
        (passed - begun < opens).then(|| after(on, begun.saturating_add(opens)))
    }
}

/// How many machines of a pool are on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// At least this many stay on.
    pub min: u32,
    /// At most this many are on; none means all there are.
    pub max: Option<u32>,
}

/// A window of time that raises a pool's minimum: one `[[schedule]]` of the config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The pool.
    pub pool: String,
    /// When the window opens: five fields of POSIX cron.
    pub cron: String,
    /// The time zone of those fields, such as `Europe/Madrid`.
    #[serde(default = "utc")]
    pub timezone: String,
    /// How long it stays open.
    pub duration_ms: i64,
    /// The pool's minimum while it is open.
    pub min: u32,
}

impl Rule {
    /// Reads the rule's cron text and time zone.
    pub fn window(&self) -> Result<Window, WindowError> {
        Window::parse(&self.cron, &self.timezone, self.duration_ms)
    }
}

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A `[[schedule]]` cannot be read.
    #[error("[[schedule]] number {number} (pool `{pool}`): {reason}")]
    Schedule {
        /// Which one, from 1.
        number: usize,
        /// Its pool.
        pool: String,
        /// What is wrong.
        reason: WindowError,
    },
    /// A `[[budget]]` cannot be read.
    #[error("[[budget]] number {number}: {reason}")]
    Budget {
        /// Which one, from 1.
        number: usize,
        /// What is wrong.
        reason: WindowError,
    },
    /// A time is zero or negative where it must not be.
    #[error("`{name}` is {value} ms; it must be greater than 0")]
    NotPositive {
        /// The key.
        name: &'static str,
        /// Its value.
        value: i64,
    },
    /// A minimum is above its maximum.
    #[error("pool `{pool}` has a minimum of {min} above its maximum of {max}")]
    Bounds {
        /// The pool.
        pool: String,
        /// Its minimum.
        min: u32,
        /// Its maximum.
        max: u32,
    },
}

impl Policy {
    /// The pools' minimums at this time, and when they next change.
    pub(super) fn minimums(&self, now: Timestamp, until: &mut Option<Timestamp>) -> BTreeMap<String, u32> {
        let mut minimums: BTreeMap<String, u32> =
            self.pools.iter().map(|(pool, bounds)| (pool.clone(), bounds.min)).collect();
        *until = None;
        for rule in &self.schedule {
            let Ok(window) = rule.window() else { continue };
            if window.is_active(now) {
                let minimum = minimums.entry(rule.pool.clone()).or_default();
                *minimum = rule.min.max(*minimum);
            }
            if let Some(change) = window.next_change(now) {
                *until = Some(until.map_or(change, |until| until.min(change)));
            }
        }
        minimums
    }

    /// Finds what is wrong with it, if anything: to be asked before it is handed to the core, which ignores
    /// a window that it cannot read.
    pub fn check(&self) -> Result<(), PolicyError> {
        for (name, value) in [
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("boot_timeout_ms", self.boot_timeout_ms),
            ("off_timeout_ms", self.off_timeout_ms),
            ("drain_timeout_ms", self.drain_timeout_ms),
            ("backoff_base_ms", self.backoff_base_ms),
            ("backoff_max_ms", self.backoff_max_ms),
            ("retry_ms", self.retry_ms),
            ("observe_ms", self.observe_ms),
            ("doubt_ms", self.doubt_ms),
            ("lost_ms", self.lost_ms),
        ] {
            if value <= 0 {
                return Err(PolicyError::NotPositive { name, value });
            }
        }
        for (pool, bounds) in &self.pools {
            if let Some(max) = bounds.max.filter(|max| *max < bounds.min) {
                return Err(PolicyError::Bounds { pool: pool.clone(), min: bounds.min, max });
            }
        }
        for (index, budget) in self.consolidation.budgets.iter().enumerate() {
            let number = index + 1;
            budget.window().transpose().map_err(|reason| PolicyError::Budget { number, reason })?;
        }
        for (index, rule) in self.schedule.iter().enumerate() {
            rule.window().map_err(|reason| PolicyError::Schedule {
                number: index + 1,
                pool: rule.pool.clone(),
                reason,
            })?;
        }
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(ms: &i64) -> bool {
    *ms == 0
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            batch_idle_ms: 1_000,
            batch_max_ms: 10_000,
            idle_timeout_ms: 600_000,
            break_even: false,
            min_on_ms: 0,
            consolidation: Consolidation::default(),
            boot_timeout_ms: 300_000,
            off_timeout_ms: 120_000,
            drain_timeout_ms: 600_000,
            backoff_base_ms: 60_000,
            backoff_max_ms: 3_600_000,
            retry_ms: 5_000,
            settle_ms: 2_000,
            observe_ms: 30_000,
            doubt_ms: 120_000,
            lost_ms: 1_800_000,
            max_booting: None,
            power_cycle: true,
            tell_after: 3,
            by_hand: BTreeSet::new(),
            max_boots_per_minute: None,
            expendable_below: None,
            energy: Energy::default(),
            stand_ins: BTreeMap::new(),
            relieved: BTreeSet::new(),
            paid: BTreeMap::new(),
            pools: BTreeMap::new(),
            schedule: Vec::new(),
            queues: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paid_for_is_used_up_to_its_end() {
        let paid = Paid { interval_ms: 3_600_000, before_ms: 300_000 };
        let on = Timestamp::from_second(1_767_571_200).unwrap();
        let at = |seconds: i64| Timestamp::from_second(1_767_571_200 + seconds).unwrap();
        assert_eq!(paid.next(on, at(0)), Some(at(3300)));
        assert_eq!(paid.next(on, at(3299)), Some(at(3300)));
        assert_eq!(paid.next(on, at(3300)), None, "to the millisecond");
        assert_eq!(paid.next(on, at(3599)), None);
        assert_eq!(paid.next(on, at(3600)), Some(at(6900)), "another hour has begun");
        // As long before as the whole interval: at any time.
        assert_eq!(Paid { interval_ms: 1000, before_ms: 5000 }.next(on, at(7)), None);
    }
}
