//! Classes: which waiting pods are equal to the scheduler, what nodes let them on, and which counters they
//! raise and ask. Strings end here: what comes out is numbers.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::board::{Board, Class, Domains, Spread};
use super::counter::{Counter, NOWHERE};
use super::sites::{HOSTNAME, Look, Numbers, Sites, want};
use crate::model::fact::Facts;
use crate::model::node::Shape;
use crate::model::pod::{ClaimUse, Disk, HostPort, Pod, PodTerm, Spread as Rule, Term, Toleration};
use crate::model::resources::Resources;
use crate::model::selector::{Operator, Requirement, Selector};
use crate::scheduling::{self, Place, accepts, first_failing_static, first_failing_volume};

/// All by which the scheduler tells pods apart, and what the solver weighs.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    namespace: &'a str,
    labels: &'a BTreeMap<String, String>,
    requests: &'a Resources,
    node: &'a Option<String>,
    node_selector: &'a BTreeMap<String, String>,
    affinity: &'a Option<Vec<Term>>,
    tolerations: &'a [Toleration],
    host_ports: &'a [HostPort],
    spread: &'a [Rule],
    pod_affinity: &'a [PodTerm],
    pod_anti_affinity: &'a [PodTerm],
    claims: &'a [ClaimUse],
    disks: &'a [Disk],
    priority: i32,
    group: Option<&'a str>,
    refused: &'a [usize],
}

fn key<'a>(pod: &'a Pod, moving: bool, refused: &'a [usize]) -> Key<'a> {
    Key {
        namespace: &pod.id.namespace,
        labels: &pod.labels,
        requests: &pod.requests,
        node: if moving { &None } else { &pod.node },
        node_selector: &pod.node_selector,
        affinity: &pod.affinity,
        tolerations: &pod.tolerations,
        host_ports: &pod.host_ports,
        spread: &pod.spread,
        pod_affinity: &pod.pod_affinity,
        pod_anti_affinity: &pod.pod_anti_affinity,
        claims: &pod.claims,
        disks: &pod.disks,
        priority: pod.priority,
        group: None,
        refused,
    }
}

/// What of a pod on a node others ask about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Company<'a> {
    namespace: &'a str,
    labels: &'a BTreeMap<String, String>,
    /// It is being deleted.
    leaving: bool,
    apart: &'a [PodTerm],
}

impl<'a> From<&'a Pod> for Company<'a> {
    fn from(pod: &'a Pod) -> Self {
        let (labels, apart) = (&pod.labels, &pod.pod_anti_affinity[..]);
        Self { namespace: &pod.id.namespace, labels, leaving: pod.deleting, apart }
    }
}

impl<'a> From<&'a scheduling::Class> for Company<'a> {
    fn from(class: &'a scheduling::Class) -> Self {
        let (labels, apart) = (&class.labels, &class.pod_anti_affinity[..]);
        Self { namespace: &class.namespace, labels, leaving: class.leaving, apart }
    }
}

