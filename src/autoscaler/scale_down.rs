//! Scale-down: which machines begin to go off. One that has been without work for the idle timeout, that no
//! waiting pod could use, and that its pool can spare; or one that a person asked off, which may be busy.

use jiff::Timestamp;

use super::forecast::{self, Forecast};
use super::judge::Judge;
use super::policy::Policy;
use super::price::{break_even_ms, price};
use super::state::{State, serving};
use super::time::after;
use super::tracked::{Phase, Tracked, Wish};
use super::view::View;

/// However soon it would pay, a machine is idle for this long before it goes off,
const LEAST_IDLE_MS: i64 = 60_000;
/// and however late, not longer than this.
const MOST_IDLE_MS: i64 = 3_600_000;

/// Why a machine does not begin to go off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stays {
    /// It is not an idle machine that is on, or not one that the core may power.
    NotIdle,
    /// A person cordoned it.
    Cordoned,
    /// Its timer runs until then.
    Until(Timestamp),
    /// It is paid for, and may go then.
    Paid(Timestamp),
    /// A waiting pod could use it.
    Wanted(String),
    /// Its pool keeps so many on.
    Minimum(u32),
    /// Somebody keeps it on by this annotation.
    Kept(String),
    /// Its pool keeps more on from then, which is within its break-even time.
    Window(Timestamp),
    /// A pod of this kind is expected at that time, which is within its break-even time, and has its place there.
    Expected(String, Timestamp),
}

/// What is asked about every machine, worked out once.
pub(super) struct Asked<'a> {
    judge: Judge<'a>,
    forecast: Forecast<'a>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(state: &'a State, view: &'a View, now: Timestamp) -> Self {
        Self { judge: Judge::new(state, view, now), forecast: Forecast::new(state, view, now) }
    }
}

/// When a machine that has been without work since then goes off.
pub(super) fn goes_at(policy: &Policy, tracked: &Tracked, idle_since: Timestamp) -> Timestamp {
    let patience = if policy.break_even {
        break_even_ms(policy, tracked).clamp(LEAST_IDLE_MS, MOST_IDLE_MS)
    } else {
        policy.idle_timeout_ms
    };
    after(idle_since, patience).max(after(tracked.since, policy.min_on_ms))
}

/// Begins to take machines off.
pub(super) fn decide(state: &mut State, view: &View, now: Timestamp) {
    if !state.fresh() {
        return;
    }
    let mut going: Vec<(bool, u64, Timestamp, String)> = Vec::new();
    let asked = Asked::new(state, view, now);
    let wished = state.machines.wished().filter(|tracked| matches!(tracked.phase, Phase::On { idle_since: None, .. }));
    for tracked in state.machines.idle().chain(wished) {
        if let Phase::On { idle_since, .. } = tracked.phase
            && stays(state, &asked, tracked, now).is_none()
        {
            let dear = u64::MAX - price(&state.policy, tracked).cost;
            going.push((tracked.wish.is_none(), dear, idle_since.unwrap_or(now), tracked.machine.name.clone()));
        }
    }
    let foreseen = asked.forecast.made();
    forecast::keep(state, foreseen, now);
    // What a person asked first, then the dearest, then the longest idle.
    going.sort();
    for (_, _, _, name) in going {
        // Asked again: the one before may have been the last that the pool could spare.
        let spare = state.machines.get(&name).is_some_and(|tracked| spares(state, tracked, now));
        if let (true, Some(mut tracked)) = (spare, state.machines.get_mut(&name)) {
            let reason = if tracked.wish == Some(Wish::Off) {
                "a person asked for it to be off".to_owned()
            } else {
                let Phase::On { idle_since: Some(since), .. } = tracked.phase else { continue };
                let idle = now.as_millisecond() - since.as_millisecond();
                format!("it has been without work for {} s", idle / 1000)
            };
            // A pod that comes to it yet keeps it on.
            tracked.leaving = None;
            tracked.enter(Phase::Cordoning, now, reason);
        }
    }
}

