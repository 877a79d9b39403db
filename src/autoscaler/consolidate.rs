//! Consolidation: a machine whose pods all fit on others is superfluous. It is shunned first, so that new pods go
//! elsewhere; if it stays superfluous for long enough its pods are evicted, and it goes off.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::consolidation::{Limit, Look};
use super::hold::{self, Hold};
use super::judge::bound;
use super::life::abort;
use super::pods::is_demand;
use super::price::{break_even_ms, price, rack};
use super::scale_down::{minimum_soon, paid};
use super::solve::compile::Waiter;
use super::solve::drain::{Drain, Drained, Resident, drain};
use super::state::{State, serving};
use super::time::{after, until};
use super::tracked::{Phase, Tracked, boots, is_emptied};
use super::view::{Busy, View};
use super::{forecast, promise, survey};
use crate::model::pod::{Owner, Phase as PodPhase, Pod};
use crate::scheduling::Misfit;

/// So many pods that hold a machine are named.
const NAMED: usize = 3;

/// Gives up what no longer works out, then looks for machines that are superfluous, now and then.
pub(super) fn decide(state: &mut State, view: &View, now: Timestamp) {
    reconsider(state, view, now);
    let consolidation = &state.policy.consolidation;
    if consolidation.pools.is_empty() {
        state.look = None;
        stay(state, |_| true);
        return;
    }
    let due = state.look.as_ref().is_none_or(|look| now >= consolidation.next(look));
    if !state.fresh() || !due {
        return;
    }
    let behind = state.look.take().and_then(|look| look.behind);
    state.look = Some(Look { at: now, behind: behind.clone() });
    // Until what is wanted is there, nothing is known to be superfluous.
    if state.batch.is_some() || state.machines.moving().any(|tracked| boots(tracked, now)) {
        return;
    }
    let (tried, behind) = to_try(state, view, behind.as_ref(), now);
    let spare = superfluous(state, view, &tried, now);
    state.look = Some(Look { at: now, behind });
    stay(state, |name| !spare.contains_key(name));
    for (name, pods) in spare {
        if state.machines.get(&name).is_some_and(|tracked| tracked.leaving.is_none())
            && let Some(mut tracked) = state.machines.get_mut(&name)
        {
            tracked.leaving = Some(now);
        }
        let may = state.machines.get(&name).is_some_and(|tracked| waits_for(state, tracked, now).is_none());
        if let (Some(pods), true, Some(mut tracked)) = (pods, may, state.machines.get_mut(&name)) {
            tracked.enter(Phase::Cordoning, now, format!("{} on other machines", they_fit(pods)));
        }
    }
}

fn is_on(tracked: &Tracked) -> bool {
    matches!(tracked.phase, Phase::On { .. })
}

/// These of the machines that are on are not meant to go off any more.
fn stay(state: &mut State, these: impl Fn(&str) -> bool) {
    let on = state.machines.leaving().filter(|tracked| is_on(tracked)).map(|tracked| &tracked.machine.name);
    for name in on.filter(|name| these(name)).cloned().collect::<Vec<_>>() {
        if let Some(mut tracked) = state.machines.get_mut(&name) {
            tracked.leaving = None;
        }
    }
}

/// Those that are being emptied stay on if their pods may not be moved after all, or have no place elsewhere any more.
/// Asked before each eviction: what is on other machines changes it.
fn reconsider(state: &mut State, view: &View, now: Timestamp) {
    if !state.fresh() {
        return;
    }
    let busy = |tracked: &&Tracked| {
        tracked.leaving.is_some() && is_emptied(&tracked.phase) && !view.load(&tracked.machine.name).work.is_empty()
    };
    let open = |tracked: &&Tracked| {
        let paused = tracked.not_before.is_some_and(|until| now < until);
        let acts = tracked.in_flight.is_none() && !tracked.must_observe && !paused;
        tracked.phase == Phase::Draining && acts && tracked.wish.is_none()
    };
    let name = |tracked: &Tracked| tracked.machine.name.clone();
    let asked: Vec<String> = state.machines.moving().filter(busy).filter(open).map(name).collect();
    if asked.is_empty() {
        return;
    }
    let free = |tracked: &&Tracked| {
        let mut pods = view.load(&tracked.machine.name).work.iter().filter_map(|id| state.pods.get(id));
        pods.all(|pod| hold::of(pod, &state.facts, true, now).is_none())
    };
    let free: Vec<String> = state.machines.moving().filter(busy).filter(free).map(name).collect();
    let names: Vec<&str> = free.iter().map(String::as_str).collect();
    let off = drained(state, view, now, &names, &[]);
    for name in asked.iter().filter(|name| !off.contains(*name)) {
        if let Some(mut tracked) = state.machines.get_mut(name) {
            tracked.leaving = None;
            abort(&mut tracked, now, "what is on it no longer fits elsewhere, or may not be moved");
        }
    }
}

