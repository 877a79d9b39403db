//! A price: what a machine draws, and from that what it costs to power one on and what waiting is worth. Whole
//! numbers throughout: milliwatts, seconds, and millijoules, their product.

use jiff::Timestamp;

use super::energy::Watts;
use super::policy::Policy;
use super::record::Stage;
use super::time::after;
use super::tracked::Tracked;
use crate::model::machine::Machine;
use crate::model::node::Shape;
use crate::model::pod::Pod;

/// What a machine draws, in milliwatts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Draws {
    /// Off, its BMC awake.
    pub standby: u64,
    /// On, without work.
    pub idle: u64,
    /// At most.
    pub full: u64,
}

/// What a machine draws, as the policy says it or else as its size tells.
pub fn draws(policy: &Policy, machine: &Machine) -> Draws {
    let energy = &policy.energy;
    let (guess_idle, guess_full) = guess(&machine.shape);
    let known = [energy.machines.get(&machine.name), energy.pools.get(&machine.pool)];
    let watts = |of: fn(&Watts) -> Option<u32>, guess: u64| {
        known.iter().flatten().find_map(|watts| of(watts)).map_or(guess, |watts| u64::from(watts) * 1000)
    };
    let idle = watts(|watts| watts.idle, guess_idle);
    let full = watts(|watts| watts.full, guess_full).max(idle);
    Draws { standby: watts(|watts| watts.standby, STANDBY).min(idle), idle, full }
}

/// What a machine that is off draws: its BMC and its network card are awake.
const STANDBY: u64 = 8_000;

/// What a machine costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Price {
    /// On without work, in milliwatts.
    pub(super) idle: u64,
    /// At most, in milliwatts.
    pub(super) full: u64,
    /// How long it takes to boot, in seconds: the median of its last boots.
    pub(super) boot: u64,
    /// To power it on and have it stay, in millijoules.
    pub(super) cost: u64,
    /// What a thousandth of a core in use costs besides, in millijoules.
    pub(super) per_milli: u64,
}

/// The rack of a machine, if it is known.
pub(super) fn rack<'a>(policy: &'a Policy, tracked: &Tracked) -> Option<&'a str> {
    let of = |watts: Option<&'a Watts>| watts.and_then(|watts| watts.rack.as_deref());
    let energy = &policy.energy;
    of(energy.machines.get(&tracked.machine.name)).or_else(|| of(energy.pools.get(&tracked.machine.pool)))
}

/// What a machine costs.
pub(super) fn price(policy: &Policy, tracked: &Tracked) -> Price {
    let Draws { idle, full, .. } = draws(policy, &tracked.machine);
    let boot = boot_seconds(policy, tracked);
    let stay = seconds(policy.energy.stay_ms);
    let milli = tracked.machine.shape.allocatable.cpu_milli.max(1);
    Price {
        idle,
        full,
        boot,
        cost: idle.saturating_mul(stay).saturating_add(full.saturating_mul(boot)),
        per_milli: (full - idle).saturating_mul(stay) / milli,
    }
}

/// What a machine draws that is off, in milliwatts.
pub(super) fn standby(policy: &Policy, tracked: &Tracked) -> u64 {
    draws(policy, &tracked.machine).standby
}

/// How long a machine must be off for that to save more than its shutdown and its next boot take, in milliseconds.
pub(super) fn break_even_ms(policy: &Policy, tracked: &Tracked) -> i64 {
    let price = price(policy, tracked);
    let takes = price.full.saturating_mul(price.boot).saturating_add(price.idle * seconds(policy.energy.off_ms));
    let saves = price.idle.saturating_sub(standby(policy, tracked)).max(1);
    i64::try_from(takes.saturating_mul(1000) / saves).unwrap_or(i64::MAX)
}

/// What a second of this pod's waiting is worth, in millijoules: more the more important it is.
pub(super) fn waiting(policy: &Policy, pod: &Pod) -> u64 {
    let factor = match pod.priority {
        i32::MIN..=-1 => 0,
        0 => 2,
        1..=999 => 3,
        1_000..=999_999 => 4,
        1_000_000..=999_999_999 => 8,
        1_000_000_000..=i32::MAX => 16,
    };
    u64::from(policy.energy.waiting_watts).saturating_mul(1000).saturating_mul(factor) / 2
}

/// How dear a node of this shape is to keep on, as far as its shape tells.
pub(super) fn dear(shape: &Shape) -> u64 {
    guess(shape).0
}

/// A machine of this size, as servers go: 20 W, and for each core 2.5 W idle and 10 W busy, and 0.3 W a GiB.
fn guess(shape: &Shape) -> (u64, u64) {
    let memory = (shape.allocatable.memory >> 30).saturating_mul(300);
    let base = 20_000u64.saturating_add(memory);
    let milli = shape.allocatable.cpu_milli;
    let extended = shape.allocatable.extended.values().fold(0u64, |sum, one| sum.saturating_add(*one)).min(64);
    let idle = base.saturating_add(milli.saturating_mul(5) / 2).saturating_add(extended * 15_000);
    (idle, base.saturating_add(milli.saturating_mul(10)).saturating_add(extended * 250_000))
}

fn seconds(ms: i64) -> u64 {
    u64::try_from(ms / 1000).unwrap_or_default()
}

/// How long a machine takes until its node is Ready: the median of its last boots, in steps of 5 s so that equals stay
/// equal.
pub(super) fn boot_seconds(policy: &Policy, tracked: &Tracked) -> u64 {
    let median = tracked.record.quantile(Stage::Ready, 50).unwrap_or(policy.energy.boot_ms);
    seconds(median).next_multiple_of(5)
}

/// When a machine that boots is expected to be Ready: as its last boots went, or its longest when it is past that.
/// In the end it is its deadline.
pub(super) fn ready_about(policy: &Policy, tracked: &Tracked, deadline: Timestamp, now: Timestamp) -> Timestamp {
    let record = &tracked.record;
    let began = record.boot.as_ref().map_or(tracked.since, |boot| boot.ordered);
    let usual = record.quantile(Stage::Ready, 50).unwrap_or(policy.energy.boot_ms);
    let slow = record.quantile(Stage::Ready, 95).unwrap_or(usual);
    [usual, slow].into_iter().map(|ms| after(began, ms)).find(|ready| *ready >= now).unwrap_or(deadline).min(deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn important_pods_wait_dearly() {
        let policy = Policy::default();
        let worth = |priority| waiting(&policy, &Pod { priority, ..Pod::default() });
        assert_eq!((worth(-1), worth(0)), (0, 20_000));
        assert!(worth(0) < worth(1) && worth(1000) < worth(2_000_000_000));
    }
}
