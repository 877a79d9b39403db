//! A cluster as the scheduler sees it: nodes, and the pods that are on them. A node may be there, boot or be
//! what an off machine would become: it makes no difference here. Putting a pod down changes only the counters
//! that it matters to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::class::Class;
use super::counter::{Accepted, Among, Count, Counter, Who};
use super::misfit::Misfit;
use super::selector::{Whose, selects, term_selects};
use super::spot::{Look, Spot, ahead, named};
use super::topology::Topology;
use super::{resources, taints, volumes};
use crate::model::fact::Facts;
use crate::model::node::{Shape, Taint};
use crate::model::pod::{Pod, Spread};
use crate::model::resources::Resources;

/// Looked up and never walked through, and the same in every run.
type Lookup<K> = HashMap<K, usize, FixedState>;

/// Classes of pods that are gone may be remembered up to so many.
const SPARE_CLASSES: usize = 5000;

/// How many filters there are to ask, what is found out ahead of them counted as one.
const FILTERS: usize = 11;

/// Nodes and the pods on them.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    facts: Facts,
    classes: Vec<Entry>,
    /// How many of them have pods on nodes.
    in_use: usize,
    /// By a number that pods of a class share.
    by_class: HashMap<u64, Vec<usize>, FixedState>,
    nodes: Vec<Option<Spot>>,
    /// Numbers of nodes that were removed: the next ones get them.
    vacant: Vec<usize>,
    counters: Vec<Counter>,
    by_count: Lookup<Count>,
    topology: Topology,
    /// The numbers of nodes' looks.
    looks: HashMap<Look, usize, FixedState>,
    /// Counters for which it matters which nodes there are.
    choosy: Vec<usize>,
    /// How many pods on nodes use a claim.
    users: BTreeMap<String, u64>,
}

/// What is known of a class.
#[derive(Debug, Clone)]
struct Entry {
    class: Arc<Class>,
    /// The counters that one more of it raises.
    raises: Vec<usize>,
    /// Counters of pods that refuse it.
    refused_by: Vec<usize>,
    /// What its own constraints look at; known once it has been asked about.
    asked: Option<Asked>,
    /// By node: how many pods of it are there.
    on: BTreeMap<usize, u64>,
}

#[derive(Debug, Clone, Default)]
struct Asked {
    spread: Vec<(usize, Spread, bool)>,
    near: Vec<usize>,
    near_itself: bool,
    apart: Vec<usize>,
}

impl Cluster {
    /// A cluster without nodes. The facts are those of its whole life.
    pub fn new(facts: Facts) -> Self {
        Self { facts, ..Self::default() }
    }

