//! Figures: `make bench`, or `cargo bench --bench figures -- GROUP...`. One line each on stdout:
//! `name<TAB>value<TAB>unit<TAB>peer's value or -`; all of a full run go to docs/benchmarks.md.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    clippy::unused_self,
    clippy::zombie_processes,
    clippy::needless_for_each,
    unreachable_pub,
    reason = "a test program: it may fail and speak"
)]

#[path = "../bmc.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod bmc;
mod cluster;
#[path = "../it/fake_namespace.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod fake_namespace;
mod functions;
#[path = "../im_server.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod im_server;
#[path = "../it/minio.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod minio;
mod parser;
mod power;
mod radl;
mod simulate;
mod solve;
mod supervisor;

use std::fmt::Write as _;

/// One measured figure.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// What the peer needs for the same, measured in the same run.
    peer: Option<f64>,
    /// How it was measured.
    how: &'static str,
}

/// A group's name, and what measures it.
type Group = (&'static str, fn() -> Vec<Figure>);

/// The groups, in the order in which they are measured. Those that ask what memory holds come first: a process gives little
/// of it back, and what another had freed would be counted, or would hide what is new.
const GROUPS: [Group; 8] = [
    ("power", power::figures),
    ("solve", solve::figures),
    ("parser", parser::figures),
    ("radl", radl::figures),
    ("simulate", simulate::figures),
    ("supervisor", supervisor::figures),
    ("functions", functions::figures),
    ("cluster", cluster_figures),
];

fn cluster_figures() -> Vec<Figure> {
    if rustix::process::geteuid().is_root() {
        return cluster::figures();
    }
    eprintln!("group cluster is skipped: it makes machines on this computer, which needs root");
    Vec::new()
}

fn main() {
    let groups: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |name: &str| groups.is_empty() || groups.iter().any(|g| g == name);
    let figures: Vec<Figure> =
        GROUPS.iter().filter(|(name, _)| wanted(name)).flat_map(|(_, figures)| figures()).collect();
    for f in &figures {
        println!("{}\t{:.2}\t{}\t{}", f.name, f.value, f.unit, f.peer.map_or("-".to_owned(), |p| format!("{p:.2}")));
    }
    if groups.is_empty() {
        std::fs::write("docs/benchmarks.md", page(&figures)).unwrap();
    }
}

fn page(figures: &[Figure]) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu =
        cpu.lines().find_map(|l| l.strip_prefix("model name")).map_or("?", |l| l.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory =
        read("/proc/meminfo").split_whitespace().nth(1).and_then(|k| k.parse::<u64>().ok()).unwrap_or(0) / 1_048_576;
    let kernel = read("/proc/sys/kernel/osrelease");
    let mut text = format!(
        "# Figures\n\nMade by `make bench` in one run; not edited by hand.\n\nMachine: {cores} cores, {cpu}, {memory} GiB, Linux {}.\n\n| figure | value | unit | peer | how |\n|---|---|---|---|---|\n",
        kernel.trim()
    );
    for f in figures {
        let peer = f.peer.map_or("-".to_owned(), |p| format!("{p:.2}"));
        let _ = writeln!(text, "| {} | {:.2} | {} | {peer} | {} |", f.name, f.value, f.unit, f.how);
    }
    text.push_str("\nThe parser's peer is PyPI's `RADL` 1.3.5, on a part of the same text, in the same run.\n");
    text
}
