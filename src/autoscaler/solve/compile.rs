//! Compilation: a question in the cluster's words becomes a problem in numbers, and its answer becomes words
//! again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::board::{Board, Square, Vector};
use super::classes::{Classes, Company};
use super::problem::{Answer, Kind, Limits, Lot, Problem};
use super::sites::{Numbers, Sites, Standing};
use crate::model::fact::Facts;
use crate::model::pod::Pod;
use crate::scheduling::Class;

/// A machine that might be powered on.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// Its site.
    pub site: usize,
    /// Its pool.
    pub pool: &'a str,
    /// Its rack, if it is known.
    pub rack: Option<&'a str>,
    /// What it costs to power it on, in millijoules.
    pub cost: u64,
    /// What a thousandth of a core in use costs besides.
    pub per_milli: u64,
    /// How long it takes to boot, in seconds.
    pub boot: u64,
    /// What it draws at most, in milliwatts.
    pub draws: u64,
    /// How worn it is: of equals the least worn goes first.
    pub wear: u64,
}

/// What may be powered on at most, by names. What is not here has no limit.
#[derive(Debug, Clone, Default)]
pub struct Most<'a> {
    /// Machines in all.
    pub total: Option<usize>,
    /// Machines by pool.
    pub pools: BTreeMap<&'a str, usize>,
    /// Milliwatts in all.
    pub draws: Option<u64>,
    /// Milliwatts by rack.
    pub racks: BTreeMap<&'a str, u64>,
}

impl Most<'_> {
    /// One of these machines has been powered on.
    pub fn take(&mut self, offer: &Offer<'_>) {
        self.total = self.total.map(|most| most.saturating_sub(1));
        if let Some(most) = self.pools.get_mut(offer.pool) {
            *most = most.saturating_sub(1);
        }
        self.draws = self.draws.map(|most| most.saturating_sub(offer.draws));
        if let Some(most) = offer.rack.and_then(|rack| self.racks.get_mut(rack)) {
            *most = most.saturating_sub(offer.draws);
        }
    }
}

/// A pod that waits.
#[derive(Debug, Clone)]
pub struct Waiter<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// What a second of its waiting is worth, in millijoules.
    pub wait: u64,
    /// Sites that refused it.
    pub refused: Vec<usize>,
    /// The site that it was meant for before: it stays so while it fits there.
    pub meant: Option<usize>,
    /// The scheduler makes room for it there, so that it need not fit yet.
    pub nominated: bool,
    /// The group of which all are placed or none.
    pub group: Option<&'a str>,
}

impl<'a> Waiter<'a> {
    /// A pod that nothing else is known of.
    pub fn of(pod: &'a Pod) -> Self {
        Self { pod, wait: 0, refused: Vec::new(), meant: None, nominated: false, group: None }
    }
}

/// Pods on sites that are equal to the scheduler.
#[derive(Debug, Clone)]
pub struct Kin {
    /// What they are.
    pub class: Arc<Class>,
    /// By site: how many.
    pub at: Vec<(usize, u32)>,
}

impl Kin {
    /// One pod on a site.
    pub fn of(pod: &Pod, site: usize) -> Self {
        Self { class: Arc::new(Class::of(pod)), at: vec![(site, 1)] }
    }
}

/// Where are these pods to go, and what must be powered on for them?
#[derive(Debug, Clone, Default)]
pub struct Question<'a> {
    /// The pods, in the order in which they are given places.
    pub waiting: Vec<Waiter<'a>>,
    /// Pods that are on a site, whose room is taken already.
    pub bound: Vec<Kin>,
    /// Machines that might be powered on.
    pub offers: Vec<Offer<'a>>,
    /// How many of them.
    pub most: Most<'a>,
}

/// The answer in sites and pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The sites to power on.
    pub wake: Vec<usize>,
    /// Where the waiting pods are to go, by their number.
    pub places: Vec<(usize, usize)>,
    /// Waiting pods without a place, by their number.
    pub missed: Vec<usize>,
    /// What it costs, in millijoules.
    pub cost: u64,
}

