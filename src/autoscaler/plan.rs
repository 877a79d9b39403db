//! A plan: which machines are powered on for the pods that wait, and which of these pods need none. The solver
//! makes it, the scheduler's own filters agree to it place by place, and what they refuse is planned anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::doubt::doubted_at;
use super::judge::bound;
use super::queue::{is_promised, sentence};
use super::solve::compile::{Compiled, Found, Most, Offer, Question, Waiter};
use super::solve::sites::{Sites, Standing};
use super::solve::{self, order};
use super::state::State;
use super::time::{MINUTE_MS, after};
use super::tracked::{Phase, Tracked, boots, is_candidate};
use super::view::View;
use super::{consent, price, promise, survey};
use crate::model::machine::Role;
use crate::model::pod::{Pod, PodId};

/// What is decided for the pods that wait.
#[derive(Debug, Default)]
pub(super) struct Decision {
    /// Pods that fit a Ready node: the scheduler will place them.
    pub(super) beside: Vec<(PodId, String)>,
    /// Pods that a machine is on its way for.
    pub(super) meant: BTreeMap<PodId, String>,
    /// Machines to power on, each with its reason.
    pub(super) wake: Vec<(String, String)>,
}

/// Decides for the pods that wait.
pub(super) fn decide(state: &State, view: &View, now: Timestamp) -> Decision {
    let mut survey = survey::with_atlas(state, view, now);
    let sites = survey.sites(state, view, now);
    let atlas = survey.atlas();
    let cutoff = state.policy.expendable_below;
    let groups = groups(state);
    let whole = |pod: &&Pod| pod.group.as_ref().is_none_or(|group| groups.contains(&group.name.as_str()));
    let demand = state.demand().filter(|pod| cutoff.is_none_or(|cutoff| pod.priority >= cutoff)).filter(whole);
    let waiter = |pod| {
        let refused = doubted_at(state, pod, &sites, now);
        (refused, state.meant.get(pod).and_then(|name| sites.find(name)))
    };
    // What queues promise comes behind what is there.
    let promised = promise::settle(state, view, now);
    let has_place = promised.placed.iter().map(|(pod, name)| Waiter {
        meant: sites.find(name),
        nominated: true,
        ..Waiter::of(pod)
    });
    let waiting: Vec<Waiter<'_>> = order::sort(demand.collect(), |pod: &&Pod| pod)
        .into_iter()
        .chain(&promised.left)
        .map(|pod| {
            let (refused, meant) = waiter(&pod.id);
            let nominated = pod.nominated.as_deref().and_then(|name| sites.find(name));
            let nominated = nominated.filter(|site| !refused.contains(site));
            let coming = meant.filter(|site| sites.site(*site).standing == Standing::Coming);
            Waiter {
                wait: price::waiting(&state.policy, pod),
                refused,
                meant: nominated.or(coming),
                // Nobody is evicted for one that never preempts.
                nominated: nominated.is_some() && !pod.never_preempts,
                group: pod.group.as_ref().map(|group| &group.name[..]),
                ..Waiter::of(pod)
            }
        })
        .chain(has_place)
        .collect();
    let bound = bound(state, &sites, atlas, &waiting);
    let mut question = Question { waiting, bound, most: most(state, now), offers: Vec::new() };
    let mut plan = Plan { sites, woken: Vec::new() };
    let mut again = 0..ROUNDS;
    loop {
        let found = plan.make(state, &mut question);
        let refused = consent::refusals(atlas, (state, view, now), &question, &plan.sites, &found);
        if refused.is_empty() || again.next().is_none() {
            return words(&question, &plan.sites, &consent::without(found, &question, &refused));
        }
        plan.keep(&mut question, &found, &refused);
    }
}

/// So often a plan is made again without what the scheduler would refuse. What is refused then is not waited for.
const ROUNDS: usize = 4;

/// A plan in the making: what the scheduler would agree to is kept from round to round.
struct Plan {
    /// All sites; machines that the plan wakes are taken as coming.
    sites: Arc<Sites>,
    /// Those machines, by their sites.
    woken: Vec<usize>,
}

