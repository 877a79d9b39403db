//! A trial: a problem half solved. Machines are opened and closed, pods put down and taken up again, and
//! what it has cost so far is always known.

use super::board::Board;
use super::problem::{Answer, Kind, Problem};

/// No kind: a node that was there before.
pub(super) const THERE: u32 = u32::MAX;

/// A problem half solved.
#[derive(Debug, Clone)]
pub(super) struct Trial<'a> {
    pub(super) problem: &'a Problem,
    pub(super) board: Board,
    /// By node: its kind.
    kind_of: Vec<u32>,
    /// By node: its place among those of its kind.
    rank: Vec<u32>,
    /// By node: the lots of the pods on it.
    pub(super) on: Vec<Vec<u32>>,
    /// By kind: the nodes that are still off, the next one last.
    off: Vec<Vec<usize>>,
    /// The nodes that were opened, in order.
    pub(super) open: Vec<usize>,
    /// By lot: the pods without a place yet.
    pub(super) left: Vec<u32>,
    /// What it costs so far.
    pub(super) cost: u64,
    pools: Vec<usize>,
    racks: Vec<u64>,
    draws: u64,
}

/// What was changed, so that it can be taken back: lot, node, and whether it was put there.
pub(super) type Log = Vec<(u32, usize, bool)>;

impl<'a> Trial<'a> {
    pub(super) fn new(problem: &'a Problem) -> Self {
        let mut kind_of = vec![THERE; problem.board.len()];
        let mut rank = vec![0; problem.board.len()];
        for (number, kind) in problem.kinds.iter().enumerate() {
            for (place, node) in kind.nodes.iter().enumerate() {
                kind_of[*node] = u32::try_from(number).unwrap_or(THERE);
                rank[*node] = u32::try_from(place).unwrap_or(u32::MAX);
            }
        }
        Self {
            problem,
            board: problem.board.clone(),
            kind_of,
            rank,
            on: vec![Vec::new(); problem.board.len()],
            off: problem.kinds.iter().map(|kind| kind.nodes.iter().rev().copied().collect()).collect(),
            open: Vec::new(),
            left: problem.lots.iter().map(|lot| lot.pods).collect(),
            cost: 0,
            pools: vec![0; problem.limits.pools.len()],
            racks: vec![0; problem.limits.racks.len()],
            draws: 0,
        }
    }

    /// The kind of a node that was opened.
    pub(super) fn kind(&self, node: usize) -> Option<usize> {
        let kind = self.kind_of[node];
        (kind != THERE).then_some(kind as usize)
    }

    /// The machine of a kind that would be opened next, if the limits allow one more.
    pub(super) fn next_of(&self, kind: usize) -> Option<usize> {
        let node = *self.off[kind].last()?;
        self.allows(&self.problem.kinds[kind]).then_some(node)
    }

    fn allows(&self, kind: &Kind) -> bool {
        let limits = &self.problem.limits;
        let watts = |most: Option<u64>, now: u64| most.is_none_or(|most| now.saturating_add(kind.draws) <= most);
        limits.total.is_none_or(|most| self.open.len() < most)
            && limits.pools.get(kind.pool).copied().flatten().is_none_or(|most| self.pools[kind.pool] < most)
            && watts(limits.draws, self.draws)
            && kind.rack.is_none_or(|rack| {
                let now = self.racks.get(rack).copied().unwrap_or_default();
                watts(limits.racks.get(rack).copied().flatten(), now)
            })
    }

    /// Opens the next machine of a kind.
    pub(super) fn wake(&mut self, kind: usize) -> Option<usize> {
        let node = self.off[kind].pop()?;
        let kind = &self.problem.kinds[kind];
        self.cost = self.cost.saturating_add(kind.cost);
        self.draws = self.draws.saturating_add(kind.draws);
        if let Some(count) = self.pools.get_mut(kind.pool) {
            *count += 1;
        }
        if let Some(draws) = kind.rack.and_then(|rack| self.racks.get_mut(rack)) {
            *draws = draws.saturating_add(kind.draws);
        }
        self.open.push(node);
        self.board.open(node);
        Some(node)
    }

