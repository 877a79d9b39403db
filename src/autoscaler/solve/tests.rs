//! The solver against an exact one, and its placements against the scheduler's rules written once more.

use super::bits::Bits;
use super::board::{Board, Class, Square};
use super::problem::{Kind, Limits, Lot, Problem};
use super::{Answer, first_fit_decreasing, solve, without_search};

mod drained;
mod exact;
mod rules;

/// SplitMix64: the instances need only differ, and be the same tomorrow.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// A few pods and a few machines that differ in every way that has a price.
fn instance(seed: u64) -> Problem {
    let mut rng = Rng(seed);
    let shapes = 1 + usize::try_from(rng.below(3)).unwrap();
    let (mut kinds, mut board) = (Vec::new(), Board::default());
    for shape in 0..shapes {
        let cores = 1 + rng.below(8);
        let room = [cores * 1000, (1 + rng.below(4)) * cores * 512, 1000, 4 + rng.below(12)];
        let (idle, boot) = (20 + 10 * cores + rng.below(60), 30 + rng.below(200));
        let nodes = (0..=rng.below(3)).map(|_| board.push(Square { shape, free: room, ..Square::default() })).collect();
        kinds.push(Kind {
            shape,
            room,
            cost: idle * 3_600_000 + boot * idle * 2000,
            per_milli: (5 + rng.below(10)) * 3600,
            boot,
            pool: shape % 2,
            rack: None,
            draws: idle * 3000,
            nodes,
        });
    }
    let mut classes: Vec<Class> = (0..=rng.below(5))
        .map(|_| {
            let lets_on: Bits = (0..shapes).filter(|_| rng.below(4) > 0).collect();
            Class {
                want: [100 * (1 + rng.below(30)), 64 * (1 + rng.below(30)), 0, 1],
                shapes: if lets_on.is_empty() { Bits::all(1) } else { lets_on },
                ..Class::default()
            }
        })
        .collect();
    classes.sort_by_key(|class| std::cmp::Reverse(class.want[0] + class.want[1]));
    let lots = (0..classes.len())
        .map(|class| Lot { class, pods: 1 + u32::try_from(rng.below(3)).unwrap(), wait: 20_000, ..Lot::default() })
        .collect();
    let total = (rng.below(3) == 0).then(|| 1 + usize::try_from(rng.below(3)).unwrap());
    Problem { board, classes, lots, kinds, limits: Limits { total, pools: vec![None; 2], ..Limits::default() } }
}

fn count(problem: &Problem) -> u32 {
    problem.lots.iter().map(|lot| lot.pods).sum()
}

/// The most pods that can be placed, and the least that costs: every subset of pods on every machine.
fn exact(problem: &Problem) -> (u32, u64) {
    let pods: Vec<usize> = problem.lots.iter().enumerate().flat_map(|(lot, of)| vec![lot; of.pods as usize]).collect();
    let full = 1usize << pods.len();
    let total = problem.limits.total.unwrap_or(usize::MAX).min(problem.board.len());
    // By machines opened and pods placed: the least cost.
    let mut best = vec![vec![None::<u64>; full]; total + 1];
    best[0][0] = Some(0);
    for kind in &problem.kinds {
        let mut stay = vec![None; full];
        stay[0] = Some((0u64, [0u64; 4]));
        for set in 1..full {
            let lot = &problem.lots[pods[set.trailing_zeros() as usize]];
            let class = &problem.classes[lot.class];
            let rest: Option<(u64, [u64; 4])> = stay[set & (set - 1)];
            stay[set] = rest.filter(|_| class.shapes.has(kind.shape)).and_then(|(cost, mut used)| {
                for (used, want) in used.iter_mut().zip(&class.want) {
                    *used += want;
                }
                let fits = used.iter().zip(&kind.room).all(|(used, room)| used <= room);
                let mine = class.want[0] * kind.per_milli + lot.wait * kind.boot;
                fits.then_some((cost + mine, used))
            });
        }
        for _ in &kind.nodes {
            for machines in (0..total).rev() {
                for placed in 0..full {
                    let Some(cost) = best[machines][placed] else { continue };
                    let free = (full - 1) & !placed;
                    let mut set = free;
                    while set > 0 {
                        if let Some((stay, _)) = stay[set] {
                            let with = cost + kind.cost + stay;
                            let known = &mut best[machines + 1][placed | set];
                            *known = Some(known.map_or(with, |known| known.min(with)));
                        }
                        set = (set - 1) & free;
                    }
                }
            }
        }
    }
    let all = best.iter().flat_map(|row| row.iter().enumerate());
    let ends = all.filter_map(|(placed, cost)| Some((std::cmp::Reverse(placed.count_ones()), (*cost)?)));
    ends.min().map(|(placed, cost)| (placed.0, cost)).unwrap()
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "parts in hundredths to be printed")]
fn as_cheap_as_an_exact_solver_and_never_worse_than_first_fit_decreasing() {
    let (mut instances, mut sums, mut worst, mut short) = (0u32, [0.0; 3], [0.0f64; 3], [0u32; 3]);
    for seed in 0..2600 {
        let problem = instance(seed * 7919 + 1);
        if count(&problem) > 7 {
            continue;
        }
        let (most, least) = exact(&problem);
        if most == 0 {
            continue;
        }
        instances += 1;
        let answers: [Answer; 3] = [solve(&problem), without_search(&problem), first_fit_decreasing(&problem)];
        let placed = answers.each_ref().map(|answer| count(&problem) - answer.missed.iter().sum::<u32>());
        assert!(
            placed[0] <= most && (placed[0] < most || answers[0].cost >= least),
            "the exact solver is wrong: {seed}"
        );
        assert_eq!(placed[0], most, "{seed}: what can be placed is placed");
        for (which, answer) in answers.iter().enumerate() {
            if placed[which] < most {
                short[which] += 1;
                continue;
            }
            let over = (answer.cost - least) as f64 * 100.0 / least as f64;
            sums[which] += over;
            worst[which] = worst[which].max(over);
        }
        assert!(answers[0].cost <= answers[2].cost || placed[2] < placed[0], "{seed}: worse than first-fit decreasing");
        assert!(answers[1].cost <= answers[2].cost || placed[2] < placed[1], "{seed}: without its search");
    }
    let mean = |which: usize| sums[which] / f64::from(instances - short[which]);
    for (which, name) in ["the solver", "without its search", "first-fit decreasing"].iter().enumerate() {
        println!(
            "{name}: {instances} instances, above the exact cost by {:.2} % in the mean and {:.2} % at worst, fewer pods placed in {}",
            mean(which),
            worst[which],
            short[which]
        );
    }
    assert!(instances > 1500 && mean(0) <= 2.0 && worst[0] <= 10.0);
    assert!(mean(2) > 2.0, "instances that first-fit decreasing solves prove nothing");
}