/// What a counter counts.
#[derive(PartialEq, Eq, Hash, Clone)]
enum Counts<'a> {
    /// Pods of a namespace that a spread constraint selects, on nodes of some shapes.
    Spread { namespace: &'a str, selector: &'a Selector, shapes: Vec<usize> },
    /// Pods that all of these terms select.
    Near(&'a [PodTerm]),
    /// Pods that this term selects.
    Selected(&'a PodTerm),
    /// Pods that have this anti-affinity.
    Holding(&'a PodTerm),
}

/// Waiting pods as classes, and what their constraints count.
pub(super) struct Classes<'a> {
    pub(super) made: Vec<Class>,
    /// By class: a pod of it.
    samples: Vec<&'a Pod>,
    numbers: Numbers<Key<'a>, usize>,
    /// The pods are to move: the node that one is on does not matter.
    moving: bool,
    sites: &'a Sites,
    /// By look: a shape to be judged.
    shapes: Vec<Shape>,
    facts: &'a Facts,
    /// Topology keys.
    topology: Vec<&'a str>,
    counters: Vec<(Counts<'a>, usize, Option<Bits>)>,
    counter_numbers: Numbers<(Counts<'a>, usize), usize>,
    ports: Vec<&'a HostPort>,
    /// By namespace and labels: the counters that such pods raise, but those of what they hold.
    raised: Numbers<(&'a str, &'a BTreeMap<String, String>), Vec<usize>>,
}

impl<'a> Classes<'a> {
    pub(super) fn new(sites: &'a Sites, facts: &'a Facts) -> Self {
        Self {
            made: Vec::new(),
            samples: Vec::new(),
            numbers: Numbers::default(),
            moving: false,
            sites,
            shapes: sites.looks().iter().map(shape).collect(),
            facts,
            topology: Vec::new(),
            counters: Vec::new(),
            counter_numbers: Numbers::default(),
            ports: Vec::new(),
            raised: Numbers::default(),
        }
    }

    /// For pods that are on nodes and are to move.
    pub(super) fn moving(sites: &'a Sites, facts: &'a Facts) -> Self {
        Self { moving: true, ..Self::new(sites, facts) }
    }

    /// The class of a pod that some sites have refused.
    pub(super) fn class(&mut self, pod: &'a Pod, refused: &'a [usize]) -> usize {
        if let Some(number) = self.numbers.get(&key(pod, self.moving, refused)) {
            return *number;
        }
        let number = self.made.len();
        self.numbers.insert(key(pod, self.moving, refused), number);
        self.samples.push(pod);
        let class = Class { refused: refused.iter().copied().collect(), ..self.make(pod) };
        self.made.push(class);
        number
    }

    fn make(&mut self, pod: &'a Pod) -> Class {
        let looks = self.sites.looks();
        let lets_on = |pod: &Pod, look: &usize| {
            let place = Place { cordoned: looks[*look].cordoned, ..Place::empty("", &self.shapes[*look]) };
            first_failing_static(pod, &place).is_none()
        };
        let of_looks = |pod: &Pod| -> Bits { (0..looks.len()).filter(|look| lets_on(pod, look)).collect() };
        let loose;
        let judged = if self.moving && pod.node.is_some() {
            loose = Pod { id: pod.id.clone(), uid: pod.uid.clone(), claims: pod.claims.clone(), ..alike(pod) };
            &loose
        } else {
            pod
        };
        let (shapes, only) = if names_nodes(judged) {
            (of_looks(&nameless(pod)), Some(self.by_name(judged)))
        } else {
            (of_looks(judged), None)
        };
        let mut class = Class { want: want(&pod.requests), shapes, only, ..Class::default() };
        for (name, amount) in pod.requests.extended.iter().filter(|(_, amount)| **amount > 0) {
            // A resource that no node has: a number past all of them, of which nothing is free.
            let number = self.sites.resources().iter().position(|other| other == name);
            class.extended.push((number.unwrap_or(usize::MAX), *amount));
        }
        class.ports = pod.host_ports.iter().filter(|port| port.port != 0).map(|port| self.port(port)).collect();
        self.spread(pod, &mut class);
        self.affinity(pod, &mut class);
        class
    }

    fn by_name(&self, pod: &Pod) -> Bits {
        let fits = |site: &usize| {
            let name = self.sites.name(*site);
            let look = &self.sites.looks()[self.sites.site(*site).shape];
            let mut shape = shape(look);
            if look.named {
                shape.labels.insert(HOSTNAME.to_owned(), name.to_owned());
            }
            let place = Place { cordoned: look.cordoned, ..Place::empty(name, &shape) };
            first_failing_static(pod, &place).is_none()
                && (pod.claims.is_empty() || first_failing_volume(pod, name, &shape, self.facts).is_none())
        };
        (0..self.sites.len()).filter(fits).collect()
    }

    fn port(&mut self, port: &'a HostPort) -> usize {
        if let Some(number) = self.ports.iter().position(|other| *other == port) {
            return number;
        }
        self.ports.push(port);
        self.ports.len() - 1
    }

    fn topology(&mut self, key: &'a str) -> usize {
        if let Some(number) = self.topology.iter().position(|other| *other == key) {
            return number;
        }
        self.topology.push(key);
        self.topology.len() - 1
    }

    fn counter(&mut self, counts: Counts<'a>, topology_key: &'a str, shapes: Option<Bits>) -> usize {
        let key = self.topology(topology_key);
        if let Some(number) = self.counter_numbers.get(&(counts.clone(), key)) {
            return *number;
        }
        let number = self.counters.len();
        self.counters.push((counts.clone(), key, shapes));
        self.counter_numbers.insert((counts, key), number);
        number
    }

    fn spread(&mut self, pod: &'a Pod, class: &mut Class) {
        for rule in &pod.spread {
            let shapes = self.domains_of(pod, rule);
            let Some(selector) = &rule.selector else { continue };
            let counts = Counts::Spread { namespace: &pod.id.namespace, selector, shapes: shapes.iter().collect() };
            let counter = self.counter(counts, &rule.topology_key, Some(shapes));
            class.spread.push(Spread {
                counter,
                max_skew: rule.max_skew,
                min_domains: rule.min_domains,
                counts_itself: selects(selector, &pod.labels),
            });
        }
    }

    /// The shapes whose nodes are domains of a spread constraint.
    fn domains_of(&self, pod: &Pod, rule: &Rule) -> Bits {
        let has_keys = |look: &Look| {
            pod.spread.iter().all(|rule| {
                if rule.topology_key == HOSTNAME { look.named } else { look.labels.contains_key(&rule.topology_key) }
            })
        };
        let mut probe = nameless(pod);
        probe.node = None;
        if !rule.honors_affinity {
            probe.node_selector.clear();
            probe.affinity = None;
        }
        if !rule.honors_taints {
            probe.tolerations =
                vec![Toleration { key: String::new(), exists: true, value: String::new(), effect: None }];
        }
        let looks = self.sites.looks();
        let counts = |number: &usize| {
            {
                // A cordon is a taint, and counts only where taints do.
                let cordoned = looks[*number].cordoned && rule.honors_taints;
                let place = Place { cordoned, ..Place::empty("", &self.shapes[*number]) };
                has_keys(&looks[*number]) && first_failing_static(&probe, &place).is_none()
            }
        };
        (0..looks.len()).filter(counts).collect()
    }

    fn affinity(&mut self, pod: &'a Pod, class: &mut Class) {
        for term in &pod.pod_affinity {
            class.near.push(self.counter(Counts::Near(&pod.pod_affinity), &term.topology_key, None));
        }
        class.near_itself = pod.pod_affinity.iter().all(|term| self.selects(term, pod.into()));
        for term in &pod.pod_anti_affinity {
            class.apart.push(self.counter(Counts::Selected(term), &term.topology_key, None));
            self.counter(Counts::Holding(term), &term.topology_key, None);
        }
    }

    /// Takes in the anti-affinity of a pod that is on a node: it keeps others away from itself.
    pub(super) fn holds(&mut self, company: Company<'a>) {
        for term in company.apart {
            self.counter(Counts::Holding(term), &term.topology_key, None);
        }
    }

    fn selects(&self, term: &PodTerm, company: Company<'_>) -> bool {
        let namespace = company.namespace;
        let of_namespace = term.namespaces.iter().any(|one| one == namespace)
            || term.namespace_selector.as_ref().is_some_and(|selector| {
                let none = BTreeMap::new();
                let labels = self.facts.namespaces.get(namespace).map_or(&none, |one| &one.labels);
                selects(selector, labels)
            });
        of_namespace && term.selector.as_ref().is_some_and(|selector| selects(selector, company.labels))
    }

    /// The counters that a pod raises where it is.
    pub(super) fn raised_by(&mut self, company: Company<'a>) -> Vec<usize> {
        let key = (company.namespace, company.labels);
        let mut raised = if let Some(known) = self.raised.get(&key) {
            known.clone()
        } else {
            let raised: Vec<usize> =
                (0..self.counters.len()).filter(|counter| self.is_counted(*counter, company)).collect();
            self.raised.insert(key, raised.clone());
            raised
        };
        if company.leaving {
            raised.retain(|counter| !matches!(self.counters[*counter].0, Counts::Spread { .. }));
        }
        for term in company.apart {
            let key = self.topology(&term.topology_key);
            raised.extend(self.counter_numbers.get(&(Counts::Holding(term), key)));
        }
        raised
    }

    fn is_counted(&self, counter: usize, company: Company<'_>) -> bool {
        match &self.counters[counter].0 {
            // An empty selector counts no pod but the one that is placed.
            Counts::Spread { namespace, selector, .. } => {
                *namespace == company.namespace
                    && !selector.requirements.is_empty()
                    && selects(selector, company.labels)
            }
            Counts::Near(terms) => terms.iter().all(|term| self.selects(term, company)),
            Counts::Selected(term) => self.selects(term, company),
            Counts::Holding(_) => false,
        }
    }

    /// True when nothing is counted: pods that are on nodes need not be looked at.
    pub(super) fn counts_nothing(&self) -> bool {
        self.counters.is_empty()
    }

    /// Ends it: each class learns what it raises and whom it must keep away from. Answers with a board without
    /// nodes.
    pub(super) fn finish(&mut self) -> Board {
        for number in 0..self.made.len() {
            let pod: Company<'a> = self.samples[number].into();
            let counted = self.raised_by(pod);
            let away: Vec<usize> = (0..self.counters.len())
                .filter(|counter| match &self.counters[*counter].0 {
                    Counts::Holding(term) => self.selects(term, pod),
                    Counts::Spread { .. } | Counts::Near(_) | Counts::Selected(_) => false,
                })
                .collect();
            self.made[number].counted = counted;
            self.made[number].apart.extend(away);
        }
        let counters = self.counters.iter().map(|(_, key, shapes)| Counter::new(*key, shapes.clone())).collect();
        let watched = (0..self.counters.len())
            .filter(|counter| matches!(self.counters[*counter].0, Counts::Spread { .. }))
            .collect();
        let domains = self.topology.iter().map(|key| domains(key, self.sites.looks())).collect();
        let clash = |one: &HostPort, two: &HostPort| {
            let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
            one.port == two.port && one.protocol == two.protocol && (any(&one.ip) || any(&two.ip) || one.ip == two.ip)
        };
        let clashes =
            |one: &&HostPort| (0..self.ports.len()).filter(|other| clash(one, self.ports[*other])).collect::<Vec<_>>();
        Board::new(domains, counters, watched, self.ports.iter().map(clashes).collect())
    }

    /// The numbers of held ports that some waiting pod's port could clash with.
    pub(super) fn take_in_ports(&mut self, held: &'a [HostPort]) -> Vec<usize> {
        if self.ports.is_empty() {
            return Vec::new();
        }
        held.iter().map(|port| self.port(port)).collect()
    }
}

fn shape(look: &Look) -> Shape {
    Shape { labels: look.labels.clone(), taints: look.taints.clone(), ..Shape::default() }
}

fn domains(key: &str, looks: &[Look]) -> Domains {
    if key == HOSTNAME {
        return Domains::ByNode((0..looks.len()).filter(|look| looks[*look].named).collect());
    }
    let mut values: BTreeMap<&str, u32> = BTreeMap::new();
    let mut numbers = Vec::with_capacity(looks.len());
    for look in looks {
        // Equal values, equal numbers; which number does not matter.
        let next = u32::try_from(values.len()).unwrap_or(NOWHERE);
        numbers.push(look.labels.get(key).map_or(NOWHERE, |value| *values.entry(value).or_insert(next)));
    }
    Domains::ByShape(numbers)
}

fn selects(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    selector
        .requirements
        .iter()
        .all(|requirement| accepts(requirement, labels.get(&requirement.key).map(String::as_str)))
}

/// True when the nodes that let this pod on differ by more than their looks.
fn names_nodes(pod: &Pod) -> bool {
    pod.node.is_some()
        || !pod.claims.is_empty()
        || pod.node_selector.contains_key(HOSTNAME)
        || pod
            .affinity
            .iter()
            .flatten()
            .any(|term| !term.fields.is_empty() || term.labels.iter().any(|requirement| requirement.key == HOSTNAME))
}

/// What of a pod says which nodes let it on.
fn alike(pod: &Pod) -> Pod {
    Pod {
        node_selector: pod.node_selector.clone(),
        affinity: pod.affinity.clone(),
        tolerations: pod.tolerations.clone(),
        ..Pod::default()
    }
}

/// The pod without what names nodes.
fn nameless(pod: &Pod) -> Pod {
    let mut pod = alike(pod);
    pod.node_selector.remove(HOSTNAME);
    for term in pod.affinity.iter_mut().flatten().filter(|term| !(term.fields.is_empty() && term.labels.is_empty())) {
        term.fields.clear();
        term.labels.retain(|requirement| requirement.key != HOSTNAME);
        if term.labels.is_empty() {
            // It asked for names only: any look will do.
            term.labels.push(Requirement { key: String::new(), operator: Operator::DoesNotExist, values: Vec::new() });
        }
    }
    pod
}
