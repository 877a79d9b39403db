//! The board: nodes and what is free on them, as plain numbers, and the rules by which a pod may be put on
//! one. Pods come in classes of equals, nodes in classes of equal shape; both are numbers here. Putting a
//! pod down and taking it up again costs a handful of additions, so that a search can try.

use super::bits::Bits;
use super::counter::{Counter, NOWHERE};

/// CPU, memory, ephemeral storage, pods.
pub type Vector = [u64; 4];

/// Nodes are looked at in blocks of so many; a block that has no room in any of its nodes is passed over.
const BLOCK: usize = 32;

/// A topology spread constraint of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Counts the pods that it is about.
    pub counter: usize,
    /// By how much a domain may outnumber the emptiest.
    pub max_skew: u32,
    /// With fewer domains than this, the emptiest counts as empty.
    pub min_domains: u32,
    /// The class is counted itself.
    pub counts_itself: bool,
}

/// Pods that are equal to the scheduler.
#[derive(Debug, Clone, Default)]
pub struct Class {
    /// What one asks for.
    pub want: Vector,
    /// What one asks for of extended resources, by their number.
    pub extended: Vec<(usize, u64)>,
    /// The shapes that let it on.
    pub shapes: Bits,
    /// The only nodes that let it on, where that depends on the node's name.
    pub only: Option<Bits>,
    /// Nodes that refused it.
    pub refused: Bits,
    /// Its host ports, by number.
    pub ports: Vec<usize>,
    /// Counters that one more of it raises.
    pub counted: Vec<usize>,
    /// Its spread constraints.
    pub spread: Vec<Spread>,
    /// Its affinity: counters that must not be zero in the node's domain.
    pub near: Vec<usize>,
    /// It is itself what its affinity asks for: the first may go anywhere.
    pub near_itself: bool,
    /// Counters that must be zero in the node's domain: its anti-affinity, and others' against it.
    pub apart: Vec<usize>,
}

impl Class {
    /// True when a node that had no room for one will have none later either.
    pub fn is_monotone(&self) -> bool {
        self.spread.is_empty() && self.near.is_empty()
    }
}

/// A node as numbers.
#[derive(Debug, Clone, Default)]
pub struct Square {
    /// Its class of shape.
    pub shape: usize,
    /// What is free.
    pub free: Vector,
    /// What is free of extended resources, by their number.
    pub extended: Vec<u64>,
    /// Host ports held, by number.
    pub ports: Vec<usize>,
}

/// The domains of one topology key.
#[derive(Debug, Clone)]
pub enum Domains {
    /// By shape: nodes of one shape have equal labels.
    ByShape(Vec<u32>),
    /// Each node is a domain of its own, if its shape has the label at all.
    ByNode(Bits),
}

/// Nodes, and the pods that are put on them.
#[derive(Debug, Clone, Default)]
pub struct Board {
    free: Vec<Vector>,
    shapes: Vec<u32>,
    /// By extended resource and node.
    extended: Vec<Vec<u64>>,
    ports: Vec<Vec<usize>>,
    /// By topology key.
    domains: Vec<Domains>,
    /// Ports that clash, by port.
    clashes: Vec<Vec<usize>>,
    /// Counters of pods by domain.
    pub counters: Vec<Counter>,
    takes: Bits,
    /// Nodes that are taken before others.
    preferred: Bits,
    present: Bits,
    blocks: Vec<Vector>,
    /// Counters that nodes are domains of.
    watched: Vec<usize>,
}

#[inline]
fn covers(free: &Vector, want: &Vector) -> bool {
    free[0] >= want[0] && free[1] >= want[1] && free[2] >= want[2] && free[3] >= want[3]
}

