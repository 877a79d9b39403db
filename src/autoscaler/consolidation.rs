//! Consolidation's part of the policy: whose machines may be emptied so that they can go off, how long it must
//! have been so, and how many at once.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::time::after;
use crate::schedule::{Window, WindowError, utc};

/// So many machines are tried at one step, where nothing else is said.
const A_STEP: usize = 256;
/// Between two steps of one round.
const STEP_MS: i64 = 1_000;

/// Which machines are emptied so that they can go off, and how patiently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Consolidation {
    /// The pools whose machines may be emptied. Without any, only idle machines go off.
    pub pools: BTreeSet<String>,
    /// A machine must have been superfluous for this long, and shunned meanwhile, before a pod of it is evicted.
    pub patience_ms: i64,
    /// How often it is looked for machines that are superfluous.
    pub every_ms: i64,
    /// So many machines are tried at one step: of a large fleet, some now and the next a second later.
    #[serde(skip_serializing_if = "is_usual")]
    pub a_step: usize,
    /// How many machines may be emptied at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
}

impl Default for Consolidation {
    fn default() -> Self {
        Self { pools: BTreeSet::new(), patience_ms: 300_000, every_ms: 60_000, a_step: A_STEP, budgets: Vec::new() }
    }
}

impl Consolidation {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// When it is looked next.
    pub(super) fn next(&self, look: &Look) -> Timestamp {
        after(look.at, if look.behind.is_some() { STEP_MS.min(self.every_ms) } else { self.every_ms })
    }

    /// The budgets that hold for a machine now. A pool that none is written for has one machine at a time.
    pub(super) fn budgets(&self, pool: &str, rack: Option<&str>, now: Timestamp) -> Vec<Limit> {
        let holds = |budget: &&Budget| {
            let mine = budget.pool.as_deref().is_none_or(|name| name == pool)
                && budget.rack.as_deref().is_none_or(|name| Some(name) == rack);
            mine && budget.is_open(now)
        };
        let mut limits: Vec<Limit> = self.budgets.iter().filter(holds).map(Limit::of).collect();
        if !self.budgets.iter().any(|budget| budget.pool.as_deref() == Some(pool) && budget.cron.is_none()) {
            limits.push(Limit { pool: Some(pool.to_owned()), rack: None, most: 1 });
        }
        limits
    }
}

/// How far it has been looked for machines that are superfluous.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// When it was looked last.
    pub at: Timestamp,
    /// The round goes on behind this one, by how many pods it had and its name. Without it the round is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<(usize, String)>,
}

/// A limit that holds now: of the machines of a pool, of a rack, or of both, at most so many.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Limit {
    /// Of this pool, or of all.
    pub(super) pool: Option<String>,
    /// Of this rack, or of all.
    pub(super) rack: Option<String>,
    /// At most so many.
    pub(super) most: u32,
}

impl Limit {
    fn of(budget: &Budget) -> Self {
        Self { pool: budget.pool.clone(), rack: budget.rack.clone(), most: budget.most }
    }

    /// True for a machine that it counts.
    pub(super) fn counts(&self, pool: &str, rack: Option<&str>) -> bool {
        self.pool.as_deref().is_none_or(|name| name == pool)
            && self.rack.as_deref().is_none_or(|name| Some(name) == rack)
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} machines may be emptied at once", self.most)?;
        self.pool.iter().try_for_each(|pool| write!(f, " of pool {pool}"))?;
        self.rack.iter().try_for_each(|rack| write!(f, " of rack {rack}"))
    }
}

/// How many machines may be emptied at once: one `[[budget]]` of the config.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Of this pool; of all without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Of this rack; of all without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// At most so many; 0 for none at all.
    pub most: u32,
    /// Holds only in a window that opens then: five fields of POSIX cron. Without it, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The time zone of those fields.
    #[serde(default = "utc")]
    pub timezone: String,
    /// How long the window stays open.
    #[serde(default)]
    pub duration_ms: i64,
}

impl Budget {
    /// Its window, if it has one.
    pub fn window(&self) -> Option<Result<Window, WindowError>> {
        Some(Window::parse(self.cron.as_ref()?, &self.timezone, self.duration_ms))
    }

    /// One whose window cannot be read always holds: better too few than too many.
    fn is_open(&self, now: Timestamp) -> bool {
        self.window().is_none_or(|window| window.map_or(true, |window| window.is_active(now)))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_usual(machines: &usize) -> bool {
    *machines == A_STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> Timestamp {
        // A Monday, at midnight.
        Timestamp::from_second(1_767_571_200 + seconds).unwrap()
    }

    #[test]
    fn budgets_hold_by_pool_rack_and_window() {
        let budget = |pool: Option<&str>, rack: Option<&str>, most, cron: Option<&str>| Budget {
            pool: pool.map(str::to_owned),
            rack: rack.map(str::to_owned),
            most,
            cron: cron.map(str::to_owned),
            timezone: utc(),
            duration_ms: 3_600_000,
        };
        let all = Consolidation {
            budgets: vec![
                budget(Some("a"), None, 4, None),
                budget(None, Some("r"), 2, None),
                budget(None, None, 0, Some("0 9 * * 1-5")),
            ],
            ..Consolidation::default()
        };
        let most = |pool, rack, seconds| {
            all.budgets(pool, rack, time(seconds)).into_iter().map(|limit| limit.most).min().unwrap()
        };
        assert_eq!((most("a", None, 0), most("a", Some("r"), 0), most("a", Some("s"), 0)), (4, 2, 4));
        assert_eq!(most("b", None, 0), 1, "one at a time where nothing is said");
        assert_eq!((most("a", None, 9 * 3600), most("a", None, 10 * 3600 + 1)), (0, 4), "none in the window");
    }
}
