//! A forecast: which pods come at regular times, learnt from when they came. A machine that would go off just
//! before the next of them is kept on, for its boot would take more than it saves.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::arrivals::{Arrivals, Foreseen, TOGETHER_MS};
use super::price::{break_even_ms, dear};
use super::state::State;
use super::time::after;
use super::tracked::Tracked;
use super::view::{View, ready_places};
use crate::model::pod::{Owner, Pod, PodId};
use crate::scheduling::first_failing_filter;

/// So many kinds of pods are remembered; of more, the half that has not come for longest is forgotten.
const KINDS: usize = 256;
/// So many gaps of each.
const GAPS: usize = 8;
/// At most so many of one kind are expected at a time.
const MOST: u32 = 64;
/// Nothing is expected that is longer ahead than this.
const HORIZON_MS: i64 = 3_600_000;
/// What has been worked out for all machines holds for this long.
const HOLDS_MS: i64 = 10_000;

/// The kind of a pod: who makes it, without what changes from one to the next.
fn kind(pod: &Pod) -> String {
    let name = match &pod.owner {
        Owner::Controller(name) => name,
        Owner::Bare | Owner::DaemonSet(_) | Owner::Mirror => &pod.id.name,
    };
    let mut stem = name.as_str();
    while let Some((front, last)) = stem.rsplit_once('-') {
        if !last.bytes().any(|byte| byte.is_ascii_digit()) {
            break;
        }
        stem = front;
    }
    format!("{}/{stem}", pod.id.namespace)
}

/// Takes note of a pod that has come. One of a list may have been told of before: it does not count as one more.
pub(super) fn learn(state: &mut State, pod: &Pod, listed: bool) {
    if matches!(pod.owner, Owner::DaemonSet(_) | Owner::Mirror) || state.pods.contains_key(&pod.id) {
        return;
    }
    let kind = kind(pod);
    let Some(arrivals) = state.arrivals.get_mut(&kind) else {
        if state.arrivals.len() >= KINDS {
            let mut kinds: Vec<_> = state.arrivals.iter().map(|(kind, one)| (one.last, kind.clone())).collect();
            kinds.sort_unstable();
            for (_, kind) in &kinds[..KINDS / 2] {
                state.arrivals.remove(kind);
            }
        }
        let arrivals = Arrivals { sample: sample(pod), last: pod.created, count: 1, most: 1, gaps_ms: Vec::new() };
        state.arrivals.insert(kind, arrivals);
        return;
    };
    let gap = pod.created.as_millisecond() - arrivals.last.as_millisecond();
    if gap < 0 {
        // It is from before: a list tells of it again.
    } else if gap < TOGETHER_MS {
        arrivals.count = arrivals.count.saturating_add(u32::from(!listed));
    } else {
        arrivals.gaps_ms.push(gap);
        let old = arrivals.gaps_ms.len().saturating_sub(GAPS);
        arrivals.gaps_ms.drain(..old);
        arrivals.most = arrivals.count;
        (arrivals.last, arrivals.count) = (pod.created, 1);
        arrivals.sample = sample(pod);
    }
}

/// What of a pod decides where the next of its kind will fit.
fn sample(pod: &Pod) -> Pod {
    Pod {
        id: PodId { namespace: pod.id.namespace.clone(), name: "expected:".to_owned() },
        requests: pod.requests.clone(),
        node_selector: pod.node_selector.clone(),
        affinity: pod.affinity.clone(),
        tolerations: pod.tolerations.clone(),
        host_ports: pod.host_ports.clone(),
        ..Pod::default()
    }
}

/// When what is expected is so no longer, or is to be worked out again: machines that were kept for it may go then.
pub(super) fn lapses(state: &State) -> impl Iterator<Item = Timestamp> {
    let again = state.foreseen.iter().filter(|foreseen| !foreseen.kept.is_empty()).map(holds_until);
    again.chain(lapse(state))
}

fn lapse(state: &State) -> impl Iterator<Item = Timestamp> {
    state.arrivals.values().filter_map(|arrivals| arrivals.next().map(|next| after(next.lapses, 1)))
}

/// The pods that are expected soon, as they will be judged.
pub(super) fn soon(state: &State, now: Timestamp) -> impl Iterator<Item = (&str, &Pod, u32, Timestamp)> {
    state.arrivals.iter().filter_map(move |(kind, arrivals)| {
        let next = arrivals.next().filter(|next| now <= next.lapses && next.at <= after(now, HORIZON_MS))?;
        Some((kind.as_str(), &arrivals.sample, arrivals.count.max(arrivals.most).min(MOST), next.at))
    })
}

/// When it is to be worked out again.
fn holds_until(foreseen: &Foreseen) -> Timestamp {
    after(foreseen.at, HOLDS_MS)
}