    /// What it was made with.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The same, to be changed; but not the namespaces, by which it has counted already.
    pub fn facts_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }

    /// The classes of pods that are on nodes, each with how many are on which.
    pub fn placed(&self) -> impl Iterator<Item = (&Arc<Class>, &BTreeMap<usize, u64>)> {
        self.classes.iter().filter(|entry| !entry.on.is_empty()).map(|entry| (&entry.class, &entry.on))
    }

    /// A node's name.
    pub fn name(&self, node: usize) -> Option<&str> {
        Some(&self.nodes.get(node)?.as_ref()?.name)
    }

    /// True when most classes that it knows are of pods that are no longer there.
    pub fn is_wasteful(&self) -> bool {
        self.classes.len() > 2 * self.in_use + SPARE_CLASSES
    }

    /// True when the node is just like this.
    pub fn is_like(&self, node: usize, shape: &Shape, transient: &[Taint], cordoned: bool) -> bool {
        let Some(spot) = self.nodes.get(node).and_then(Option::as_ref) else { return false };
        let taints = shape.taints.iter().chain(transient).cloned().chain(cordoned.then(taints::cordon));
        spot.cordoned == cordoned && spot.shape == *shape && spot.taints.iter().cloned().eq(taints)
    }

    /// Adds a node. `transient` are taints besides those of its shape.
    pub fn add_node(&mut self, name: &str, shape: &Shape, transient: &[Taint], cordoned: bool) -> usize {
        let node = self.vacant.pop().unwrap_or(self.nodes.len());
        // A cordoned node has the taint that says so, too, which spread constraints may honor.
        let cordon = cordoned.then(taints::cordon);
        let taints: Vec<Taint> = shape.taints.iter().chain(transient).cloned().chain(cordon).collect();
        let next = self.looks.len();
        let look = *self.looks.entry(Look::of(shape, &taints)).or_insert(next);
        let spot = Spot {
            name: name.to_owned(),
            shape: shape.clone(),
            taints,
            cordoned,
            used: Resources::default(),
            pods: BTreeMap::new(),
            nominated: Vec::new(),
            look,
        };
        self.topology.node_comes(node, &spot);
        for counter in &self.choosy {
            let counter = &mut self.counters[*counter];
            let among = counter.count.is_among(name, &spot.shape.labels, &spot.taints);
            counter.node_comes(&self.topology, node, among);
        }
        if node == self.nodes.len() {
            self.nodes.push(Some(spot));
        } else {
            self.nodes[node] = Some(spot);
        }
        node
    }

    /// Removes a node and the pods on it.
    pub fn remove_node(&mut self, node: usize) {
        let Some(spot) = self.nodes.get(node).and_then(Option::as_ref) else { return };
        for (class, count) in spot.pods.clone() {
            for _ in 0..count {
                self.unplace(class, node);
            }
        }
        for counter in &self.choosy {
            self.counters[*counter].node_goes(&self.topology, node);
        }
        self.topology.node_goes(node);
        self.nodes[node] = None;
        self.vacant.push(node);
    }

    /// The class of a pod, wherever it is.
    pub fn class(&mut self, pod: &Pod) -> usize {
        let key = Class::key(pod, false);
        self.known(pod, key, false).unwrap_or_else(|| self.intern(Class::of(pod), key))
    }

    fn known(&self, pod: &Pod, key: u64, named: bool) -> Option<usize> {
        let numbers = self.by_class.get(&key)?;
        numbers.iter().copied().find(|number| self.classes[*number].class.is_of(pod, named))
    }

    /// The class of a pod that is to be judged: as `class`, and what it asks about its company is counted from now on.
    pub fn ask(&mut self, pod: &Pod) -> usize {
        let key = Class::key(pod, true);
        let class = self.known(pod, key, true).unwrap_or_else(|| self.intern(Class::named(pod), key));
        self.prepare(class);
        class
    }

    fn intern(&mut self, class: Class, key: u64) -> usize {
        let class = Arc::new(class);
        let number = self.classes.len();
        // Its own anti-affinity holds against those that come after it.
        for term in &class.pod_anti_affinity {
            self.count(Count { who: Who::Holding(term.clone()), key: term.topology_key.clone(), among: None });
        }
        let facts = &self.facts;
        let counters = || self.counters.iter().enumerate();
        let raises = counters().filter(|(_, counter)| counter.count.counts(&class, facts)).map(|(at, _)| at).collect();
        let refused_by =
            counters().filter(|(_, counter)| refuses(&counter.count, &class, facts)).map(|(at, _)| at).collect();
        self.classes.push(Entry { class, raises, refused_by, asked: None, on: BTreeMap::new() });
        self.by_class.entry(key).or_default().push(number);
        number
    }

    /// The counter that counts this. A new one counts what is there.
    fn count(&mut self, count: Count) -> usize {
        if let Some(known) = self.by_count.get(&count) {
            return *known;
        }
        let number = self.counters.len();
        let mut counter = Counter::new(count.clone(), self.topology.key(&count.key, &self.nodes));
        if count.is_choosy() {
            self.choosy.push(number);
            self.have_come(&mut counter);
        }
        for entry in &mut self.classes {
            if refuses(&count, &entry.class, &self.facts) {
                entry.refused_by.push(number);
            }
            if count.counts(&entry.class, &self.facts) {
                entry.raises.push(number);
                for (node, pods) in &entry.on {
                    counter.change(&self.topology, *node, *pods, 0);
                }
            }
        }
        self.counters.push(counter);
        self.by_count.insert(count, number);
        number
    }

    /// All nodes that are there come to a new counter. Those that look alike are judged once.
    fn have_come(&self, counter: &mut Counter) {
        let nameless = counter.count.is_nameless();
        let mut judged: Vec<Option<bool>> = vec![None; self.looks.len()];
        for (node, spot) in self.nodes.iter().enumerate().filter_map(|(node, spot)| Some((node, spot.as_ref()?))) {
            let judge = || counter.count.is_among(&spot.name, &spot.shape.labels, &spot.taints);
            let among = if nameless { *judged[spot.look].get_or_insert_with(judge) } else { judge() };
            counter.node_comes(&self.topology, node, among);
        }
    }

    fn prepare(&mut self, number: usize) {
        if self.classes[number].asked.is_some() {
            return;
        }
        let class = self.classes[number].class.clone();
        let mut asked = Asked::default();
        let keys: Vec<String> = class.spread.iter().map(|one| one.topology_key.clone()).collect();
        for spread in &class.spread {
            let among = Among {
                keys: keys.clone(),
                accepted: spread
                    .honors_affinity
                    .then(|| Accepted { node_selector: class.node_selector.clone(), affinity: class.affinity.clone() }),
                tolerations: spread.honors_taints.then(|| class.tolerations.clone()),
            };
            let who = Who::Spread(class.namespace.clone(), spread.selector.clone());
            let counter = self.count(Count { who, key: spread.topology_key.clone(), among: Some(among) });
            let itself = selects(spread.selector.as_ref(), &class.labels);
            asked.spread.push((counter, spread.clone(), itself));
        }
        for term in &class.pod_affinity {
            let who = Who::Meant(class.pod_affinity.clone());
            asked.near.push(self.count(Count { who, key: term.topology_key.clone(), among: None }));
        }
        asked.near_itself = class
            .pod_affinity
            .iter()
            .all(|term| term_selects(term, Whose::New, &class.namespace, &class.labels, &self.facts));
        for term in &class.pod_anti_affinity {
            let who = Who::Meant(vec![term.clone()]);
            asked.apart.push(self.count(Count { who, key: term.topology_key.clone(), among: None }));
        }
        self.classes[number].asked = Some(asked);
    }

    /// Puts a pod of this class on a node.
    pub fn place(&mut self, class: usize, node: usize) {
        let Some(spot) = self.nodes.get_mut(node).and_then(Option::as_mut) else { return };
        let entry = &mut self.classes[class];
        spot.used.add(&entry.class.requests);
        *spot.pods.entry(class).or_default() += 1;
        self.in_use += usize::from(entry.on.is_empty());
        *entry.on.entry(node).or_default() += 1;
        for claim in &entry.class.claims {
            *self.users.entry(format!("{}/{}", entry.class.namespace, claim.claim)).or_default() += 1;
        }
        for counter in &entry.raises {
            self.counters[*counter].change(&self.topology, node, 1, 0);
        }
    }

    /// Takes a pod of this class off a node that it is on.
    pub fn unplace(&mut self, class: usize, node: usize) {
        let Some(spot) = self.nodes.get_mut(node).and_then(Option::as_mut) else { return };
        let Some(pods) = spot.pods.get_mut(&class) else { return };
        *pods -= 1;
        if *pods == 0 {
            spot.pods.remove(&class);
        }
        let entry = &mut self.classes[class];
        if let Some(pods) = entry.on.get_mut(&node) {
            *pods -= 1;
            if *pods == 0 {
                entry.on.remove(&node);
                self.in_use -= usize::from(entry.on.is_empty());
            }
        }
        spot.used.subtract(&entry.class.requests);
        for claim in &entry.class.claims {
            if let Some(users) = self.users.get_mut(&format!("{}/{}", entry.class.namespace, claim.claim)) {
                *users = users.saturating_sub(1);
            }
        }
        for counter in &entry.raises {
            self.counters[*counter].change(&self.topology, node, 0, 1);
        }
    }

    /// Room is being made on the node for a pod of this class and priority: it counts as there to pods that are
    /// not more important (see `judge`).
    pub fn nominate(&mut self, class: usize, node: usize, priority: i32) {
        if let Some(spot) = self.nodes.get_mut(node).and_then(Option::as_mut) {
            spot.nominated.push((priority, class));
        }
    }

    /// The first filter that keeps a pod of this class and priority off the node, nominated pods counted as the
    /// scheduler does: it must fit with those that are as important on the node, and without them.
    pub fn judge(&mut self, class: usize, node: usize, priority: i32) -> Option<Misfit> {
        let spot = self.nodes.get(node).and_then(Option::as_ref);
        let important: Vec<usize> = spot
            .map(|spot| spot.nominated.iter().filter(|one| one.0 >= priority).map(|one| one.1).collect())
            .unwrap_or_default();
        if !important.is_empty() {
            // The scheduler has found out ahead whether a pod's company matters at all, and then without these.
            let alone =
                self.classes[class].asked.as_ref().is_none_or(|asked| asked.near.is_empty() && asked.apart.is_empty());
            let welcome = self.classes[class].refused_by.iter().all(|counter| self.counters[*counter].total() == 0);
            let steps = if alone && welcome { FILTERS - 1 } else { FILTERS };
            for one in &important {
                self.place(*one, node);
            }
            let everybody = self.counted_only_when_nominated(class, &important);
            for (counter, pods) in &everybody {
                self.counters[*counter].change(&self.topology, node, *pods, 0);
            }
            let misfit = (0..steps).find_map(|step| self.filter(step, class, node));
            for (counter, pods) in &everybody {
                self.counters[*counter].change(&self.topology, node, 0, *pods);
            }
            for one in &important {
                self.unplace(*one, node);
            }
            if misfit.is_some() {
                return misfit;
            }
        }
        self.first_failing(class, node)
    }

    /// For a spread constraint whose selector has nothing in it the scheduler counts no pod on a node, and yet
    /// every nominated one: the counters, and how many.
    fn counted_only_when_nominated(&self, class: usize, nominated: &[usize]) -> Vec<(usize, u64)> {
        let asked = self.classes[class].asked.iter().flat_map(|asked| &asked.spread);
        let everybody = |spread: &Spread| spread.selector.as_ref().is_some_and(|one| one.requirements.is_empty());
        let namespace = &self.classes[class].class.namespace;
        let same = nominated.iter().filter(|one| self.classes[**one].class.namespace == *namespace).count() as u64;
        asked.filter(|(_, spread, _)| everybody(spread)).map(|(counter, ..)| (*counter, same)).collect()
    }

    /// The first filter of kube-scheduler's default profile that keeps a pod of this class off the node, or
    /// `None` when it fits. The class must have come from `ask`.
    pub fn first_failing(&self, class: usize, node: usize) -> Option<Misfit> {
        (0..FILTERS).find_map(|step| self.filter(step, class, node))
    }

    /// Everything that keeps a pod of this class off the node, in the scheduler's order.
    pub fn misfits(&self, class: usize, node: usize) -> Vec<Misfit> {
        let mut all: Vec<Misfit> = Vec::new();
        for misfit in (0..FILTERS).filter_map(|step| self.filter(step, class, node)) {
            if matches!(misfit, Misfit::Short { .. } | Misfit::TooManyPods { .. }) {
                let entry = &self.classes[class].class;
                if let Some(spot) = &self.nodes[node] {
                    all.extend(resources::shortages(&entry.requests, &spot.shape.allocatable, &spot.used));
                }
            } else if !all.iter().any(|other| other.filter() == misfit.filter()) {
                all.push(misfit);
            }
        }
        all
    }

    /// The first filter that keeps the class off the node whichever other pods are where.
    pub fn first_failing_static(&self, class: usize, node: usize) -> Option<Misfit> {
        let (class, spot) = (&self.classes[class].class, self.nodes.get(node).and_then(Option::as_ref)?);
        ahead(class, &spot.name, &self.facts)
            .or_else(|| named(class, spot))
            .or_else(|| volumes::unreachable(class, &spot.name, &spot.shape, &self.facts))
            .or_else(|| volumes::other_zone(class, &spot.shape, &self.facts))
            .or_else(|| {
                let lacks = |one: &&Spread| !spot.shape.labels.contains_key(&one.topology_key);
                class.spread.iter().find(lacks).map(|one| Misfit::SpreadKey { key: one.topology_key.clone() })
            })
    }

    /// One of the filters, by its place in the order; none after the last.
    fn filter(&self, step: usize, number: usize, node: usize) -> Option<Misfit> {
        let entry = &self.classes[number];
        let spot = self.nodes.get(node).and_then(Option::as_ref)?;
        let (class, facts) = (&*entry.class, &self.facts);
        let others = || spot.pods.keys().map(|other| &*self.classes[*other].class);
        match step {
            0 => ahead(class, &spot.name, facts),
            1 => named(class, spot),
            2 => resources::ports(&class.host_ports, others().flat_map(|other| other.host_ports.iter())),
            3 => resources::shortages(&class.requests, &spot.shape.allocatable, &spot.used).next(),
            4 => volumes::disk_in_use(class, others().flat_map(|other| other.disks.iter())),
            5 => volumes::in_use(class, &self.users, facts),
            6 => volumes::too_many(class, &spot.name, &spot.shape, others(), facts),
            7 => volumes::unreachable(class, &spot.name, &spot.shape, facts),
            8 => volumes::other_zone(class, &spot.shape, facts),
            9 => self.spread(entry, node, spot),
            10 => self.company(entry, node, spot),
            _ => None,
        }
    }

    /// PodTopologySpread.
    fn spread(&self, entry: &Entry, node: usize, spot: &Spot) -> Option<Misfit> {
        let asked = entry.asked.as_ref()?;
        asked.spread.iter().find_map(|(counter, spread, itself)| {
            let counter = &self.counters[*counter];
            let key = &spread.topology_key;
            if !spot.shape.labels.contains_key(key) {
                return Some(Misfit::SpreadKey { key: key.clone() });
            }
            // A node that is no domain itself may still share a value with those that are.
            let there = counter.around(&self.topology, node);
            let fewest = match counter.fewest() {
                _ if counter.domains() < u64::from(spread.min_domains) => 0,
                Some(fewest) => fewest,
                // Without any domain the scheduler takes the emptiest as endlessly full.
                None => return None,
            };
            let here = there + u64::from(*itself);
            let most = u64::from(spread.max_skew);
            (here > fewest + most).then(|| Misfit::Spread { key: key.clone(), here, fewest, most })
        })
    }

    /// InterPodAffinity.
    fn company(&self, entry: &Entry, node: usize, spot: &Spot) -> Option<Misfit> {
        let asked = entry.asked.as_ref()?;
        let terms = &entry.class.pod_affinity;
        if let Some(term) = terms.iter().find(|term| !spot.shape.labels.contains_key(&term.topology_key)) {
            return Some(Misfit::NotNear { key: term.topology_key.clone() });
        }
        let lonely = asked
            .near
            .iter()
            .position(|counter| self.counters[*counter].at(&self.topology, node).unwrap_or_default() == 0);
        if let Some(lonely) = lonely {
            // The first of pods that want to be together may go anywhere.
            let first = asked.near_itself && asked.near.iter().all(|counter| self.counters[*counter].total() == 0);
            if !first {
                return Some(Misfit::NotNear { key: terms[lonely].topology_key.clone() });
            }
        }
        let present = |counter: &&usize| self.counters[**counter].at(&self.topology, node).is_some_and(|pods| pods > 0);
        let key = |counter: &usize| self.counters[*counter].count.key.clone();
        if let Some(counter) = asked.apart.iter().find(present) {
            return Some(Misfit::NotApart { key: key(counter) });
        }
        entry.refused_by.iter().find(present).map(|counter| Misfit::Refused { key: key(counter) })
    }

    /// What the pods on a node ask for, in all.
    pub fn used(&self, node: usize) -> Option<&Resources> {
        Some(&self.nodes.get(node)?.as_ref()?.used)
    }
}

fn refuses(count: &Count, class: &Class, facts: &Facts) -> bool {
    match &count.who {
        Who::Holding(term) => term_selects(term, Whose::Placed, &class.namespace, &class.labels, facts),
        Who::Meant(_) | Who::Spread(..) => false,
    }
}