impl Plan {
    /// The machines to wake, as the solver sees it.
    fn make<'a>(&self, state: &'a State, question: &mut Question<'a>) -> Found {
        question.offers = self.offers(state, false);
        let mut found = answer(question, &self.sites, state);
        if !found.missed.is_empty() {
            // Those that failed lately only where they are needed.
            let shaky = self.offers(state, true);
            if shaky.len() > question.offers.len() {
                question.offers = shaky;
                let with = answer(question, &self.sites, state);
                if with.missed.len() < found.missed.len() {
                    found = with;
                }
            }
        }
        found.wake.splice(0..0, self.woken.iter().copied());
        found
    }

    fn offers<'a>(&self, state: &'a State, shaky: bool) -> Vec<Offer<'a>> {
        offers(state, &self.sites, shaky).into_iter().filter(|offer| !self.woken.contains(&offer.site)).collect()
    }

    /// Keeps what was agreed to, with its machines, and rules out what was refused.
    fn keep(&mut self, question: &mut Question<'_>, found: &Found, refused: &[(usize, usize)]) {
        for place in &found.places {
            let waiter = &mut question.waiting[place.0];
            if refused.binary_search(place).is_ok() {
                waiter.refused.push(place.1);
                waiter.meant = None;
            } else {
                waiter.meant = Some(place.1);
            }
        }
        for site in found.wake.iter().filter(|site| !self.woken.contains(site)).copied().collect::<Vec<_>>() {
            if question.waiting.iter().any(|waiter| waiter.meant == Some(site)) {
                if let Some(offer) = question.offers.iter().find(|offer| offer.site == site) {
                    question.most.take(offer);
                }
                Arc::make_mut(&mut self.sites).stand(site, Standing::Coming);
                self.woken.push(site);
            }
        }
    }
}

/// The groups all of whose pods have been made.
fn groups(state: &State) -> BTreeSet<&str> {
    let mut known: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for group in state.demand().filter_map(|pod| pod.group.as_ref()) {
        known.insert(&group.name, (0, group.size));
    }
    if !known.is_empty() {
        for group in state.pods.values().filter(|pod| !pod.deleting).filter_map(|pod| pod.group.as_ref()) {
            if let Some((count, _)) = known.get_mut(group.name.as_str()) {
                *count += 1;
            }
        }
    }
    known.into_iter().filter(|(_, (count, size))| count >= size).map(|(name, _)| name).collect()
}

fn answer(question: &Question<'_>, sites: &Sites, state: &State) -> Found {
    let compiled = Compiled::of(question, sites, &state.facts);
    let answer = solve::solve(&compiled.problem);
    compiled.words(answer)
}

fn words(question: &Question<'_>, sites: &Sites, found: &Found) -> Decision {
    let mut decision = Decision::default();
    let mut served: BTreeMap<usize, Vec<&Pod>> = found.wake.iter().map(|site| (*site, Vec::new())).collect();
    for (pod, site) in &found.places {
        let (pod, name) = (question.waiting[*pod].pod, sites.name(*site).to_owned());
        if let Some(served) = served.get_mut(site) {
            served.push(pod);
            continue;
        }
        match sites.site(*site).standing {
            // No scheduler can refuse a pod that is not there yet.
            _ if is_promised(&pod.id) && sites.site(*site).standing == Standing::Ready => {}
            Standing::Ready | Standing::Present | Standing::Absent | Standing::Off => {
                decision.beside.push((pod.id.clone(), name));
            }
            Standing::Coming => drop(decision.meant.insert(pod.id.clone(), name)),
        }
    }
    for site in &found.wake {
        let name = sites.name(*site);
        let pods = served.remove(site).unwrap_or_default();
        let (promised, there): (Vec<&Pod>, Vec<&Pod>) = pods.iter().partition(|pod| is_promised(&pod.id));
        let promise = sentence(promised.iter().map(|pod| &pod.id));
        let reason = match &there[..] {
            [] => match promise {
                None => continue,
                Some(promise) => promise,
            },
            [only] => format!("pod {} waits for a place", only.id),
            [first, rest @ ..] => format!("pod {} and {} more wait for a place", first.id, rest.len()),
        };
        decision.meant.extend(pods.iter().map(|pod| (pod.id.clone(), name.to_owned())));
        decision.wake.push((name.to_owned(), reason));
    }
    decision
}

