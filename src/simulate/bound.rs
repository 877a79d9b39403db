//! The bound: energy that no way of powering a rack can do with less than, even one that knows the whole trace and
//! lets pods wait as long as it likes. `docs/simulate.md` has the proof; the terms here carry its names.

use std::collections::BTreeMap;

use super::rack::Rack;
use super::trace::Trace;
use crate::autoscaler::price::Draws;
use crate::model::machine::Machine;
use crate::model::pod::Pod;
use crate::model::resources::Resources;
use crate::scheduling::{Class, Place, first_failing_filter};

/// Machines that are one to the bound.
struct Kind<'a> {
    machine: &'a Machine,
    draws: Draws,
}

/// What a machine spends on a job besides standby, by what its time is shared out by.
#[derive(Debug, Clone, Copy)]
struct Share {
    cpu: u64,
    memory: u64,
}

/// All of it by CPU, all by memory, or half by half.
const SHARES: [Share; 3] = [Share { cpu: 2, memory: 0 }, Share { cpu: 0, memory: 2 }, Share { cpu: 1, memory: 1 }];

/// What jobs of one class cost at least, in microwatts.
#[derive(Debug, Clone, Copy)]
struct Least {
    /// For the work alone.
    work: u128,
    /// For the machine being on at all.
    on: u128,
    /// For the work and its share of the machine's time, by `SHARES`.
    both: [u128; SHARES.len()],
}

/// The least energy over the span, in microjoules.
pub(super) fn least(trace: &Trace, rack: &Rack, span_ms: i64) -> u128 {
    let span = u128::try_from(span_ms).unwrap_or_default();
    let standby: u128 = rack.machines.iter().map(|machine| u128::from(rack.draws(machine).standby)).sum();
    let kinds = kinds(rack);
    let mut known: BTreeMap<String, Option<Least>> = BTreeMap::new();
    let (mut work, mut longest, mut both) = (0, 0, [0; SHARES.len()]);
    for job in &trace.jobs {
        let least = *known.entry(key(&job.pod)).or_insert_with(|| of(&job.pod, &kinds));
        let Some(least) = least else { continue };
        let run = u128::try_from(job.run_ms).unwrap_or_default();
        work += least.work * run / 1000;
        longest = longest.max(least.on * run / 1000);
        for (sum, each) in both.iter_mut().zip(least.both) {
            *sum += each * run / 1000;
        }
    }
    let most = both.into_iter().chain([work + longest]).max().unwrap_or_default();
    standby * span + most
}

fn kinds(rack: &Rack) -> Vec<Kind<'_>> {
    let mut kinds: Vec<Kind<'_>> = Vec::new();
    for machine in &rack.machines {
        let draws = rack.draws(machine);
        if !kinds.iter().any(|kind| kind.draws == draws && kind.machine.shape == machine.shape) {
            kinds.push(Kind { machine, draws });
        }
    }
    kinds
}

/// The same for pods that fit the same machines and ask for the same.
fn key(pod: &Pod) -> String {
    let class = Class { labels: BTreeMap::new(), ..Class::of(pod) };
    format!("{class:?}")
}

/// The least over the machines that fit; none when none does.
fn of(pod: &Pod, kinds: &[Kind<'_>]) -> Option<Least> {
    let fits =
        |kind: &&Kind<'_>| first_failing_filter(pod, &Place::empty(&kind.machine.name, &kind.machine.shape)).is_none();
    let each = kinds.iter().filter(fits).map(|kind| {
        let all = &kind.machine.shape.allocatable;
        let work = part(kind.draws.full - kind.draws.idle, pod.requests.cpu_milli, all.cpu_milli);
        let on = u128::from(kind.draws.idle - kind.draws.standby) * 1000;
        Least { work, on, both: SHARES.map(|share| work + shared(on, share, &pod.requests, all)) }
    });
    each.reduce(|one, other| Least {
        work: one.work.min(other.work),
        on: one.on.min(other.on),
        both: std::array::from_fn(|at| one.both[at].min(other.both[at])),
    })
}

/// So much of so many milliwatts, in microwatts, rounded down.
fn part(milliwatts: u64, asks: u64, all: u64) -> u128 {
    u128::from(milliwatts) * 1000 * u128::from(asks) / u128::from(all.max(1))
}

fn shared(on: u128, share: Share, asks: &Resources, all: &Resources) -> u128 {
    let by = |parts: u64, asks: u64, all: u64| on * u128::from(parts) * u128::from(asks) / (2 * u128::from(all.max(1)));
    by(share.cpu, asks.cpu_milli, all.cpu_milli) + by(share.memory, asks.memory, all.memory)
}
