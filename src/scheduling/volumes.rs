//! Volumes: VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone. A pod goes only where its
//! claims' volumes are, or can be bound or made, and where as many can still be attached.

use std::collections::{BTreeMap, BTreeSet};

use super::affinity::any_holds;
use super::class::Class;
use super::misfit::{Filter, Misfit};
use super::selector::selects;
use crate::model::fact::{Claim, Facts, Volume};
use crate::model::node::Shape;
use crate::model::pod::{ClaimUse, Disk};

/// The labels of a volume, and of a node, that name where it is. The older ones are read, too.
const WHERE: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];
/// A volume may be in several zones.
const ZONES: &str = "__";
/// A class whose claims nobody provisions volumes for.
const NOBODY: &str = "kubernetes.io/no-provisioner";

fn claim<'a>(class: &Class, name: &str, facts: &'a Facts) -> Option<&'a Claim> {
    facts.claims.get(&format!("{}/{name}", class.namespace))
}

/// What is wrong with the pod's claims wherever it goes.
pub(super) fn wrong(class: &Class, facts: &Facts) -> Option<Misfit> {
    // VolumeRestrictions looks at them first, and not at those of ephemeral volumes.
    if let Some(missing) = class.claims.iter().find(|one| !one.ephemeral && claim(class, &one.claim, facts).is_none()) {
        return Some(Misfit::ClaimMissing { claim: missing.claim.clone(), filter: Filter::VolumeRestrictions });
    }
    for used in &class.claims {
        let Some(claim) = claim(class, &used.claim, facts) else {
            return Some(Misfit::ClaimMissing { claim: used.claim.clone(), filter: Filter::VolumeBinding });
        };
        let why = if claim.lost {
            "its volume is gone"
        } else if claim.deleting {
            "it is being deleted"
        } else if used.ephemeral && claim.owner != class.owner {
            "it is another pod's"
        } else {
            continue;
        };
        return Some(Misfit::ClaimUnusable {
            claim: used.claim.clone(),
            why: why.into(),
            filter: Filter::VolumeBinding,
        });
    }
    class.claims.iter().find_map(|used| {
        let claim = claim(class, &used.claim, facts)?;
        let bound = claim.bound && claim.volume.is_some();
        (!bound && !waits(claim, facts))
            .then(|| Misfit::ClaimUnbound { claim: used.claim.clone(), filter: Filter::VolumeBinding })
    })
}

/// True for a claim that is bound when its first pod is scheduled.
fn waits(claim: &Claim, facts: &Facts) -> bool {
    claim.volume.is_none() && facts.classes.get(&claim.class).is_some_and(|class| class.waits)
}

/// VolumeZone's own questions about the claims, which come after VolumeBinding's.
pub(super) fn zone_wrong(class: &Class, facts: &Facts) -> Option<Misfit> {
    class.claims.iter().filter(|used| !used.ephemeral).find_map(|used| {
        let volume = claim(class, &used.claim, facts)?.volume.as_ref()?;
        let gone = !facts.volumes.contains_key(volume);
        gone.then(|| Misfit::VolumeMissing { volume: volume.clone(), filter: Filter::VolumeZone })
    })
}

/// VolumeRestrictions: a claim that one pod may use at a time is in use.
pub(super) fn in_use(class: &Class, users: &BTreeMap<String, u64>, facts: &Facts) -> Option<Misfit> {
    class.claims.iter().filter(|used| !used.ephemeral).find_map(|used| {
        let one = claim(class, &used.claim, facts)?;
        let exclusive = one.modes.iter().any(|mode| mode == "ReadWriteOncePod");
        let taken = users.get(&format!("{}/{}", class.namespace, used.claim)).is_some_and(|users| *users > 0);
        (exclusive && taken).then(|| Misfit::ClaimInUse { claim: used.claim.clone() })
    })
}

/// VolumeRestrictions: a disk that a pod on the node mounts already.
pub(super) fn disk_in_use<'a>(class: &Class, mut held: impl Iterator<Item = &'a Disk>) -> Option<Misfit> {
    held.any(|held| class.disks.iter().any(|disk| excludes(disk, held))).then_some(Misfit::DiskInUse)
}

fn excludes(one: &Disk, other: &Disk) -> bool {
    match (one, other) {
        (Disk::Gce { name: a, read_only: x }, Disk::Gce { name: b, read_only: y })
        | (Disk::Iscsi { iqn: a, read_only: x }, Disk::Iscsi { iqn: b, read_only: y }) => a == b && !(*x && *y),
        (Disk::Aws { volume: a }, Disk::Aws { volume: b }) => a == b,
        (
            Disk::Rbd { monitors, pool, image, read_only },
            Disk::Rbd { monitors: others, pool: other_pool, image: other_image, read_only: other_only },
        ) => {
            monitors.iter().any(|monitor| others.contains(monitor))
                && pool == other_pool
                && image == other_image
                && !(*read_only && *other_only)
        }
        (Disk::Gce { .. } | Disk::Aws { .. } | Disk::Iscsi { .. } | Disk::Rbd { .. }, _) => false,
    }
}

