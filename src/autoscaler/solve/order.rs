//! The order in which waiting pods are given places: important ones first, of those the ones that are hardest
//! to please, of those the big ones, then by age.

use std::cmp::{Ordering, Reverse};

use crate::model::pod::Pod;

/// How much a pod asks for, in thousandths of a core and what usually goes with one.
pub fn size(pod: &Pod) -> u64 {
    let extended: u64 = pod.requests.extended.values().fold(0, |sum, amount| sum.saturating_add(*amount));
    pod.requests.cpu_milli.saturating_add(pod.requests.memory >> 22).saturating_add(extended.saturating_mul(100_000))
}

/// How hard it is to please: whom it keeps away from, how it must be spread, whom it must be near.
fn demands(pod: &Pod) -> u8 {
    if !pod.pod_anti_affinity.is_empty() {
        3
    } else if !pod.spread.is_empty() {
        2
    } else {
        u8::from(!pod.pod_affinity.is_empty())
    }
}

/// Sorts what waits, each with its pod.
pub fn sort<T>(waiting: Vec<T>, pod: impl Fn(&T) -> &Pod) -> Vec<T> {
    let rank = |pod: &Pod| (Reverse(pod.priority), Reverse(demands(pod)), Reverse(size(pod)));
    let mut ranked: Vec<_> = waiting.into_iter().map(|one| (rank(pod(&one)), one)).collect();
    ranked.sort_by(|(one_rank, one), (two_rank, two)| {
        one_rank.cmp(two_rank).then_with(|| {
            let (one, two) = (pod(one), pod(two));
            let age: Ordering = one.created.cmp(&two.created);
            age.then_with(|| one.id.cmp(&two.id))
        })
    });
    ranked.into_iter().map(|(_, one)| one).collect()
}
