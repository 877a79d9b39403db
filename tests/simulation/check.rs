//! The checks: what must hold whatever happens, judged by the truth and by what the core was told, never by
//! what it remembers.

use std::collections::BTreeMap;

use marea::autoscaler::{Action, What};
use marea::model::machine::{Off, Role};
use marea::model::node::{Node, Shape};
use marea::model::pod::{Moving, Owner, Phase, Pod};
use marea::model::queue::Backlog;

use crate::world::{MINUTE, World, time};

/// The scheduler's judgement in the few words that these worlds use: written again, not borrowed.
pub(crate) fn fits<'a>(pod: &Pod, tainted: bool, shape: &Shape, on_it: impl Iterator<Item = &'a Pod>) -> bool {
    // Each node has its DaemonSet's pod.
    let (mut cpu, mut memory, mut pods) = (100, 1 << 27, 1);
    for other in on_it {
        cpu += other.requests.cpu_milli;
        memory += other.requests.memory;
        pods += 1;
    }
    !tainted
        && pod.node_selector.iter().all(|(key, value)| shape.labels.get(key) == Some(value))
        && cpu + pod.requests.cpu_milli <= shape.allocatable.cpu_milli
        && memory + pod.requests.memory <= shape.allocatable.memory
        && pods < shape.allocatable.pods
}

fn minimum(world: &World, pool: &str) -> u32 {
    let rules = world.policy.schedule.iter().filter(|rule| rule.pool == pool);
    let open = rules.filter(|rule| rule.window().unwrap().is_active(time(world.now))).map(|rule| rule.min);
    open.chain([world.policy.pools[pool].min]).max().unwrap_or_default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "it filters an iterator of references")]
fn waits(pod: &&Pod) -> bool {
    pod.unschedulable && pod.node.is_none() && pod.phase == Phase::Pending && !pod.deleting
}

fn is_work(pod: &Pod) -> bool {
    !matches!(pod.owner, Owner::DaemonSet(_)) && pod.phase != Phase::Succeeded
}

/// True when this backlog, as it was told, is of pods that are not there yet: counted again, not borrowed.
fn promises(world: &World, backlog: &Backlog) -> bool {
    let mine = |pod: &&Pod| is_work(pod) && pod.labels == backlog.unit.labels;
    let there: Vec<&Pod> = world.told.pods.values().filter(mine).collect();
    let running = there.iter().filter(|pod| pod.phase == Phase::Running).count() as u64;
    let all = backlog.waiting + backlog.in_flight.unwrap_or(running);
    let may = backlog.limit.map_or(all, |limit| all.min(limit));
    backlog.held.is_none() && backlog.waiting > 0 && may > there.len() as u64
}

/// A promised pod's fit on an empty machine.
fn unit_fits(backlog: &Backlog, shape: &Shape) -> bool {
    let unit = &backlog.unit;
    let pod = Pod { requests: unit.requests.clone(), node_selector: unit.node_selector.clone(), ..Pod::default() };
    fits(&pod, false, shape, [].iter())
}

/// A power cycle is for a machine that nothing runs on.
fn cycle(world: &World, action: &Action) -> Result<(), String> {
    let name = &action.machine;
    let told = &world.told;
    let wrong = |what: &str| Err(format!("{what}: {action:?}"));
    if !(told.pods_fresh && told.nodes_fresh) {
        return wrong("power-cycles without fresh lists");
    }
    let there = |pod: &&Pod| pod.node.as_deref() == Some(name) && is_work(pod) && !pod.deleting;
    if told.pods.values().any(|pod| there(&pod)) || world.on_node(name).iter().any(|pod| !pod.deleting) {
        return wrong("power-cycles a busy machine");
    }
    if told.disabled.contains(name) && !told.asked_on.contains(name) {
        return wrong("power-cycles a disabled machine");
    }
    Ok(())
}