    /// Closes a machine that nothing is on.
    pub(super) fn let_sleep(&mut self, node: usize) {
        let Some(number) = self.kind(node) else { return };
        let kind = &self.problem.kinds[number];
        self.cost = self.cost.saturating_sub(kind.cost);
        self.draws = self.draws.saturating_sub(kind.draws);
        if let Some(count) = self.pools.get_mut(kind.pool) {
            *count = count.saturating_sub(1);
        }
        if let Some(draws) = kind.rack.and_then(|rack| self.racks.get_mut(rack)) {
            *draws = draws.saturating_sub(kind.draws);
        }
        self.open.retain(|other| *other != node);
        // The one to take first stays last in the list, whatever was opened and closed meanwhile.
        let at = self.off[number].partition_point(|other| self.rank[*other] > self.rank[node]);
        self.off[number].insert(at, node);
        self.board.close(node);
    }

    /// Opens this machine, which was closed a moment ago.
    pub(super) fn wake_again(&mut self, kind: usize, node: usize) {
        if let Some(at) = self.off[kind].iter().rposition(|other| *other == node) {
            self.off[kind].remove(at);
            self.off[kind].push(node);
            self.wake(kind);
        }
    }

    /// Opens this machine.
    pub(super) fn wake_this(&mut self, node: usize) {
        if let Some(kind) = self.kind(node) {
            self.wake_again(kind, node);
        }
    }

    /// Puts a pod of a lot on a node.
    pub(super) fn put(&mut self, lot: usize, node: usize) {
        let of = &self.problem.lots[lot];
        self.board.put(&self.problem.classes[of.class], node);
        self.on[node].push(u32::try_from(lot).unwrap_or(u32::MAX));
        self.left[lot] -= 1;
        if let Some(kind) = self.kind(node) {
            self.cost = self.cost.saturating_add(self.problem.stay(of, &self.problem.kinds[kind]));
        }
    }

    /// Takes a pod of a lot off a node.
    pub(super) fn take(&mut self, lot: usize, node: usize) {
        let of = &self.problem.lots[lot];
        self.board.take(&self.problem.classes[of.class], node);
        if let Some(at) = self.on[node].iter().rposition(|other| *other as usize == lot) {
            self.on[node].remove(at);
        }
        self.left[lot] += 1;
        if let Some(kind) = self.kind(node) {
            self.cost = self.cost.saturating_sub(self.problem.stay(of, &self.problem.kinds[kind]));
        }
    }

    /// The first node with a place for a pod of this lot.
    pub(super) fn first_fit(&self, lot: usize, from: usize) -> Option<usize> {
        self.board.first_fit(&self.problem.classes[self.problem.lots[lot].class], from)
    }

    /// True when a pod of the lot may go on this node, were it open.
    pub(super) fn fits(&self, lot: usize, node: usize) -> bool {
        self.board.fits(&self.problem.classes[self.problem.lots[lot].class], node)
    }

    /// How good it is: what it misses, then what it costs.
    pub(super) fn worth(&self) -> (Vec<u32>, u64) {
        (self.problem.missed(&self.left), self.cost)
    }

    /// The answer, without machines that nothing is on.
    pub(super) fn answer(mut self) -> Answer {
        for node in self.open.clone() {
            if self.on[node].is_empty() {
                self.let_sleep(node);
            }
        }
        self.answer_with_all()
    }

    /// The answer with all machines that are open.
    pub(super) fn answer_with_all(self) -> Answer {
        let mut places: Vec<(usize, usize)> = Vec::new();
        for (node, lots) in self.on.iter().enumerate() {
            places.extend(lots.iter().map(|lot| (*lot as usize, node)));
        }
        places.sort_unstable();
        Answer { wake: self.open, places, missed: self.left, cost: self.cost }
    }
}