/// A question made into a problem.
pub struct Compiled {
    /// The problem.
    pub problem: Problem,
    /// By lot: the waiting pods in it.
    members: Vec<Vec<usize>>,
    /// Waiting pods that go where they were meant to: their room is taken in the problem.
    kept: Vec<(usize, usize)>,
}

impl Compiled {
    /// Makes a problem of a question. Sites that are ready or coming take pods.
    pub fn of<'a>(question: &'a Question<'a>, sites: &'a Sites, facts: &'a Facts) -> Self {
        let mut classes = Classes::new(sites, facts);
        let class_of: Vec<usize> =
            question.waiting.iter().map(|waiter| classes.class(waiter.pod, &waiter.refused)).collect();
        let bound = question.bound.iter().map(|kin| (Company::from(&*kin.class), &kin.at[..]));
        let mut board = board_of(&mut classes, sites, bound);
        let mut kept = Vec::new();
        for (index, (waiter, class)) in question.waiting.iter().zip(&class_of).enumerate() {
            let class = &classes.made[*class];
            let fits = |site: &usize| waiter.nominated || (board.takes(*site) && board.fits(class, *site));
            if let Some(site) = waiter.meant.filter(fits) {
                board.put(class, site);
                kept.push((index, site));
            }
        }
        let (lots, members) = lots(question, &class_of, &kept);
        let (kinds, limits) = kinds(question, sites, &classes);
        Self { problem: Problem { board, classes: classes.made, lots, kinds, limits }, members, kept }
    }

    /// Makes words of an answer.
    pub fn words(&self, answer: Answer) -> Found {
        let mut next = vec![0; self.members.len()];
        let mut places = self.kept.clone();
        for (lot, site) in answer.places {
            places.push((self.members[lot][next[lot]], site));
            next[lot] += 1;
        }
        places.sort_unstable();
        let mut missed: Vec<usize> =
            self.members.iter().zip(next).flat_map(|(members, next)| members[next..].iter().copied()).collect();
        missed.sort_unstable();
        Found { wake: answer.wake, places, missed, cost: answer.cost }
    }
}

impl Compiled {
    /// Of each lot the first waiting pod, if a site could host it were it open.
    pub fn that_fit(&self, site: usize) -> impl Iterator<Item = usize> {
        let problem = &self.problem;
        let fits = move |lot: &Lot| problem.board.fits(&problem.classes[lot.class], site);
        problem.lots.iter().zip(&self.members).filter(move |(lot, _)| fits(lot)).map(|(_, members)| members[0])
    }
}

/// A board with all sites, and the pods on them counted.
pub(super) fn board_of<'a>(
    classes: &mut Classes<'a>,
    sites: &'a Sites,
    bound: impl Iterator<Item = (Company<'a>, &'a [(usize, u32)])> + Clone,
) -> Board {
    for (company, _) in bound.clone() {
        classes.holds(company);
    }
    let ports: Vec<Vec<usize>> = (0..sites.len()).map(|site| classes.take_in_ports(&sites.site(site).ports)).collect();
    let mut board = lay_out(classes, sites, ports);
    if !classes.counts_nothing() {
        for (company, at) in bound {
            let counters = classes.raised_by(company);
            for (site, pods) in at.iter().filter(|_| !counters.is_empty()) {
                board.count(&counters, *site, *pods);
            }
        }
    }
    board
}

fn lay_out(classes: &mut Classes<'_>, sites: &Sites, ports: Vec<Vec<usize>>) -> Board {
    let mut board = classes.finish();
    let ready = |site: &usize| sites.site(*site).standing == Standing::Ready;
    board.prefer((0..sites.len()).filter(ready).collect());
    for (number, ports) in ports.into_iter().enumerate() {
        let site = sites.site(number);
        board.push(Square { shape: site.shape, free: site.free, extended: site.extended.clone(), ports });
    }
    for number in 0..sites.len() {
        match sites.site(number).standing {
            Standing::Ready | Standing::Coming => board.open(number),
            Standing::Present => board.appear(number),
            Standing::Off | Standing::Absent => {}
        }
    }
    board
}

