//! Shapes: the problem of a cloud, where any number of machines of some shapes may be had. It is not ours, but
//! it is what other autoscalers are measured by. Pods go where there is room; else a machine of the smallest
//! shape grows, or another is opened, whichever costs less.

use super::board::{Board, Class, Square, Vector};
use super::problem::Lot;

/// A shape of which any number may be had.
#[derive(Debug, Clone, Copy)]
pub struct Offered {
    /// What pods may use of it.
    pub room: Vector,
    /// What it costs.
    pub price: u64,
}

/// The machines that are opened.
#[derive(Debug, Clone, Default)]
pub struct Opened {
    /// Their nodes on the board, with the shape of each by its number.
    pub machines: Vec<(usize, usize)>,
    /// Lot and node of each pod that has a place.
    pub places: Vec<(usize, usize)>,
    /// Pods without a place, by lot.
    pub missed: Vec<u32>,
    /// What all of them cost.
    pub cost: u64,
}

/// How many machines are looked at for the one that grows most cheaply.
const LOOKED_AT: usize = 24;

/// Opens machines for all lots. `offered` is sorted by price; `looks` are the looks that a machine may have.
pub fn open(board: &mut Board, classes: &[Class], lots: &[Lot], offered: &[Offered], looks: &[usize]) -> Opened {
    let mut opened = Opened { missed: vec![0; lots.len()], ..Opened::default() };
    let first = board.len();
    let mut turn = 0;
    for (number, lot) in lots.iter().enumerate() {
        let class = &classes[lot.class];
        let mut cursor = first;
        for done in 0..lot.pods {
            let node = board
                .first_fit(class, cursor)
                .or_else(|| grow(board, &mut opened, class, offered, &mut turn))
                .or_else(|| another(board, &mut opened, class, offered, looks));
            let Some(node) = node else {
                opened.missed[number] = lot.pods - done;
                break;
            };
            board.put(class, node);
            opened.places.push((number, node));
            cursor = if class.is_monotone() && node >= cursor { node } else { first };
        }
    }
    opened
}

fn covering(offered: &[Offered], from: usize, used: &Vector) -> Option<usize> {
    let covers = |shape: &Offered| shape.room.iter().zip(used).all(|(room, used)| room >= used);
    offered[from..].iter().position(covers).map(|at| from + at)
}

/// The machine, of some that are looked at, that takes one more most cheaply by becoming a larger shape.
fn grow(board: &mut Board, opened: &mut Opened, class: &Class, offered: &[Offered], turn: &mut usize) -> Option<usize> {
    let count = opened.machines.len();
    let mut best: Option<(u64, u64, usize, usize)> = None;
    let mut looked_at = 0;
    for step in 0..count.min(LOOKED_AT * 8) {
        let at = (*turn + step) % count;
        let (node, shape) = opened.machines[at];
        if !board.lets_on(class, node) || !board.company(class, node) {
            continue;
        }
        looked_at += 1;
        let mut used = class.want;
        for (index, used) in used.iter_mut().enumerate() {
            *used += offered[shape].room[index] - board.free(node)[index];
        }
        if let Some(larger) = covering(offered, shape, &used) {
            let more = offered[larger].price - offered[shape].price;
            let spare = offered[larger].room[0] - used[0];
            if best.is_none_or(|best| (more, spare) < (best.0, best.1)) {
                best = Some((more, spare, at, larger));
            }
        }
        if looked_at == LOOKED_AT {
            break;
        }
    }
    let (more, _, at, larger) = best?;
    // The next one to grow is another: room that is left over is then of many sizes.
    *turn = (at + 1) % count;
    let (node, shape) = opened.machines[at];
    let mut free = *board.free(node);
    for (index, free) in free.iter_mut().enumerate() {
        *free += offered[larger].room[index] - offered[shape].room[index];
    }
    board.resize(node, free);
    opened.machines[at].1 = larger;
    opened.cost += more;
    Some(node)
}

fn another(
    board: &mut Board,
    opened: &mut Opened,
    class: &Class,
    offered: &[Offered],
    looks: &[usize],
) -> Option<usize> {
    let shape = covering(offered, 0, &class.want)?;
    // Looks take turns, so that domains stay even.
    let count = opened.machines.len();
    for turn in 0..looks.len() {
        let look = looks[(count + turn) % looks.len()];
        let node = board.push(Square { shape: look, free: offered[shape].room, ..Square::default() });
        if board.fits(class, node) {
            board.open(node);
            opened.machines.push((node, shape));
            opened.cost += offered[shape].price;
            return Some(node);
        }
        board.pop();
    }
    None
}
