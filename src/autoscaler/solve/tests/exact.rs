//! The solver against a library's: larger instances, as an integer program that microlp solves; and small ones, by which
//! our own exact solver is proven.

use microlp::{ComparisonOp, OptimizationDirection, Problem as Program, Variable};

use super::super::problem::Problem;
use super::super::{first_fit_decreasing, solve};
use super::{count, exact, instance};

/// The variables: is a machine open, and is a pod on it?
struct Variables {
    open: Vec<(u64, Variable)>,
    on: Vec<(u64, Variable)>,
}

/// Which machines are open and which pods are on them, by all that the instances have.
fn program(
    problem: &Problem,
    direction: OptimizationDirection,
    price: impl Fn(bool, u64) -> f64,
) -> (Program, Variables) {
    let mut program = Program::new(direction);
    let mut all = Variables { open: Vec::new(), on: Vec::new() };
    let pods: Vec<usize> = problem.lots.iter().enumerate().flat_map(|(lot, of)| vec![lot; of.pods as usize]).collect();
    let mut places: Vec<Vec<Variable>> = vec![Vec::new(); pods.len()];
    for kind in &problem.kinds {
        let mut before: Option<Variable> = None;
        for _ in &kind.nodes {
            let open = program.add_binary_var(price(true, kind.cost));
            // Of equal machines the first are opened first.
            if let Some(before) = before.replace(open) {
                program.add_constraint([(open, 1.0), (before, -1.0)], ComparisonOp::Le, 0.0);
            }
            all.open.push((kind.cost, open));
            let mut used: [Vec<(Variable, f64)>; 4] = Default::default();
            for (pod, lot) in pods.iter().enumerate() {
                let (lot, class) = (&problem.lots[*lot], &problem.classes[problem.lots[*lot].class]);
                if !class.shapes.has(kind.shape) {
                    continue;
                }
                let stay = problem.stay(lot, kind);
                let on = program.add_binary_var(price(false, stay));
                program.add_constraint([(on, 1.0), (open, -1.0)], ComparisonOp::Le, 0.0);
                all.on.push((stay, on));
                places[pod].push(on);
                for (used, want) in used.iter_mut().zip(class.want) {
                    used.push((on, float(want)));
                }
            }
            for (mut used, room) in used.into_iter().zip(kind.room) {
                used.push((open, -float(room)));
                program.add_constraint(used, ComparisonOp::Le, 0.0);
            }
        }
    }
    for places in places {
        program.add_constraint(places.into_iter().map(|on| (on, 1.0)).collect::<Vec<_>>(), ComparisonOp::Le, 1.0);
    }
    if let Some(most) = problem.limits.total {
        let open = all.open.iter().map(|(_, open)| (*open, 1.0)).collect::<Vec<_>>();
        program.add_constraint(open, ComparisonOp::Le, float(most as u64));
    }
    (program, all)
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn float(number: u64) -> f64 {
    number as f64
}

/// Millijoules as the program counts them.
const UNIT: f64 = 1e6;

/// The most pods that can be placed, and the least that costs.
fn by_library(problem: &Problem) -> (u32, u64) {
    let chosen = |program: &Program, all: &Variables| {
        let solution = program.solve().unwrap().into_solution().unwrap();
        let is = |(_, variable): &&(u64, Variable)| solution.var_value(*variable) > 0.5;
        let cost = all.open.iter().chain(&all.on).filter(is).map(|(cost, _)| cost).sum::<u64>();
        (all.on.iter().filter(is).count(), cost)
    };
    let (most, all) = program(problem, OptimizationDirection::Maximize, |open, _| if open { 0.0 } else { 1.0 });
    let (placed, _) = chosen(&most, &all);
    let (mut least, all) = program(problem, OptimizationDirection::Minimize, |_, cost| float(cost) / UNIT);
    let on = all.on.iter().map(|(_, on)| (*on, 1.0)).collect::<Vec<_>>();
    least.add_constraint(on, ComparisonOp::Ge, float(placed as u64));
    (u32::try_from(placed).unwrap(), chosen(&least, &all).1)
}

#[test]
fn our_exact_solver_says_what_a_librarys_says() {
    let small = (0..250).map(|seed| instance(seed * 7919 + 1)).filter(|problem| count(problem) <= 6);
    let mut compared = 0;
    for problem in small {
        let ours = exact(&problem);
        if ours.0 > 0 {
            assert_eq!(ours, by_library(&problem), "{problem:?}");
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared} instances");
}

#[test]
fn as_cheap_as_a_librarys_exact_solver_on_larger_instances() {
    let (mut instances, mut sum, mut worst, mut ffd, mut fewer) = (0u32, 0.0, 0.0f64, 0.0, 0);
    for seed in 0..500 {
        let problem = instance(seed * 104_729 + 5);
        if !(8..=11).contains(&count(&problem)) || problem.board.len() > 7 {
            continue;
        }
        let (most, least) = by_library(&problem);
        if most == 0 {
            continue;
        }
        let (answer, plain) = (solve(&problem), first_fit_decreasing(&problem));
        let placed = |missed: &[u32]| count(&problem) - missed.iter().sum::<u32>();
        instances += 1;
        assert!(placed(&answer.missed) <= most, "{seed}: the library is wrong");
        if placed(&answer.missed) < most {
            fewer += 1;
            continue;
        }
        assert!(answer.cost >= least, "{seed}: the library is wrong");
        let over = |cost: u64| float(cost - least) * 100.0 / float(least);
        (sum, worst) = (sum + over(answer.cost), worst.max(over(answer.cost)));
        if placed(&plain.missed) == most {
            ffd += over(plain.cost);
            assert!(answer.cost <= plain.cost, "{seed}: worse than first-fit decreasing");
        }
    }
    println!(
        "{instances} instances of 8 to 11 pods: above microlp's cost by {:.2} % in the mean and {worst:.2} % at worst, fewer pods placed in {fewer}; first-fit decreasing {:.2} %",
        sum / f64::from(instances - fewer),
        ffd / f64::from(instances)
    );
    assert!(instances > 50 && sum / f64::from(instances - fewer) <= 2.0 && worst <= 10.0);
    assert!(fewer * 100 <= instances, "what can be placed is placed, in all but a hundredth");
}