/// When it is looked next.
pub(super) fn next_look(state: &State) -> Option<Timestamp> {
    let consolidation = &state.policy.consolidation;
    let wanted = state.fresh() && consolidation.pools.iter().any(|pool| state.machines.ready(pool) > 0);
    state.look.as_ref().filter(|_| wanted).map(|look| consolidation.next(look))
}

/// What a superfluous machine still waits for before it is emptied.
fn waits_for(state: &State, tracked: &Tracked, now: Timestamp) -> Option<String> {
    let consolidation = &state.policy.consolidation;
    let begins = tracked.leaving.map_or(Timestamp::MAX, |since| after(since, consolidation.patience_ms));
    if now < begins {
        return Some(format!("emptied in {} unless that changes", until(begins, now)));
    }
    let (pool, rack) = (&tracked.machine.pool, rack(&state.policy, tracked));
    let full = consolidation.budgets(pool, rack, now).into_iter().find(|limit| emptied(state, limit) >= limit.most);
    full.map(|limit| format!("not yet emptied: {limit}"))
}

/// How many machines that this limit counts are being emptied.
fn emptied(state: &State, limit: &Limit) -> u32 {
    let counted = |tracked: &&Tracked| {
        tracked.leaving.is_some()
            && is_emptied(&tracked.phase)
            && limit.counts(&tracked.machine.pool, rack(&state.policy, tracked))
    };
    u32::try_from(state.machines.moving().filter(counted).count()).unwrap_or(u32::MAX)
}

/// Why a machine is no candidate.
enum Bar {
    /// It is not on, not ours, or not to be touched.
    NotOurs,
    /// Its pool is not consolidated.
    Pool,
    /// It has not been on for long enough, which it will be then.
    Young(Timestamp),
    /// These pods may not be moved.
    Pods(Vec<(String, Hold)>),
}

/// Whether a machine's pods may be moved: how many there are, and whether some end by themselves, which is waited for.
fn candidate(state: &State, view: &View, tracked: &Tracked, now: Timestamp) -> Result<(usize, bool), Bar> {
    let name = &tracked.machine.name;
    let node = state.nodes.get(name).filter(|node| !node.cordoned && node.kept_by.is_none());
    let on = matches!(tracked.phase, Phase::On { unready_since: None, .. });
    let busy = tracked.must_observe
        || tracked.wish.is_some()
        || paid(state, tracked, now).is_some()
        || view.promised(name).is_some();
    // What runs on one that is no node cannot be moved.
    if node.is_none() || !on || busy || tracked.machine.is_no_node() || !tracked.is_ours() {
        return Err(Bar::NotOurs);
    }
    let work = &view.load(name).work;
    if work.is_empty() {
        return Ok((0, false));
    }
    if !state.policy.consolidation.pools.contains(&tracked.machine.pool) {
        return Err(Bar::Pool);
    }
    // What its boot took must have been worth it.
    let ripe = after(tracked.since, break_even_ms(&state.policy, tracked).max(state.policy.min_on_ms));
    if now < ripe {
        return Err(Bar::Young(ripe));
    }
    let pods = work.iter().filter_map(|id| state.pods.get(id));
    let mut holds: Vec<(String, Hold)> =
        pods.filter_map(|pod| Some((pod.id.to_string(), hold::of(pod, &state.facts, false, now)?))).collect();
    let all = holds.len();
    holds.retain(|(_, hold)| *hold != Hold::Job);
    if holds.is_empty() { Ok((work.len(), all > 0)) } else { Err(Bar::Pods(holds)) }
}

/// So many busy nodes are looked at for each machine that may be tried at one step.
const BARRED: usize = 4;

/// A machine that is tried: how many pods it has, and whether some of them are waited for.
struct Tried<'a> {
    tracked: &'a Tracked,
    pods: usize,
    waits: bool,
}

