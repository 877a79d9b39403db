//! What was heard since the last step and is noted in no map: a step begins with it.

use std::collections::BTreeSet;

use crate::model::fact::{Fact, FactId};

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// All that was kept from the steps before is to be made anew.
    pub(super) everything: bool,
    /// Facts that are new or changed, or gone.
    pub(super) facts: Vec<Result<Fact, FactId>>,
    /// DaemonSets that are new or others than before.
    pub(super) daemon_sets: BTreeSet<String>,
}

impl Clone for Heard {
    /// A copy of a state is stepped on from as after a restart.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Heard {
    /// What it is about is in the state, which is compared.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