/// A machine that nobody asked off is emptied only where that was allowed, and only of what may go and has a place.
fn consolidation(world: &World, action: &Action) -> Result<(), String> {
    let (name, told) = (&action.machine, &world.told);
    let wrong = |what: &str| Err(format!("{what}: {action:?}"));
    let pool = |name: &String| world.machines.iter().find(|one| one.name == *name).map(|one| &one.pool);
    if !pool(name).is_some_and(|pool| world.policy.consolidation.pools.contains(pool)) {
        return wrong("empties a machine of a pool that is not consolidated");
    }
    let budgets = &world.policy.consolidation.budgets;
    let mine = budgets.iter().filter(|budget| budget.pool.as_ref() == pool(name)).map(|budget| budget.most).min();
    let all = budgets.iter().filter(|budget| budget.pool.is_none()).map(|budget| budget.most).min();
    let of_pool = told.emptied.iter().filter(|other| pool(other) == pool(name)).count();
    if of_pool >= mine.unwrap_or(1) as usize || told.emptied.len() >= all.unwrap_or(u32::MAX) as usize {
        return wrong("empties more machines at once than its budgets allow");
    }
    let on_it = |node: &str| -> Vec<&Pod> {
        told.pods.values().filter(|pod| pod.node.as_deref() == Some(node) && is_work(pod)).collect()
    };
    for pod in on_it(name).into_iter().filter(|pod| !pod.deleting) {
        if pod.moving == Moving::Never || pod.owner != Owner::Controller("ReplicaSet/web".into()) {
            return wrong("evicts what may not be moved");
        }
        let takes = |node: &&Node| node.name != *name && node.name != "front" && node.ready && !node.cordoned;
        let fits = |node: &Node| fits(pod, false, &node.shape, on_it(&node.name).into_iter());
        if !told.nodes.values().filter(takes).any(fits) {
            return wrong("evicts a pod that has no other place");
        }
    }
    Ok(())
}

/// Checks an action before it is done.
pub(crate) fn action(world: &World, action: &Action) -> Result<(), String> {
    let name = &action.machine;
    let wrong = |what: &str| Err(format!("{what}: {action:?}"));
    let machine = world.machines.iter().find(|machine| machine.name == *name).ok_or("an unknown machine")?;
    let (told, real) = (&world.told, &world.real[name]);
    let fresh = told.pods_fresh && told.nodes_fresh;
    let asked_off = told.asked_off.contains(name);
    if machine.role == Role::FrontEnd {
        return wrong("touches the front-end");
    }
    if world.under_way.contains_key(name) {
        return wrong("a second action while one is under way");
    }
    if action.reason.is_empty() {
        return wrong("has no reason");
    }
    match &action.what {
        What::Cordon if !fresh => wrong("cordons without fresh lists"),
        What::Drain { .. } if !fresh => wrong("drains without fresh lists"),
        What::Drain { .. } if !asked_off => consolidation(world, action),
        What::Shun | What::Unshun if !fresh => wrong("shuns without fresh lists"),
        What::Shun if !world.policy.consolidation.pools.contains(&machine.pool) => wrong("shuns what nobody may empty"),
        What::DeleteNode { .. } if real.on => wrong("deletes the node of a machine that is on"),
        What::Observe
        | What::Uncordon
        | What::Cordon
        | What::Shun
        | What::Unshun
        | What::Drain { .. }
        | What::DeleteNode { .. } => Ok(()),
        What::PowerOn => {
            if real.on {
                return wrong("a second boot of a machine that is on");
            }
            if told.disabled.contains(name) && !told.asked_on.contains(name) {
                return wrong("powers on a disabled machine");
            }
            let wanted = told.pods.values().filter(waits).any(|pod| fits(pod, false, &machine.shape, [].iter()));
            let up = ready_others(world, name, &machine.pool, true);
            let held = up < minimum(world, &machine.pool) as usize;
            // Only a queue that is heard of now may wake a machine.
            let heard = told.queues.values().filter(|(_, fresh)| *fresh).flat_map(|(services, _)| services);
            let promised = heard.clone().any(|backlog| promises(world, backlog) && unit_fits(backlog, &machine.shape));
            if !wanted && !promised && !held && !told.asked_on.contains(name) {
                let waiting: Vec<_> = told
                    .pods
                    .values()
                    .filter(waits)
                    .map(|pod| {
                        (pod.id.to_string(), pod.requests.cpu_milli, pod.requests.memory >> 20, &pod.node_selector)
                    })
                    .collect();
                return wrong(&format!("wakes a machine of {:?} for nothing, {waiting:?} wait", machine.shape));
            }
            Ok(())
        }
        What::PowerCycle => cycle(world, action),
        What::PowerOff { how } => {
            if !fresh {
                return wrong("powers off without fresh lists");
            }
            let there = |pod: &&Pod| pod.node.as_deref() == Some(name) && is_work(pod);
            if told.pods.values().filter(there).any(|pod| !pod.deleting)
                || world.on_node(name).iter().any(|pod| !pod.deleting)
            {
                return wrong("powers off a busy machine");
            }
            // It was told of this boot, and not only of one before a power cycle.
            let this_boot = |boot: &Option<String>| world.nodes.get(name).is_some_and(|node| node.boot_id == *boot);
            let was_ready =
                told.nodes.get(name).is_some_and(|node| node.ready && this_boot(&node.boot_id)) && real.kubelet;
            if asked_off || !was_ready {
                return Ok(());
            }
            let up = ready_others(world, name, &machine.pool, false);
            if up < minimum(world, &machine.pool) as usize && !told.disabled.contains(name) {
                return wrong("goes below the pool's minimum");
            }
            if told
                .pods
                .values()
                .filter(waits)
                .any(|pod| fits(pod, false, &machine.shape, [].iter()) && !world.doubts(pod, name))
            {
                return wrong("powers off while a pod waits that it could host");
            }
            // A queue holds its machine whether it is heard of now or not.
            let services = told.queues.values().flat_map(|(services, _)| services);
            for backlog in services.filter(|backlog| unit_fits(backlog, &machine.shape) && promises(world, backlog)) {
                let another = |other: &&marea::model::machine::Machine| {
                    other.name != *name
                        && unit_fits(backlog, &other.shape)
                        && ready_others(world, name, &other.pool, false) > 0
                };
                if !world.machines.iter().filter(|one| one.role == Role::Worker).any(|one| another(&one)) {
                    return wrong("powers off the only machine for what a queue promises");
                }
            }
            if *how == Off::Graceful && world.now - real.on_since < world.policy.idle_timeout_ms {
                return wrong("flaps: it was on for less than the idle timeout");
            }
            Ok(())
        }
    }
}

