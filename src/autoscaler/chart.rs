//! A chart: all nodes there are or could be, as they were last set down for the solver and for the scheduler's own
//! filters, and which of them are to be looked at again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::atlas::Atlas;
use super::solve::sites::Sites;
use crate::model::fact::{Fact, FactId, FactKind};
use crate::model::pod::Pod;

/// All nodes there are or could be.
#[derive(Debug, Default)]
pub(super) struct Chart {
    pub(super) sites: Option<Arc<Sites>>,
    pub(super) atlas: Option<Atlas>,
    /// Nodes that something has happened to since they were looked at.
    pub(super) disturbed: BTreeSet<String>,
}

impl Chart {
    /// Something has happened to these nodes.
    pub(super) fn disturb(&mut self, names: &BTreeSet<String>) {
        if self.sites.is_some() || self.atlas.is_some() {
            self.disturbed.extend(names.iter().cloned());
        }
    }

    /// A pod has changed.
    pub(super) fn change(&mut self, before: Option<&Pod>, after: Option<&Pod>) {
        if let Some(atlas) = &mut self.atlas {
            atlas.change(before, after);
        }
    }

    /// A fact has changed, or is gone.
    pub(super) fn fact(&mut self, fact: Result<&Fact, &FactId>) {
        let kind = match fact {
            Ok(fact) => fact.id().kind,
            Err(id) => id.kind,
        };
        if kind == FactKind::Namespace {
            // Who selects whom depends on it.
            self.atlas = None;
        } else if let Some(atlas) = &mut self.atlas {
            atlas.fact(fact);
        }
    }

    /// The scheduler's own filters: there after `atlas` was asked for.
    pub(super) fn atlas(&mut self) -> &mut Atlas {
        self.atlas.get_or_insert_default()
    }
}