/// The machines to try now: those that are idle or meant to go off already, and of the others the next in the order of
/// how few pods they have, from behind this one on. Answers with whom it goes on behind, if there are more.
fn to_try<'a>(
    state: &'a State,
    view: &'a View,
    behind: Option<&Busy>,
    now: Timestamp,
) -> (Vec<Tried<'a>>, Option<Busy>) {
    let candidate = |tracked: &'a Tracked| {
        let (pods, waits) = candidate(state, view, tracked, now).ok()?;
        Some(Tried { tracked, pods, waits })
    };
    let idle = state.machines.idle().filter(|tracked| tracked.leaving.is_none());
    let mut tried: Vec<Tried<'a>> = state.machines.leaving().chain(idle).filter_map(candidate).collect();
    let going = tried.iter().filter(|tried| tried.pods > 0).count();
    let a_step = state.policy.consolidation.a_step.max(1);
    let (mut left, mut looks, mut last) =
        (a_step.saturating_sub(going), a_step.saturating_mul(BARRED), behind.cloned());
    for busy in view.busy_after(behind) {
        if left == 0 || looks == 0 {
            // Who has its turn only once others have gone is not asked for again and again meanwhile.
            return (tried, last.filter(|_| going < a_step));
        }
        looks -= 1;
        let others = state.machines.get(&busy.1).filter(|tracked| tracked.leaving.is_none());
        if let Some(one) = others.and_then(candidate) {
            left -= 1;
            tried.push(one);
        }
        last = Some(busy.clone());
    }
    (tried, None)
}

/// Those of these machines without which all pods would have a place, each with the number of its pods that are to be
/// moved; none where that number is 0 or some of its pods are waited for.
fn superfluous(state: &State, view: &View, tried: &[Tried<'_>], now: Timestamp) -> BTreeMap<String, Option<usize>> {
    if tried.iter().all(|one| one.pods == 0) {
        return BTreeMap::new();
    }
    let mut order: Vec<&Tried<'_>> = tried.iter().collect();
    // The most watts for the least trouble first, and who was chosen before stays chosen.
    order.sort_by_cached_key(|one| {
        let saves = price(&state.policy, one.tracked).idle / (one.pods as u64).max(1);
        (one.pods > 0, one.waits, one.tracked.leaving.is_none(), Reverse(saves), one.tracked.machine.name.as_str())
    });
    let mut coming: Vec<Pod> = Vec::new();
    for (_, sample, count, _) in forecast::soon(state, now) {
        coming.extend(std::iter::repeat_n(sample.clone(), count as usize));
    }
    coming.extend(promise::pods(state, true));
    let names: Vec<&str> = order.iter().map(|one| one.tracked.machine.name.as_str()).collect();
    let off = drained(state, view, now, &names, &coming);
    let mine = |one: &&Tried<'_>| state.policy.consolidation.pools.contains(&one.tracked.machine.pool);
    let gone = tried.iter().filter(mine).filter(|one| off.contains(&one.tracked.machine.name));
    gone.map(|one| (one.tracked.machine.name.clone(), (one.pods > 0 && !one.waits).then_some(one.pods))).collect()
}

/// Which of these machines could go off, all pods that wait or are on their way given their room first.
fn drained(state: &State, view: &View, now: Timestamp, names: &[&str], soon: &[Pod]) -> BTreeSet<String> {
    let mut survey = survey::with_atlas(state, view, now);
    let sites = survey.sites(state, view, now);
    let leaves: BTreeSet<&str> = names.iter().copied().collect();
    let moves = |machine: &str| {
        let pods = view.load(machine).work.iter().filter_map(|id| state.pods.get(id));
        pods.filter(|pod| !pod.deleting)
    };
    let waits = |pod: &&Pod| {
        let own = matches!(pod.owner, Owner::DaemonSet(_) | Owner::Mirror);
        !own && !pod.deleting && !pod.gated && pod.phase == PodPhase::Pending
    };
    let mut coming: Vec<&Pod> = state.pods.picked().filter(waits).collect();
    // What is on a machine that is being emptied is to come, too.
    let emptied = |tracked: &&Tracked| tracked.leaving.is_some() && is_emptied(&tracked.phase);
    let others = state.machines.moving().filter(emptied).map(|tracked| tracked.machine.name.as_str());
    coming.extend(others.filter(|name| !leaves.contains(name)).flat_map(moves));
    // What waits comes before what may yet be made.
    coming.sort_by_key(|pod| !is_demand(pod));
    coming.extend(soon);
    let mut question = Drain { coming, most: usize::MAX, ..Drain::default() };
    let mut pools: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        let Some((site, tracked)) = sites.find(name).zip(state.machines.get(*name)) else { continue };
        question.residents.extend(moves(name).map(|pod| Resident { pod, site }));
        let pool = tracked.machine.pool.as_str();
        let set = *pools.entry(pool).or_insert_with(|| {
            question.limits.push(spare(state, pool, now));
            question.limits.len() - 1
        });
        question.candidates.push(site);
        // One that is being emptied no longer counts for its pool.
        question.sets.push(if is_emptied(&tracked.phase) { Vec::new() } else { vec![set] });
    }
    let pods = question.residents.iter().map(|one| one.pod).chain(question.coming.iter().copied());
    let waiting: Vec<Waiter<'_>> = pods.map(Waiter::of).collect();
    question.bound = bound(state, &sites, survey.atlas(), &waiting);
    let answer = drain(&question, &sites, &state.facts);
    let misfits = |pod: &Pod, to: usize| survey.atlas().misfits(state, view, pod, sites.name(to), now);
    let refused = refused(&question, &answer, misfits);
    answer.off.iter().filter(|site| !refused.contains(site)).map(|site| sites.name(*site).to_owned()).collect()
}