/// Machines of the pool, this one left out, that are Ready or boot as far as the core can know.
/// Strictly: those only that it counts upon, for a node may be Ready whose machine is being given up.
fn ready_others(world: &World, name: &str, pool: &str, strictly: bool) -> usize {
    let others = world.machines.iter().filter(|other| other.pool == pool && other.name != *name);
    let serves = |other: &&marea::model::machine::Machine| {
        let ready = world.told.nodes.get(&other.name).is_some_and(|node| node.ready && !node.cordoned);
        let coming = world.state.machines.get(&other.name).is_some_and(|one| match one.phase {
            marea::autoscaler::tracked::Phase::PoweringOn { deadline, .. } => time(world.now) < deadline,
            _ => one.phase.name() == "uncordoning",
        });
        let counted = world.state.machines.get(&other.name).is_some_and(|one| one.phase.name() == "on");
        (ready && (counted || !strictly)) || coming
    };
    others.filter(serves).count()
}

/// Checks that all has come to rest, long after the last fault.
pub(crate) fn at_rest(world: &World) -> Result<(), String> {
    let sound: Vec<_> =
        world.machines.iter().filter(|one| one.role == Role::Worker && !world.real[&one.name].lemon).collect();
    for pod in world.pods.values().filter(|pod| is_work(pod)) {
        if sound.iter().any(|one| fits(pod, false, &one.shape, [].iter())) {
            return Err(format!("pod {} fits a machine and never ran to its end: {pod:?}", pod.id));
        }
    }
    for (queue, tub) in &world.tubs {
        if tub.backlog.waiting > 0 && sound.iter().any(|one| unit_fits(&tub.backlog, &one.shape)) {
            return Err(format!("queue {queue} was never emptied: {tub:?}"));
        }
    }
    let mut on: BTreeMap<&str, u32> = BTreeMap::new();
    for machine in &sound {
        let (name, tracked) = (&machine.name, &world.state.machines[&machine.name]);
        let real = &world.real[name];
        let expected = if real.on { "on" } else { "off" };
        if tracked.phase.name() != expected {
            return Err(format!("machine {name} is stuck, and is really {expected}: {tracked:?}"));
        }
        if let Some(node) = world.nodes.get(name) {
            if !real.on {
                return Err(format!("the node of {name} was left when it went off"));
            }
            if node.shunned {
                return Err(format!("{name} is left shunned: {tracked:?}"));
            }
            if node.cordoned {
                return Err(format!("{name} is left cordoned: {tracked:?}"));
            }
        }
        *on.entry(&machine.pool).or_default() += u32::from(real.on);
    }
    for (pool, on) in on {
        let members = sound.iter().filter(|one| one.pool == pool).count();
        let members = u32::try_from(members).unwrap();
        let minimum = world.policy.pools[pool].min.min(members);
        // What boots slowly stays on from one window to the next.
        let rules = world.policy.schedule.iter().filter(|rule| rule.pool == pool);
        let kept = rules.map(|rule| rule.min.min(members)).fold(minimum, u32::max);
        if on < minimum || on > kept {
            return Err(format!("pool {pool} has {on} on at rest and a minimum of {minimum}"));
        }
    }
    if world.now < MINUTE {
        return Err("the world had no time".into());
    }
    Ok(())
}
