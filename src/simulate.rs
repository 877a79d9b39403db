//! The simulation ("what if"): the production core decides, event by event, about machines and pods that exist only
//! in virtual time, which jumps from one thing that happens to the next. The same trace is given to other ways of
//! powering the same machines, and to a bound that none of them can beat. Pure: no clock, no I/O, no randomness.

mod always;
mod bound;
mod clues;
mod figures;
mod governor;
mod line;
pub mod lines;
mod marea;
mod meter;
pub mod plot;
pub mod rack;
pub mod recording;
pub mod report;
pub mod swf;
pub mod trace;
mod world;

pub use self::figures::{Figures, Waits, Wear};
pub use self::rack::Rack;
pub use self::recording::Recording;
pub use self::trace::{Job, Trace, TraceError};

use self::governor::Governor;
use self::world::World;

/// How long everybody goes on after the last job of the slowest has ended: what goes off then, goes off.
const AFTERWARDS_MS: i64 = 3_600_000;

/// A way to power machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Marea's own core.
    Marea,
    /// All machines are on, always.
    AlwaysOn,
    /// CLUES's documented algorithm with EC3's settings.
    Clues,
}

impl Way {
    /// All of them, Marea first.
    pub const ALL: [Self; 3] = [Self::Marea, Self::AlwaysOn, Self::Clues];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Marea => "marea",
            Self::AlwaysOn => "always-on",
            Self::Clues => "clues",
        }
    }

    fn governor(self, rack: &Rack, trace: &Trace) -> Box<dyn Governor> {
        match self {
            Self::Marea => Box::new(marea::Marea::new(trace)),
            Self::AlwaysOn => Box::new(always::AlwaysOn),
            Self::Clues => Box::new(clues::Clues::new(rack)),
        }
    }
}

/// What came of one way.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Which way.
    pub way: Way,
    /// Its figures.
    pub figures: Figures,
    /// How many machines were on and how many pods waited, from each moment on.
    pub curve: Vec<Point>,
}

/// How it stands from a moment on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// Milliseconds since the trace began.
    pub at: i64,
    /// Machines that draw more than standby.
    pub on: u32,
    /// Pods that wait.
    pub waiting: u32,
}

/// What came of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The span that energy is counted over, the same for all, in milliseconds.
    pub span_ms: i64,
    /// Each way, in the order of `Way::ALL`.
    pub runs: Vec<Run>,
    /// The energy that no way can do with less than, in microjoules.
    pub bound_uj: u128,
}

/// Runs the trace on the rack in every way. Jobs that fit no machine must have been taken out (`Trace::sift`).
pub fn simulate(trace: &Trace, rack: &Rack) -> Outcome {
    let mut running: Vec<(Way, World<'_>, Box<dyn Governor>)> = Way::ALL
        .into_iter()
        .map(|way| {
            let (mut world, mut governor) = (World::new(trace, rack), way.governor(rack, trace));
            world.serve(&mut *governor);
            (way, world, governor)
        })
        .collect();
    let last = running.iter().map(|(_, world, _)| world.now()).max().unwrap_or_default();
    let span_ms = last.saturating_add(AFTERWARDS_MS);
    let runs = running.iter_mut().map(|(way, world, governor)| {
        world.go_on(&mut **governor, span_ms);
        Run { way: *way, figures: world.figures(), curve: world.curve().to_vec() }
    });
    Outcome { span_ms, runs: runs.collect(), bound_uj: bound::least(trace, rack, span_ms) }
}

#[cfg(test)]
mod tests;
