//! NodePorts and NodeResourcesFit: what pods on a node hold, and what is left of it.

use super::Misfit;
use crate::model::pod::HostPort;
use crate::model::resources::Resources;

/// NodePorts: two pods may not hold one port of one protocol on one address, and `0.0.0.0` is every address.
pub(super) fn ports<'a>(wanted: &[HostPort], held: impl Iterator<Item = &'a HostPort> + Clone) -> Option<Misfit> {
    let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
    let clash = |wanted: &HostPort, held: &HostPort| {
        wanted.port == held.port
            && wanted.protocol == held.protocol
            && (any(&wanted.ip) || any(&held.ip) || wanted.ip == held.ip)
    };
    wanted
        .iter()
        .find(|wanted| wanted.port != 0 && held.clone().any(|held| clash(wanted, held)))
        .map(|port| Misfit::HostPort { port: port.clone() })
}

/// NodeResourcesFit: the count of pods first; then only what the pod asks for is compared, so that a pod
/// that asks for none of a resource fits a node that is short of it. All that is short, in the scheduler's order.
pub(super) fn shortages(wanted: &Resources, all: &Resources, used: &Resources) -> impl Iterator<Item = Misfit> {
    let too_many = (used.pods.saturating_add(1) > all.pods).then_some(Misfit::TooManyPods { most: all.pods });
    let short = |name: &str, wanted: u64, all: u64, used: u64| {
        let free = all.saturating_sub(used);
        (wanted > 0 && wanted > free).then(|| Misfit::Short { resource: name.to_owned(), wanted, free, all })
    };
    let plain = [
        too_many,
        short("cpu", wanted.cpu_milli, all.cpu_milli, used.cpu_milli),
        short("memory", wanted.memory, all.memory, used.memory),
        short("ephemeral-storage", wanted.ephemeral, all.ephemeral, used.ephemeral),
    ];
    let extended = wanted.extended.iter().filter_map(move |(name, wanted)| {
        let of = |amounts: &Resources| amounts.extended.get(name).copied().unwrap_or_default();
        short(name, *wanted, of(all), of(used))
    });
    plain.into_iter().flatten().chain(extended)
}
