//! Tests on a real local cluster: real machines, real SSH, real kubeadm, made by our own commands.
//!
//! They need root and run one after the other on one cluster, in the order below:
//! `cargo test --test cluster -- [PART OF A NAME...]`. Without root each is skipped by name, which is a
//! failure when `CI=true`. `MAREA_KEEP=1` leaves the cluster for a look.

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

mod cluster;
mod demand;
mod existing;
mod faults;
mod first;
mod functions;
mod oscar;
mod unit;

use std::time::Instant;

use cluster::Cluster;

type Test = fn(&Cluster) -> Result<(), String>;

const TESTS: &[(&str, Test)] = &[
    ("bootstrap_is_done_once", first::bootstrap_is_done_once),
    ("bootstrap_finishes_after_kill", first::bootstrap_finishes_after_kill),
    ("the_daemon_has_the_least_rights", first::the_daemon_has_the_least_rights),
    ("a_pending_pod_powers_a_machine_on_and_idling_powers_it_off", demand::up_and_down),
    ("a_pod_that_fits_nowhere_is_named_and_blocks_no_other", demand::impossible_pod),
    ("the_api_server_takes_all_of_oscars_objects_and_grants_its_rights", oscar::objects_and_rights),
    ("a_second_daemon_is_refused", faults::second_daemon),
    ("killed_at_each_state_of_a_power_on", faults::killed_while_powering_on),
    ("killed_at_each_state_of_a_power_off", faults::killed_while_powering_off),
    ("no_machine_goes_off_while_the_api_server_is_gone", faults::api_server_gone),
    ("a_power_cut_moves_the_work", faults::power_cut),
    ("a_drain_waits_for_a_disruption_budget", faults::disruption_budget),
    ("the_journal_replays_to_the_same_bytes", faults::journal_replays),
    ("the_unit_starts_is_watched_and_stops", unit::service),
    ("machines_that_exist_become_a_cluster_and_get_free_again", existing::from_claim_to_release),
    ("destroy_leaves_nothing", first::destroy_leaves_nothing),
];

/// Run only when asked for by name: it has not been seen to pass yet, and takes ten minutes.
const BY_NAME: &[(&str, Test)] =
    &[("five_hundred_uploads_outlive_every_death", functions::uploads_outlive_every_death)];

#[expect(clippy::disallowed_methods, reason = "a test program measures and ends itself")]
fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let ci = std::env::var("CI").is_ok_and(|v| v == "true");
    if std::env::args().any(|a| a == "--list") {
        for (name, _) in TESTS {
            println!("{name}: test");
        }
        return;
    }
    let named = |(n, _): &&(&str, Test)| wanted.iter().any(|w| n.contains(w.as_str()));
    let run: Vec<_> =
        TESTS.iter().filter(|t| wanted.is_empty() || named(t)).chain(BY_NAME.iter().filter(named)).collect();
    if !cluster::is_root() {
        for (name, _) in &run {
            println!("test {name} ... skipped: it makes machines on this computer, which needs root");
        }
        std::process::exit(i32::from(ci));
    }
    let cluster = match Cluster::open() {
        Ok(cluster) => cluster,
        Err(error) => {
            println!("the cluster could not be made:\n{error}");
            std::process::exit(1);
        }
    };
    let mut failed = Vec::new();
    for (name, test) in &run {
        let start = Instant::now();
        let result = test(&cluster);
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("test {name} ... ok ({seconds:.1} s)"),
            Err(error) => {
                println!("test {name} ... FAILED ({seconds:.1} s)\n{error}\n{}", cluster.daemon_log_tail());
                failed.push(*name);
            }
        }
        cluster.stop_daemon();
    }
    if std::env::var("MAREA_KEEP").is_err() {
        cluster.destroy();
    }
    println!("\ncluster tests: {} passed, {} failed {failed:?}", run.len() - failed.len(), failed.len());
    std::process::exit(i32::from(!failed.is_empty()));
}