/// Remembers what has been worked out, and forgets what no longer holds.
pub(super) fn keep(state: &mut State, made: Option<Foreseen>, now: Timestamp) {
    if made.is_some() {
        state.foreseen = made;
    } else if state.foreseen.as_ref().is_some_and(|foreseen| now >= holds_until(foreseen)) {
        state.foreseen = None;
    }
}

/// Which machines are kept for what is expected: worked out at the first question, unless that was done lately.
pub(super) struct Forecast<'a> {
    state: &'a State,
    view: &'a View,
    now: Timestamp,
    made: OnceCell<Foreseen>,
}

impl<'a> Forecast<'a> {
    pub(super) fn new(state: &'a State, view: &'a View, now: Timestamp) -> Self {
        Self { state, view, now, made: OnceCell::new() }
    }

    /// What is expected within this machine's break-even time and has its place there, and when.
    pub(super) fn expected(&self, tracked: &Tracked) -> Option<(&str, Timestamp)> {
        let horizon = after(self.now, break_even_ms(&self.state.policy, tracked));
        let known = self.state.foreseen.as_ref().filter(|foreseen| self.now < holds_until(foreseen));
        let foreseen = known.unwrap_or_else(|| self.made.get_or_init(|| self.work_out()));
        let (kind, at) = foreseen.kept.get(&tracked.machine.name)?;
        (*at <= horizon).then_some((kind, *at))
    }

    /// What was worked out for it.
    pub(super) fn made(self) -> Option<Foreseen> {
        self.made.into_inner()
    }

    /// Gives what is expected places on what is on: on busy machines first, then on those that are cheap to keep.
    fn work_out(&self) -> Foreseen {
        let mut foreseen = Foreseen { at: self.now, kept: BTreeMap::new() };
        let mut soon: Vec<_> = soon(self.state, self.now).collect();
        if soon.is_empty() {
            return foreseen;
        }
        soon.sort_by_key(|(kind, _, _, at)| (*at, *kind));
        let mut places = ready_places(self.state, self.view);
        places.sort_by_key(|place| (self.view.load(place.name).work.is_empty(), dear(place.shape), place.name));
        for (kind, pod, count, at) in soon {
            for _ in 0..count {
                let Some(place) = places.iter_mut().find(|place| first_failing_filter(pod, place).is_none()) else {
                    break;
                };
                place.take(pod);
                if self.view.load(place.name).work.is_empty() {
                    foreseen.kept.entry(place.name.to_owned()).or_insert((kind.to_owned(), at));
                }
            }
        }
        foreseen
    }
}

#[cfg(test)]
mod tests {
    use super::super::arrivals::Expected;
    use super::*;

    fn pod(owner: &str, second: i64) -> Pod {
        Pod {
            id: PodId { namespace: "ns".into(), name: format!("{owner}-x{second}") },
            owner: Owner::Controller(owner.into()),
            created: Timestamp::from_second(second).unwrap(),
            ..Pod::default()
        }
    }

    fn learnt(seconds: &[i64]) -> Option<Expected> {
        let mut state = State::default();
        for second in seconds {
            learn(&mut state, &pod(&format!("Job/nightly-{second}"), *second), false);
        }
        assert_eq!(state.arrivals.len(), 1, "one kind");
        state.arrivals["ns/Job/nightly"].next()
    }

    #[test]
    fn what_comes_regularly_is_expected() {
        let at = |seconds: &[i64]| learnt(seconds).map(|next| next.at.as_second());
        assert_eq!(at(&[1000, 1600, 2200]), None, "two gaps are no rule");
        assert_eq!(at(&[1000, 1600, 2200, 2800]), Some(3400));
        assert_eq!(at(&[1000, 1001, 1600, 1605, 2200, 2800]), Some(3400), "those that come together come once");
        assert_eq!(at(&[1000, 1600, 1900, 3800, 4000]), None, "without a rule nothing is expected");
        assert_eq!(at(&[1000, 1600, 2200, 2800, 2200]), Some(3400), "what a list tells again is not news");
    }

    #[test]
    fn kinds_are_told_apart_and_are_not_kept_without_end() {
        assert_eq!(kind(&pod("ReplicaSet/web-6d4cf56db6", 0)), "ns/ReplicaSet/web");
        assert_eq!(kind(&pod("Job/backup-daily", 0)), "ns/Job/backup-daily");
        let mut state = State::default();
        for number in 0..1000 {
            let letters: String = format!("{number:03}").bytes().map(|digit| char::from(digit + 49)).collect();
            learn(&mut state, &pod(&format!("Job/{letters}"), number), false);
        }
        assert!((KINDS / 2..=KINDS).contains(&state.arrivals.len()));
        assert!(state.arrivals.values().all(|one| one.last.as_second() >= 744), "the oldest went");
    }
}