impl Board {
    /// A board without nodes. `watched` are the counters of spread constraints, which ask what domains there are;
    /// `clashes` has, for each host port, those that it clashes with.
    pub fn new(domains: Vec<Domains>, counters: Vec<Counter>, watched: Vec<usize>, clashes: Vec<Vec<usize>>) -> Self {
        Self { domains, clashes, counters, watched, ..Self::default() }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// True without nodes.
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// Adds a node, which is neither there nor takes pods yet.
    pub fn push(&mut self, square: Square) -> usize {
        let node = self.len();
        self.free.push(square.free);
        self.shapes.push(u32::try_from(square.shape).unwrap_or(u32::MAX));
        for (number, amount) in square.extended.into_iter().enumerate() {
            if self.extended.len() <= number {
                self.extended.push(vec![0; node]);
            }
            self.extended[number].push(amount);
        }
        for column in self.extended.iter_mut().filter(|column| column.len() == node) {
            column.push(0);
        }
        self.ports.push(square.ports);
        if self.blocks.len() * BLOCK <= node {
            self.blocks.push([0; 4]);
        }
        node
    }

    /// The same rules with only the first nodes, and nothing counted.
    #[must_use]
    pub fn emptied(&self, nodes: usize) -> Self {
        let counters = self.counters.iter().map(|one| Counter::new(one.key, one.shapes.clone())).collect();
        let mut board = Self::new(self.domains.clone(), counters, self.watched.clone(), self.clashes.clone());
        for node in 0..nodes {
            board.push(Square { shape: self.shape(node), free: self.free[node], ..Square::default() });
        }
        board
    }

    /// Takes away the node that was pushed last, which is not open.
    pub fn pop(&mut self) {
        self.free.pop();
        self.shapes.pop();
        self.ports.pop();
        for column in &mut self.extended {
            column.pop();
        }
        self.blocks.truncate(self.len().div_ceil(BLOCK));
    }

    /// What is free on a node.
    #[inline]
    pub fn free(&self, node: usize) -> &Vector {
        &self.free[node]
    }

    /// What is free of an extended resource.
    #[inline]
    pub fn free_extended(&self, node: usize, number: usize) -> u64 {
        self.extended.get(number).map_or(0, |column| column[node])
    }

    /// A node's class of shape.
    #[inline]
    pub fn shape(&self, node: usize) -> usize {
        self.shapes[node] as usize
    }

    /// A node's domain.
    #[inline]
    pub fn domain(&self, key: usize, node: usize) -> u32 {
        match &self.domains[key] {
            Domains::ByShape(domains) => domains.get(self.shape(node)).copied().unwrap_or(NOWHERE),
            Domains::ByNode(shapes) if shapes.has(self.shape(node)) => u32::try_from(node).unwrap_or(NOWHERE),
            Domains::ByNode(_) => NOWHERE,
        }
    }

    /// True when the node takes pods.
    pub fn takes(&self, node: usize) -> bool {
        self.takes.has(node)
    }

    /// Its Node object is there: its domains are.
    pub fn appear(&mut self, node: usize) {
        if self.present.has(node) {
            return;
        }
        self.present.set(node);
        for index in 0..self.watched.len() {
            let counter = self.watched[index];
            if self.counters[counter].counts_shape(self.shape(node)) {
                let domain = self.domain(self.counters[counter].key, node);
                self.counters[counter].node_comes(domain);
            }
        }
    }

    fn vanish(&mut self, node: usize) {
        self.present.clear(node);
        for index in 0..self.watched.len() {
            let counter = self.watched[index];
            if self.counters[counter].counts_shape(self.shape(node)) {
                let domain = self.domain(self.counters[counter].key, node);
                self.counters[counter].node_goes(domain);
            }
        }
    }

    /// It takes pods from now on.
    pub fn open(&mut self, node: usize) {
        self.appear(node);
        self.takes.set(node);
        let block = &mut self.blocks[node / BLOCK];
        for (most, free) in block.iter_mut().zip(&self.free[node]) {
            *most = (*most).max(*free);
        }
    }

    /// It takes no pods any more, but is there.
    pub fn shut(&mut self, node: usize) {
        self.takes.clear(node);
        self.measure(node / BLOCK);
    }

    /// It is neither there nor takes pods: nothing may be on it.
    pub fn close(&mut self, node: usize) {
        self.shut(node);
        if self.present.has(node) {
            self.vanish(node);
        }
    }

    fn measure(&mut self, block: usize) {
        let mut most = [0; 4];
        let end = ((block + 1) * BLOCK).min(self.len());
        for node in block * BLOCK..end {
            if self.takes.has(node) {
                for (most, free) in most.iter_mut().zip(&self.free[node]) {
                    *most = (*most).max(*free);
                }
            }
        }
        self.blocks[block] = most;
    }

    /// Gives a node more (or less) room, as when it becomes another shape.
    pub fn resize(&mut self, node: usize, free: Vector) {
        self.free[node] = free;
        self.measure(node / BLOCK);
    }

    /// Counts pods that are on a node already and whose room is not counted as free.
    pub fn count(&mut self, counters: &[usize], node: usize, pods: u32) {
        for counter in counters {
            if self.counters[*counter].counts_shape(self.shape(node)) {
                let domain = self.domain(self.counters[*counter].key, node);
                self.counters[*counter].add(domain, pods);
            }
        }
    }

    /// True when the node has room, whatever else keeps the class off it.
    #[inline]
    pub fn has_room(&self, class: &Class, node: usize) -> bool {
        covers(&self.free[node], &class.want)
            && class.extended.iter().all(|(number, amount)| self.free_extended(node, *number) >= *amount)
    }

    /// True when the node's shape and name let the class on.
    #[inline]
    pub fn lets_on(&self, class: &Class, node: usize) -> bool {
        class.shapes.has(self.shape(node))
            && class.only.as_ref().is_none_or(|only| only.has(node))
            && !class.refused.has(node)
    }

    /// True when one of the class may be put on the node, which is taken as there and open.
    pub fn fits(&self, class: &Class, node: usize) -> bool {
        self.has_room(class, node) && self.lets_on(class, node) && self.company(class, node)
    }

    /// The rules that depend on which other pods are where.
    #[inline]
    pub fn company(&self, class: &Class, node: usize) -> bool {
        if class.spread.iter().any(|spread| !self.spreads(spread, node)) {
            return false;
        }
        let clear = |counter: &usize| {
            let counter = &self.counters[*counter];
            let domain = self.domain(counter.key, node);
            domain == NOWHERE || counter.at(domain) == 0
        };
        if !class.apart.iter().all(clear) || (!class.near.is_empty() && !self.is_near(class, node)) {
            return false;
        }
        let held = &self.ports[node];
        class.ports.is_empty()
            || held.is_empty()
            || class.ports.iter().all(|port| !held.iter().any(|other| self.clashes[*port].contains(other)))
    }

    #[inline]
    fn spreads(&self, spread: &Spread, node: usize) -> bool {
        let counter = &self.counters[spread.counter];
        let domain = self.domain(counter.key, node);
        if domain == NOWHERE {
            return false;
        }
        let there = u64::from(counter.at(domain)) + u64::from(spread.counts_itself);
        let least = u64::from(counter.least_with(domain, spread.min_domains));
        there <= least + u64::from(spread.max_skew)
    }

    fn is_near(&self, class: &Class, node: usize) -> bool {
        let mut beside = true;
        let mut nobody = true;
        for counter in &class.near {
            let counter = &self.counters[*counter];
            let domain = self.domain(counter.key, node);
            if domain == NOWHERE {
                return false;
            }
            beside &= counter.at(domain) > 0;
            nobody &= counter.total() == 0;
        }
        beside || (nobody && class.near_itself)
    }

    /// Nodes that are to be taken before others.
    pub fn prefer(&mut self, nodes: Bits) {
        self.preferred = nodes;
    }

    /// The first node from `from` on that takes pods and that one of the class may be put on: one that is
    /// preferred, if there is any.
    pub fn first_fit(&self, class: &Class, from: usize) -> Option<usize> {
        let preferred = if self.preferred.is_empty() { None } else { self.first_of(class, from, &self.preferred) };
        preferred.or_else(|| self.first_of(class, from, &self.takes))
    }

    fn first_of(&self, class: &Class, from: usize, among: &Bits) -> Option<usize> {
        let mut node = from;
        while node < self.len() {
            let block = node / BLOCK;
            let end = ((block + 1) * BLOCK).min(self.len());
            if covers(&self.blocks[block], &class.want) {
                while node < end {
                    let open = among.has(node) && self.takes.has(node);
                    if open && covers(&self.free[node], &class.want) && self.fits(class, node) {
                        return Some(node);
                    }
                    node += 1;
                }
            }
            node = end;
        }
        None
    }

    /// Puts one of the class on a node.
    pub fn put(&mut self, class: &Class, node: usize) {
        let block = node / BLOCK;
        let mut was_most = false;
        for (index, want) in class.want.iter().enumerate() {
            was_most |= *want > 0 && self.free[node][index] >= self.blocks[block][index];
            self.free[node][index] = self.free[node][index].saturating_sub(*want);
        }
        for (number, amount) in &class.extended {
            if let Some(column) = self.extended.get_mut(*number) {
                column[node] = column[node].saturating_sub(*amount);
            }
        }
        self.ports[node].extend(&class.ports);
        for counter in &class.counted {
            if self.counters[*counter].counts_shape(self.shape(node)) {
                let domain = self.domain(self.counters[*counter].key, node);
                self.counters[*counter].add(domain, 1);
            }
        }
        if was_most {
            self.measure(block);
        }
    }

    /// Takes one of the class off a node that it was put on.
    pub fn take(&mut self, class: &Class, node: usize) {
        for (index, want) in class.want.iter().enumerate() {
            self.free[node][index] += *want;
        }
        for (number, amount) in &class.extended {
            if let Some(column) = self.extended.get_mut(*number) {
                column[node] += *amount;
            }
        }
        for port in &class.ports {
            if let Some(held) = self.ports[node].iter().position(|held| held == port) {
                self.ports[node].swap_remove(held);
            }
        }
        for counter in &class.counted {
            if self.counters[*counter].counts_shape(self.shape(node)) {
                let domain = self.domain(self.counters[*counter].key, node);
                self.counters[*counter].remove(domain, 1);
            }
        }
        if self.takes.has(node) {
            let block = &mut self.blocks[node / BLOCK];
            for (most, free) in block.iter_mut().zip(&self.free[node]) {
                *most = (*most).max(*free);
            }
        }
    }
}