/// The CSI volumes of a class's claims, each with its driver. A claim that has no volume yet counts as one of its
/// class's provisioner.
fn attached(class: &Class, facts: &Facts) -> BTreeMap<String, String> {
    let mut volumes = BTreeMap::new();
    for used in &class.claims {
        let Some(claim) = claim(class, &used.claim, facts) else { continue };
        let (driver, handle) = match claim.volume.as_ref().and_then(|name| facts.volumes.get(name)) {
            Some(volume) => match &volume.csi {
                Some((driver, handle)) => (driver.clone(), handle.clone()),
                None => continue,
            },
            None => match facts.classes.get(&claim.class) {
                Some(class) => (class.provisioner.clone(), format!("?{}/{}", claim.namespace, claim.name)),
                None => continue,
            },
        };
        if !driver.is_empty() && !handle.is_empty() {
            volumes.insert(format!("{driver}/{handle}"), driver);
        }
    }
    volumes
}

/// NodeVolumeLimits: how many volumes of each CSI driver the node can attach.
pub(super) fn too_many<'a>(
    class: &Class,
    name: &str,
    shape: &Shape,
    there: impl Iterator<Item = &'a Class>,
    facts: &Facts,
) -> Option<Misfit> {
    if class.claims.is_empty() || shape.drivers.values().all(Option::is_none) {
        return None;
    }
    let mut new = attached(class, facts);
    if new.is_empty() {
        return None;
    }
    let mut held: BTreeMap<String, String> = BTreeMap::new();
    for other in there.filter(|other| !other.claims.is_empty()) {
        // A claim under a pod's name that is not its own makes the scheduler give the node up.
        let foreign = |one: &&ClaimUse| {
            one.ephemeral && claim(other, &one.claim, facts).is_some_and(|claim| claim.owner != other.owner)
        };
        if let Some(one) = other.claims.iter().find(foreign) {
            let why = "a pod on the node has a claim that is another pod's".to_owned();
            return Some(Misfit::ClaimUnusable { claim: one.claim.clone(), why, filter: Filter::NodeVolumeLimits });
        }
        held.extend(attached(other, facts));
    }
    new.retain(|volume, _| !held.contains_key(volume));
    for attachment in facts.attachments.values().filter(|one| one.node == name && !one.driver.is_empty()) {
        let volume = attachment.volume.as_ref().and_then(|volume| facts.volumes.get(volume));
        if let Some((_, handle)) = volume.and_then(|volume| volume.csi.as_ref()) {
            held.entry(format!("{}/{handle}", attachment.driver)).or_insert_with(|| attachment.driver.clone());
        }
    }
    let drivers: BTreeSet<&String> = new.values().collect();
    drivers.into_iter().find_map(|driver| {
        let most = shape.drivers.get(driver).copied().flatten()?;
        let count = |volumes: &BTreeMap<String, String>| volumes.values().filter(|one| *one == driver).count();
        (count(&held) + count(&new) > most as usize)
            .then(|| Misfit::TooManyVolumes { driver: driver.clone(), most: u64::from(most) })
    })
}

/// VolumeBinding: the bound volumes reach the node, and for the other claims volumes there are to be had.
pub(super) fn unreachable(class: &Class, name: &str, shape: &Shape, facts: &Facts) -> Option<Misfit> {
    let claims: Vec<&Claim> = class.claims.iter().filter_map(|used| claim(class, &used.claim, facts)).collect();
    for claim in claims.iter().filter(|claim| claim.bound) {
        let Some(volume_name) = &claim.volume else { continue };
        let Some(volume) = facts.volumes.get(volume_name) else {
            return Some(Misfit::VolumeMissing { volume: volume_name.clone(), filter: Filter::VolumeBinding });
        };
        if !reaches(volume, shape) {
            return Some(Misfit::VolumeElsewhere { volume: volume_name.clone() });
        }
    }
    let mut open: Vec<&Claim> = claims.into_iter().filter(|claim| !claim.bound && waits(claim, facts)).collect();
    if let Some(claim) = open.iter().find(|claim| claim.selected_node.as_ref().is_some_and(|node| node != name)) {
        let node = claim.selected_node.clone().unwrap_or_default();
        return Some(Misfit::ClaimPromised { claim: claim.name.clone(), node });
    }
    // Small claims first, so that they take the small volumes.
    open.sort_by_key(|claim| claim.size.unwrap_or_default());
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for claim in open {
        let found = if claim.selected_node.is_none() { matching(claim, shape, facts, &taken) } else { None };
        match found {
            Some(volume) => drop(taken.insert(volume)),
            None => {
                if let Some(misfit) = cannot_make(claim, shape, facts) {
                    return Some(misfit);
                }
            }
        }
    }
    None
}