fn kind(board: &mut Board, shape: usize, cost: u64, nodes: usize) -> Kind {
    let room = [1000, 1000, 0, 10];
    let nodes = (0..nodes).map(|_| board.push(Square { shape, free: room, ..Square::default() })).collect();
    Kind { shape, room, cost, draws: cost, nodes, ..Kind::default() }
}

fn class(cpu: u64) -> Class {
    Class { want: [cpu, 1, 0, 1], shapes: Bits::all(8), ..Class::default() }
}

#[test]
fn important_pods_come_first_and_groups_are_whole() {
    let mut board = Board::default();
    let kinds = vec![kind(&mut board, 0, 10, 2)];
    let lot = |class, pods, priority, group| Lot { class, pods, priority, wait: 0, group };
    let limits = Limits { total: Some(1), pools: vec![None], ..Limits::default() };
    let classes = vec![class(600), class(300)];
    let lots = vec![lot(0, 1, 5, None), lot(1, 3, 0, None)];
    let mut problem = Problem { board, classes, lots, kinds, limits };
    assert_eq!(solve(&problem).missed, [0, 2], "one important pod before many others");
    problem.lots = vec![lot(0, 2, 0, Some(0)), lot(1, 3, 0, None)];
    assert_eq!(solve(&problem).missed, [2, 0], "half a group is none, and holds nobody up");
    problem.limits.total = None;
    assert_eq!((solve(&problem).missed, solve(&problem).wake.len()), (vec![0, 1], 2));
}

#[test]
fn limits_of_pools_watts_and_racks_hold() {
    let mut board = Board::default();
    let mut kinds = vec![kind(&mut board, 0, 10, 3), kind(&mut board, 1, 30, 3)];
    kinds[1].pool = 1;
    kinds[1].rack = Some(0);
    let lots = vec![Lot { class: 0, pods: 6, ..Lot::default() }];
    let mut problem = Problem {
        board,
        classes: vec![class(1000)],
        lots,
        kinds,
        limits: Limits { pools: vec![None; 2], ..Limits::default() },
    };
    let woken = |problem: &Problem| {
        let wake = solve(problem).wake;
        (wake.iter().filter(|node| **node < 3).count(), wake.iter().filter(|node| **node >= 3).count())
    };
    assert_eq!(woken(&problem), (3, 3));
    problem.limits.pools = vec![Some(1), None];
    assert_eq!(woken(&problem), (1, 3));
    problem.limits.draws = Some(75);
    assert_eq!(woken(&problem), (1, 2), "10 and twice 30");
    problem.limits.racks = vec![Some(40)];
    assert_eq!(woken(&problem), (1, 1));
}
