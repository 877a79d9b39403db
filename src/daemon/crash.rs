//! A planted crash: for tests, the process dies at a point that no outside hand can hit, as a kill -9 would do it.
//! `MAREA_CRASH_AT=journaled:ACTION` dies when an action is written down and not yet begun;
//! `done:ACTION` when it has been carried out and its outcome is not yet written.

use std::collections::BTreeSet;

use crate::autoscaler::{Action, Event};
use crate::executor::name;

/// Where to die; nowhere unless a test asks.
pub(super) struct Crash {
    point: Option<String>,
    watched: BTreeSet<u64>,
}

impl Crash {
    /// The point that the environment names.
    pub(super) fn planted() -> Self {
        Self { point: std::env::var("MAREA_CRASH_AT").ok(), watched: BTreeSet::new() }
    }

    /// An action stands in the journal and is about to begin.
    pub(super) fn journaled(&mut self, action: &Action) {
        let Some(point) = &self.point else { return };
        if *point == format!("journaled:{}", name(&action.what)) {
            die(point);
        }
        if *point == format!("done:{}", name(&action.what)) {
            self.watched.insert(action.id);
        }
    }

    /// An outcome has come and is about to be written.
    pub(super) fn outcome(&self, event: &Event) {
        if let (Some(point), Event::Done { action, .. }) = (&self.point, event)
            && self.watched.contains(action)
        {
            die(point);
        }
    }
}

fn die(point: &str) -> ! {
    tracing::error!(point, "planted crash");
    std::process::abort()
}