fn reaches(volume: &Volume, shape: &Shape) -> bool {
    // The scheduler looks at the node's labels alone here, and a term on fields holds.
    volume.affinity.as_ref().is_none_or(|terms| {
        terms.iter().any(|term| {
            let labels = crate::model::pod::Term { labels: term.labels.clone(), fields: Vec::new() };
            if term.labels.is_empty() { !term.fields.is_empty() } else { any_holds(&[labels], "", &shape.labels) }
        })
    })
}

/// The smallest volume that the claim can be bound to on such a node.
fn matching<'a>(claim: &Claim, shape: &Shape, facts: &'a Facts, taken: &BTreeSet<&str>) -> Option<&'a str> {
    let mut smallest: Option<&Volume> = None;
    for volume in facts.volumes.values() {
        let mine = volume.claim.as_ref().is_some_and(|kept| {
            kept.name == claim.name
                && kept.namespace == claim.namespace
                && (kept.uid.is_empty() || kept.uid == claim.uid)
        });
        let open = volume.class == claim.class
            && !taken.contains(volume.name.as_str())
            && (volume.claim.is_none() || mine)
            && volume.size >= claim.size.unwrap_or_default()
            && volume.block == claim.block
            && volume.attributes_class == claim.attributes_class
            && !volume.deleting;
        if !open {
            continue;
        }
        if mine {
            return reaches(volume, shape).then_some(volume.name.as_str());
        }
        let suits = volume.available
            && claim.selector.as_ref().is_none_or(|selector| selects(Some(selector), &volume.labels))
            && claim.modes.iter().all(|mode| volume.modes.contains(mode))
            && reaches(volume, shape);
        if suits && smallest.is_none_or(|other| other.size > volume.size) {
            smallest = Some(volume);
        }
    }
    smallest.map(|volume| volume.name.as_str())
}

/// Why no volume can be made for the claim on such a node.
fn cannot_make(claim: &Claim, shape: &Shape, facts: &Facts) -> Option<Misfit> {
    let none = || Some(Misfit::NoVolume { claim: claim.name.clone() });
    let Some(class) = facts.classes.get(&claim.class) else { return none() };
    if class.provisioner.is_empty() || class.provisioner == NOBODY {
        return none();
    }
    let allowed = |term: &Vec<(String, Vec<String>)>| {
        term.iter().all(|(key, values)| shape.labels.get(key).is_some_and(|value| values.contains(value)))
    };
    if !class.topologies.is_empty() && !class.topologies.iter().any(|term| !term.is_empty() && allowed(term)) {
        return none();
    }
    let heeds = facts.drivers.get(&class.provisioner).is_some_and(|driver| driver.capacity);
    let (true, Some(size)) = (heeds, claim.size) else { return None };
    let enough = facts.capacities.values().any(|capacity| {
        capacity.class == class.name
            && capacity.largest.is_some_and(|largest| largest >= size)
            && selects(capacity.nodes.as_ref(), &shape.labels)
    });
    (!enough).then(|| Misfit::NoStorage { claim: claim.name.clone(), wanted: size })
}

/// VolumeZone: the zone and region in a volume's labels are the node's, when it has any.
pub(super) fn other_zone(class: &Class, shape: &Shape, facts: &Facts) -> Option<Misfit> {
    if !WHERE.iter().any(|(key, _)| shape.labels.contains_key(*key)) {
        return None;
    }
    class.claims.iter().filter(|used| !used.ephemeral).find_map(|used| {
        let name = claim(class, &used.claim, facts)?.volume.as_ref()?;
        let volume = facts.volumes.get(name)?;
        WHERE.iter().find_map(|(key, newer)| {
            let zones: BTreeSet<&str> = volume.labels.get(*key)?.split(ZONES).collect();
            if zones.contains("") {
                // The scheduler passes over a label that it cannot read.
                return None;
            }
            let here = shape.labels.get(*key).or_else(|| shape.labels.get(*newer)).map(String::as_str);
            (!here.is_some_and(|here| zones.contains(here)))
                .then(|| Misfit::OtherZone { volume: name.clone(), key: (*key).to_owned() })
        })
    })
}