/// Why this machine does not begin to go off, or `None` when it does. Asks for fresh lists.
pub(super) fn stays(state: &State, facts: &Asked<'_>, tracked: &Tracked, now: Timestamp) -> Option<Stays> {
    let Phase::On { idle_since, unready_since: None } = tracked.phase else { return Some(Stays::NotIdle) };
    let asked = tracked.wish == Some(Wish::Off);
    let mine = tracked.is_ours() || (asked && tracked.machine.role == crate::model::machine::Role::Worker);
    let name = &tracked.machine.name;
    let Some(node) = state.nodes.get(name) else { return Some(Stays::NotIdle) };
    if !mine || tracked.must_observe || tracked.in_flight.is_some() || tracked.wish == Some(Wish::On) {
        return Some(Stays::NotIdle);
    }
    if !asked {
        if node.cordoned {
            return Some(if node.cordoned_by_us { Stays::NotIdle } else { Stays::Cordoned });
        }
        let Some(since) = idle_since else { return Some(Stays::NotIdle) };
        if let Some(note) = &node.kept_by {
            return Some(Stays::Kept(note.clone()));
        }
        let until = goes_at(&state.policy, tracked, since);
        if now < until {
            return Some(Stays::Until(until));
        }
        if let Some(until) = paid(state, tracked, now) {
            return Some(Stays::Paid(until));
        }
        if let Some(pod) = facts.judge.wanted(name) {
            return Some(Stays::Wanted(pod.id.to_string()));
        }
        if let Some((kind, at)) = facts.forecast.expected(tracked) {
            return Some(Stays::Expected(kind.to_owned(), at));
        }
        if let Some(opens) = window_soon(state, tracked, now) {
            return Some(Stays::Window(opens));
        }
    }
    (!spares(state, tracked, now)).then(|| Stays::Minimum(state.minimum(&tracked.machine.pool)))
}

/// Until when it stays because its time is paid for.
pub(super) fn paid(state: &State, tracked: &Tracked, now: Timestamp) -> Option<Timestamp> {
    let paid = state.policy.paid.get(&tracked.machine.pool)?;
    paid.next(tracked.record.on_since?, now)
}

/// When a window opens, within its break-even time, in which its pool could not do without it.
fn window_soon(state: &State, tracked: &Tracked, now: Timestamp) -> Option<Timestamp> {
    let pool = &tracked.machine.pool;
    let horizon = after(now, break_even_ms(&state.policy, tracked).min(MOST_IDLE_MS));
    let up = serving(state, pool, now);
    openings(state, pool, horizon, now).filter(|(_, min)| up <= *min as usize).map(|(at, _)| at).min()
}

/// The most machines that a pool keeps on now or by its windows soon.
pub(super) fn minimum_soon(state: &State, pool: &str, now: Timestamp) -> u32 {
    let soon = openings(state, pool, after(now, MOST_IDLE_MS), now).map(|(_, min)| min).max();
    state.minimum(pool).max(soon.unwrap_or_default())
}

/// The windows of a pool that open until then, each with what it keeps on.
fn openings(state: &State, pool: &str, horizon: Timestamp, now: Timestamp) -> impl Iterator<Item = (Timestamp, u32)> {
    // Before `minimums_until` nothing changes in any pool.
    let any = state.minimums_until.is_some_and(|change| change <= horizon);
    let rules = state.policy.schedule.iter().filter(move |rule| any && rule.pool == pool);
    rules.filter_map(move |rule| {
        let window = rule.window().ok().filter(|window| !window.is_active(now))?;
        let opens = window.next_change(now).filter(|opens| *opens <= horizon)?;
        Some((opens, rule.min))
    })
}

/// True when its pool can do without it.
fn spares(state: &State, tracked: &Tracked, now: Timestamp) -> bool {
    let pool = &tracked.machine.pool;
    let up = serving(state, pool, now);
    // A machine that is disabled is no longer its pool's to count on.
    tracked.disabled || up > state.minimum(pool) as usize
}
