//! The simulation: thousands of seeded worlds in which machines and the API server fail in every way that
//! we could think of, and the production core must keep its promises. `SIM_SEED=n` runs one world and
//! prints its steps (with `--nocapture`, or when it fails), `SIM_WORLDS=n` so many from
//! `SIM_FIRST=n` on.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test program: it may fail loudly, prints what it did, and a planted bug touches few words"
)]

mod check;
mod planted;
mod rng;
mod world;

use marea::autoscaler::{Core, Event, next_wakeup, step};
use planted::Planted;
use world::World;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

fn seeds() -> std::ops::Range<u64> {
    if let Some(seed) = number("SIM_SEED") {
        return seed..seed + 1;
    }
    let first = number("SIM_FIRST").unwrap_or(0);
    first..first + number("SIM_WORLDS").unwrap_or(1000)
}

/// Runs worlds on all cores; answers with the first that fails.
fn sweep(seeds: std::ops::Range<u64>, run: impl Fn(u64) -> Result<(), String> + Sync) -> Option<(u64, String)> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    std::thread::scope(|scope| {
        let (run, seeds) = (&run, &seeds);
        let lanes: Vec<_> = (0..threads)
            .map(|lane| {
                scope.spawn(move || {
                    let mine = seeds.clone().filter(move |seed| seed % threads == lane);
                    mine.map(|seed| (seed, run(seed)))
                        .find_map(|(seed, result)| result.err().map(|error| (seed, error)))
                })
            })
            .collect();
        lanes.into_iter().filter_map(|lane| lane.join().unwrap()).min()
    })
}

#[test]
fn the_core_keeps_its_promises_in_every_world() {
    let totals = std::sync::Mutex::new((0, 0, 0, 0));
    let failed = sweep(seeds(), |seed| {
        let mut world = World::new(seed, Planted::Nothing);
        world.traced = number("SIM_SEED").is_some();
        world.run()?;
        let mut totals = totals.lock().unwrap();
        let (steps, finished, boots, drains) = *totals;
        *totals = (steps + world.steps, finished + world.finished, boots + world.boots, drains + world.drains);
        Ok(())
    });
    if let Some((seed, error)) = failed {
        panic!("{error}\nto see it again: SIM_SEED={seed} cargo test --test simulation");
    }
    let (steps, finished, boots, drains) = *totals.lock().unwrap();
    let worlds = seeds().count();
    println!(
        "{worlds} worlds: {steps} steps, {finished} pods ran to their end, {boots} boots, {drains} machines emptied"
    );
    assert!(finished > 0 && boots > 0 && drains > 0, "worlds in which nothing happens prove nothing");
}

#[test]
fn the_journal_replays_to_the_same_bytes() {
    let failed = sweep(0..50, |seed| {
        let mut world = World::new(seed, Planted::Nothing);
        world.run()?;
        let mut state = Core::default();
        for ((now, event), said) in world.journal.iter().zip(&world.said) {
            let text = serde_json::to_string(event).unwrap();
            let event: Event = serde_json::from_str(&text).unwrap();
            // What is kept from step to step beside the state changes nothing: a copy has none of it.
            let mut anew = state.clone();
            let actions = step(&mut anew, *now, event.clone());
            if step(&mut state, *now, event) != actions || state != anew {
                return Err(format!("another answer at {now} when nothing is kept"));
            }
            if next_wakeup(&state) != next_wakeup(&anew.clone()) {
                return Err(format!("another wakeup at {now} when nothing is kept"));
            }
            if serde_json::to_string(&actions).unwrap() != *said {
                return Err(format!("another answer at {now}"));
            }
        }
        let same = serde_json::to_string(&state).unwrap() == serde_json::to_string(&world.state).unwrap();
        if same { Ok(()) } else { Err("another state at the end".into()) }
    });
    if let Some((seed, error)) = failed {
        panic!("{error}\nto see it again: SIM_SEED={seed} cargo test --test simulation");
    }
}

#[test]
fn every_planted_bug_is_caught() {
    let mut lived = Vec::new();
    for bug in Planted::ALL {
        match sweep(0..200, |seed| World::new(seed, bug).run()) {
            Some((seed, error)) => {
                println!("{bug:?}: caught in world {seed}: {}", error.chars().take(110).collect::<String>());
            }
            None => lived.push(bug),
        }
    }
    assert!(lived.is_empty(), "not caught: {lived:?}");
}
