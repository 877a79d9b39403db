//! The survey: goes over all nodes there are or could be, and sets them down in the chart. It is made once; then only
//! what has changed is looked at again.

use std::sync::{Arc, MutexGuard};

use jiff::Timestamp;

use super::atlas::Atlas;
use super::chart::Chart;
use super::sight::{names, sight};
use super::solve::sites::{Seen, Sites};
use super::state::State;
use super::view::View;

/// Looks that no node has any more may be remembered up to so many, besides twice as many as there are nodes.
const SPARE_LOOKS: usize = 1000;

impl Chart {
    fn refresh(&mut self, state: &State, view: &View, now: Timestamp) {
        let Some(changed) = state.machines.changed() else {
            *self = Self::default();
            return;
        };
        let mut names = std::mem::take(&mut self.disturbed);
        names.extend(changed.iter().cloned());
        if names.is_empty() {
            return;
        }
        if let Some(sites) = &mut self.sites {
            let sites = Arc::make_mut(sites);
            for name in &names {
                set(sites, state, view, name, now);
            }
        }
        if let Some(atlas) = &mut self.atlas {
            for name in &names {
                atlas.refresh(state, view, name, now);
            }
        }
    }

    /// All sites as they were when this was asked for.
    pub(super) fn sites(&mut self, state: &State, view: &View, now: Timestamp) -> Arc<Sites> {
        let sites = self.sites.get_or_insert_with(|| {
            let mut sites = Sites::default();
            for name in names(state) {
                set(&mut sites, state, view, name, now);
            }
            Arc::new(sites)
        });
        sites.clone()
    }
}

/// The chart with the scheduler's own filters, which nobody else can ask meanwhile.
pub(super) fn with_atlas<'a>(state: &State, view: &'a View, now: Timestamp) -> MutexGuard<'a, Chart> {
    let mut chart = view.chart();
    chart.refresh(state, view, now);
    if chart.atlas.is_none() {
        chart.atlas = Some(Atlas::of(state, view, now));
    }
    chart
}

/// Has all of it ready for the next step.
pub(super) fn keep(state: &State, view: &View, now: Timestamp) {
    let mut chart = with_atlas(state, view, now);
    let sites = chart.sites(state, view, now);
    if sites.looks().len() > SPARE_LOOKS + 2 * sites.len() {
        chart.sites = None;
    }
    if chart.atlas().is_wasteful() {
        chart.atlas = None;
    }
}

/// Sets one site down as it is.
fn set(sites: &mut Sites, state: &State, view: &View, name: &str, now: Timestamp) {
    let Some(sight) = sight(state, name, now) else { return sites.remove(name) };
    let place = match state.machines.get(name) {
        Some(tracked) if sight.comes => view.future(state, tracked),
        _ => view.place(name, sight.shape, sight.cordoned),
    };
    let seen = Seen {
        shape: sight.shape,
        transient: &sight.transient,
        cordoned: sight.cordoned,
        used: &place.used,
        ports: &place.ports,
        standing: sight.standing,
    };
    sites.set(name, seen);
}
