//! The simulation: how long a month of a rack takes, all three ways of powering it and the bound.

use std::fmt::Write as _;
use std::time::Instant;

use marea::simulate::{Rack, Way, simulate, swf};

use super::Figure;

const JOBS: usize = 100_000;
const MACHINES: u32 = 100;
const DAYS: u64 = 30;

/// A made-up month: jobs of 1 to 8 CPUs that run for two minutes to three hours, most by day, some in bursts.
fn month() -> String {
    let mut state = 5u64;
    let mut draw = |most: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    };
    let mut submits: Vec<u64> = (0..JOBS)
        .map(|job| {
            let day = if job % 5 == 0 { job as u64 / 500 % DAYS } else { draw(DAYS) };
            let second = if draw(4) == 0 { draw(86_400) } else { 28_800 + draw(36_000) };
            day * 86_400 + second
        })
        .collect();
    submits.sort_unstable();
    let mut text = String::from("; UnixStartTime: 1767571200\n");
    for (number, submit) in (1..).zip(submits) {
        let (cpus, memory) = (1 << draw(4), 1 << (18 + draw(4)));
        let run = if draw(10) == 0 { 1_200 + draw(9_600) } else { 120 + draw(1_800) };
        let _ = writeln!(text, "{number} {submit} -1 {run} {cpus} -1 -1 {cpus} -1 {memory} 1 1 1 -1 1 -1 -1 -1");
    }
    text
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
pub(crate) fn figures() -> Vec<Figure> {
    let text = month();
    let start = Instant::now();
    let (mut trace, rack) = (swf::parse(&text).unwrap(), Rack::usual(MACHINES));
    trace.sift(&rack);
    let outcome = simulate(&trace, &rack);
    let seconds = start.elapsed().as_secs_f64();
    assert!(trace.jobs.len() == JOBS && outcome.runs.iter().all(|run| run.figures.unserved == 0));
    let drawn = |way: Way| outcome.runs.iter().find(|run| run.way == way).map(|run| run.figures.drawn_uj).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "hundredths for people to read")]
    let of_always = |uj: u128| uj as f64 * 100.0 / drawn(Way::AlwaysOn) as f64;
    let how = "100,000 jobs over 30 days on 100 machines of 16 CPUs: read, run in all three ways, bounded";
    let figure = |name, value, unit, peer, how| Figure { name, value, unit, peer, how };
    vec![
        figure("simulate/month", seconds, "s", None, how),
        figure(
            "simulate/month-energy",
            of_always(drawn(Way::Marea)),
            "% of always-on",
            Some(of_always(drawn(Way::Clues))),
            "what the workers draw in that month; the peer is CLUES's algorithm with EC3's settings",
        ),
        figure(
            "simulate/month-bound",
            of_always(outcome.bound_uj),
            "% of always-on",
            None,
            "what nobody can do with less than",
        ),
    ]
}