fn lots(question: &Question<'_>, class_of: &[usize], kept: &[(usize, usize)]) -> (Vec<Lot>, Vec<Vec<usize>>) {
    let mut lots: Vec<Lot> = Vec::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut numbers: Numbers<(usize, Option<&str>), usize> = Numbers::default();
    let mut groups: Vec<&str> = Vec::new();
    for (index, (waiter, class)) in question.waiting.iter().zip(class_of).enumerate() {
        if kept.binary_search_by_key(&index, |(kept, _)| *kept).is_ok() {
            continue;
        }
        let number = *numbers.entry((*class, waiter.group)).or_insert_with(|| {
            let group = waiter.group.map(|group| {
                groups.iter().position(|other| *other == group).unwrap_or_else(|| {
                    groups.push(group);
                    groups.len() - 1
                })
            });
            lots.push(Lot { class: *class, pods: 0, priority: waiter.pod.priority, wait: waiter.wait, group });
            members.push(Vec::new());
            lots.len() - 1
        });
        lots[number].pods += 1;
        members[number].push(index);
    }
    (lots, members)
}

/// All by which machines that are off differ.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct KindKey<'a> {
    cost: u64,
    per_milli: u64,
    boot: u64,
    draws: u64,
    pool: &'a str,
    rack: Option<&'a str>,
    shape: usize,
    room: Vector,
    extended: Vec<u64>,
    ports: usize,
    /// By class that names nodes: whether it is let on.
    named: Vec<bool>,
}

fn kinds(question: &Question<'_>, sites: &Sites, classes: &Classes<'_>) -> (Vec<Kind>, Limits) {
    let most = &question.most;
    let mut pools: Vec<&str> = Vec::new();
    let mut racks: Vec<&str> = Vec::new();
    let naming: Vec<_> =
        classes.made.iter().filter(|class| class.only.is_some() || !class.refused.is_empty()).collect();
    let mut by_key: BTreeMap<KindKey<'_>, Vec<(u64, usize)>> = BTreeMap::new();
    for offer in &question.offers {
        let site = sites.site(offer.site);
        let lets_on = |class: &&&super::board::Class| {
            class.only.as_ref().is_none_or(|only| only.has(offer.site)) && !class.refused.has(offer.site)
        };
        let key = KindKey {
            cost: offer.cost,
            per_milli: offer.per_milli,
            boot: offer.boot,
            draws: offer.draws,
            pool: offer.pool,
            rack: offer.rack,
            shape: site.shape,
            room: site.free,
            extended: site.extended.clone(),
            ports: if site.ports.is_empty() { 0 } else { offer.site + 1 },
            named: naming.iter().map(|class| lets_on(&class)).collect(),
        };
        by_key.entry(key).or_default().push((offer.wear, offer.site));
        if !pools.contains(&offer.pool) {
            pools.push(offer.pool);
        }
        if let Some(rack) = offer.rack.filter(|rack| !racks.contains(rack)) {
            racks.push(rack);
        }
    }
    let place = |all: &[&str], one: &str| all.iter().position(|other| *other == one);
    let mut kinds: Vec<(u64, usize, Kind)> = Vec::with_capacity(by_key.len());
    for (key, mut members) in by_key {
        members.sort_unstable();
        let first = members.iter().map(|(_, site)| *site).min().unwrap_or_default();
        let kind = Kind {
            shape: key.shape,
            room: key.room,
            cost: key.cost,
            per_milli: key.per_milli,
            boot: key.boot,
            pool: place(&pools, key.pool).unwrap_or_default(),
            rack: key.rack.and_then(|rack| place(&racks, rack)),
            draws: key.draws,
            nodes: members.into_iter().map(|(_, site)| site).collect(),
        };
        kinds.push((kind.cost, first, kind));
    }
    // By what does not depend on the order in which shapes were first seen.
    kinds.sort_by_key(|(cost, first, _)| (*cost, *first));
    let limits = Limits {
        total: most.total,
        pools: pools.iter().map(|pool| most.pools.get(pool).copied()).collect(),
        draws: most.draws,
        racks: racks.iter().map(|rack| most.racks.get(rack).copied()).collect(),
    };
    (kinds.into_iter().map(|(_, _, kind)| kind).collect(), limits)
}