/// The machines that may be powered on; without `shaky` only those that are not known to fail. A pool that others stand in
/// for rests as a whole while one of its machines does, and is then gone back to before those others.
fn offers<'a>(state: &'a State, sites: &Sites, shaky: bool) -> Vec<Offer<'a>> {
    let relieved = |tracked: &Tracked| state.policy.relieved.contains(&tracked.machine.pool);
    let failed = state.machines.moving().filter(|tracked| matches!(tracked.phase, Phase::Failed { .. }));
    let resting: BTreeSet<&str> = failed.map(|tracked| tracked.machine.pool.as_str()).collect();
    let sound = |tracked: &Tracked| {
        if relieved(tracked) { !resting.contains(&*tracked.machine.pool) } else { tracked.failures == 0 }
    };
    let mine = state.machines.off().filter(|tracked| is_candidate(tracked) && (shaky || sound(tracked)));
    let offer = |tracked: &'a Tracked| {
        let price = price::price(&state.policy, tracked);
        Some(Offer {
            site: sites.find(&tracked.machine.name)?,
            pool: &tracked.machine.pool,
            rack: price::rack(&state.policy, tracked),
            cost: price.cost.saturating_mul(last_resort(state, tracked)).saturating_mul(worry(tracked)),
            per_milli: price.per_milli,
            boot: price.boot,
            draws: price.full,
            wear: tracked.record.starts,
        })
    };
    mine.filter_map(offer).collect()
}

/// A machine of a pool that stands in for others is so much dearer that any of theirs is taken before it.
fn last_resort(state: &State, tracked: &Tracked) -> u64 {
    let depth = state.policy.stand_ins.get(&tracked.machine.pool).copied().unwrap_or_default();
    1 << (10 * depth.min(3))
}

/// Of a pool's machines those are taken first that have not failed, but any of them before one that stands in.
fn worry(tracked: &Tracked) -> u64 {
    1 << tracked.failures.min(5)
}

/// True for a machine that is on, or may be.
fn draws_power(tracked: &Tracked) -> bool {
    !matches!(tracked.phase, Phase::Off | Phase::Failed { .. } | Phase::DeletingNode { .. })
}

/// What may be powered on at most.
pub(super) fn most(state: &State, now: Timestamp) -> Most<'_> {
    let policy = &state.policy;
    let worker = |tracked: &&Tracked| tracked.machine.role == Role::Worker;
    let booting = state.machines.moving().filter(worker).filter(|tracked| boots(tracked, now)).count();
    let at_once = policy.max_booting.map(|most| (most as usize).saturating_sub(booting));
    let lately = state.recent_boots.iter().filter(|at| now < after(**at, MINUTE_MS)).count();
    let a_minute = policy.max_boots_per_minute.map(|most| (most as usize).saturating_sub(lately));
    let mut pools = BTreeMap::new();
    for (pool, bounds) in &policy.pools {
        if let Some(max) = bounds.max {
            let mine = state.machines.moving().filter(worker).filter(|tracked| tracked.machine.pool == *pool);
            let on = state.machines.ready(pool) + mine.filter(|tracked| draws_power(tracked)).count();
            pools.insert(pool.as_str(), (max as usize).saturating_sub(on));
        }
    }
    let (mut all, mut by_rack) = (0u64, BTreeMap::new());
    if policy.energy.max_watts.is_some() || !policy.energy.racks.is_empty() {
        for tracked in state.machines.values().filter(|tracked| draws_power(tracked)) {
            let full = price::price(policy, tracked).full;
            all = all.saturating_add(full);
            if let Some(rack) = price::rack(policy, tracked) {
                let sum: &mut u64 = by_rack.entry(rack).or_default();
                *sum = sum.saturating_add(full);
            }
        }
    }
    let left = |most: u32, now: u64| (u64::from(most) * 1000).saturating_sub(now);
    let rack = |(rack, most): (&'_ String, &u32)| left(*most, by_rack.get(rack.as_str()).copied().unwrap_or_default());
    Most {
        total: at_once.into_iter().chain(a_minute).min(),
        pools,
        draws: policy.energy.max_watts.map(|most| left(most, all)),
        racks: policy.energy.racks.iter().map(|(name, most)| (name.as_str(), rack((name, most)))).collect(),
    }
}
