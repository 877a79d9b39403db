//! Consent: before anything is powered on, the scheduler's own filters are asked about every place that a plan
//! gives. The solver counts the same by shorter ways and leaves volumes out; where the two differ the
//! scheduler is right, and the plan is made again without that place.

use jiff::Timestamp;

use super::atlas::{Atlas, Put};
use super::solve::compile::{Found, Question};
use super::solve::sites::Sites;
use super::state::State;
use super::view::View;

/// The places that the scheduler would not agree to, whoever goes first: waiting pod and site, by their numbers and in
/// the order of these. The atlas is left as it was.
pub(super) fn refusals(
    atlas: &mut Atlas,
    (state, view, now): (&State, &View, Timestamp),
    question: &Question<'_>,
    sites: &Sites,
    found: &Found,
) -> Vec<(usize, usize)> {
    for site in &found.wake {
        atlas.wake(state, view, sites.name(*site));
    }
    // Where the scheduler makes room a pod need not fit yet, and is counted as nominated already.
    let asked = |(pod, _): &&(usize, usize)| !question.waiting[*pod].nominated;
    let mut left: Vec<(usize, usize)> = found.places.iter().filter(asked).copied().collect();
    // What was agreed to before goes first.
    left.sort_by_key(|(pod, site)| question.waiting[*pod].meant != Some(*site));
    let mut puts: Vec<Put> = Vec::with_capacity(left.len());
    loop {
        let before = left.len();
        left.retain(|(pod, site)| {
            let put = atlas.put(question.waiting[*pod].pod, sites.name(*site));
            puts.extend(put);
            put.is_none()
        });
        if left.is_empty() || left.len() == before {
            break;
        }
    }
    for put in puts.into_iter().rev() {
        atlas.take(put);
    }
    for site in &found.wake {
        atlas.set(state, view, sites.name(*site), now);
    }
    left.sort_unstable();
    left
}

/// Leaves out of an answer what was refused, with the rest of a group of which all are placed or none; and machines
/// that then are for nobody.
pub(super) fn without(mut found: Found, question: &Question<'_>, refused: &[(usize, usize)]) -> Found {
    let homeless = refused.iter().map(|(pod, _)| pod).chain(&found.missed);
    let broken: Vec<&str> = homeless.filter_map(|pod| question.waiting[*pod].group).collect();
    let stays = |place: &(usize, usize)| {
        let group = question.waiting[place.0].group;
        !refused.contains(place) && group.is_none_or(|group| !broken.contains(&group))
    };
    let (places, lost): (Vec<_>, Vec<_>) = found.places.into_iter().partition(stays);
    found.wake.retain(|site| places.iter().any(|(_, at)| at == site));
    found.missed.extend(lost.into_iter().map(|(pod, _)| pod));
    found.missed.sort_unstable();
    Found { places, ..found }
}