/// The sites that are not freed after all: a pod's volumes, which are not counted there, do not reach where it would go.
fn refused(
    question: &Drain<'_>,
    answer: &Drained,
    mut misfits: impl FnMut(&Pod, usize) -> Vec<Misfit>,
) -> BTreeSet<usize> {
    let mounts = |pod: &Pod| !(pod.claims.is_empty() && pod.disks.is_empty());
    let moves = answer.moves.iter().map(|(index, to)| (&question.residents[*index], *to));
    let bad = moves.filter(|(resident, to)| mounts(resident.pod) && !misfits(resident.pod, *to).is_empty());
    bad.map(|(resident, _)| resident.site).collect()
}

/// How many machines of a pool could go at most.
fn spare(state: &State, pool: &str, now: Timestamp) -> usize {
    serving(state, pool, now).saturating_sub(minimum_soon(state, pool, now) as usize)
}

/// What consolidation has to say about a machine that is on, for people.
pub(super) fn why(state: &State, view: &View, tracked: &Tracked, now: Timestamp) -> Vec<String> {
    if !state.policy.consolidation.pools.contains(&tracked.machine.pool) || !is_on(tracked) {
        return Vec::new();
    }
    let (pods, waits) = match candidate(state, view, tracked, now) {
        Err(Bar::NotOurs | Bar::Pool) | Ok((0, _)) => return Vec::new(),
        Err(Bar::Young(ripe)) => {
            return vec![format!("not emptied for {} yet: it came up lately", until(ripe, now))];
        }
        Err(Bar::Pods(holds)) => {
            let named = holds.iter().take(NAMED).map(|(pod, hold)| format!("not emptied: pod {pod}: {hold}"));
            let more = holds.len().saturating_sub(NAMED);
            return named.chain((more > 0).then(|| format!("not emptied: {more} more pods hold it"))).collect();
        }
        Ok(pods) => pods,
    };
    let (mut tried, _) = to_try(state, view, None, now);
    if !tried.iter().any(|one| one.tracked.machine.name == tracked.machine.name) {
        tried.push(Tried { tracked, pods, waits });
    }
    if !superfluous(state, view, &tried, now).contains_key(&tracked.machine.name) {
        let least = minimum_soon(state, &tracked.machine.pool, now);
        return vec![format!(
            "not emptied: without it its pods, or others, would have no place (its pool keeps {least} on)"
        )];
    }
    let next = if waits {
        "not emptied: it is waited for pods of Jobs to end".to_owned()
    } else {
        waits_for(state, tracked, now).unwrap_or_else(|| "about to be emptied".to_owned())
    };
    vec![format!("{} on other machines; {next}", they_fit(pods))]
}

fn they_fit(pods: usize) -> String {
    if pods == 1 { "its only pod fits".to_owned() } else { format!("its {pods} pods fit") }
}
