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

#[path = "../bmc.rs"]
#[expect(dead_code, reason = "only its Python environment is used here")]
mod bmc;
mod clients;
mod cluster;
mod consolidation;
mod demand;
mod existing;
mod faults;
mod first;
mod functions;
#[path = "../im_server.rs"]
#[expect(dead_code, reason = "no relay is before it here")]
mod im_server;
mod import;
mod oscar;
#[path = "../it/oscar_clients.rs"]
mod oscar_clients;
mod unit;

use cluster::Cluster;

type Test = fn(&Cluster) -> Result<(), String>;
type Open = fn() -> Result<Cluster, String>;

const TESTS: &[(&str, Test)] = &[
    ("bootstrap_is_done_once", first::bootstrap_is_done_once),
    ("without_root_nothing_is_made", first::without_root_nothing_is_made),
    ("bootstrap_finishes_after_kill", first::bootstrap_finishes_after_kill),
    ("a_join_that_half_happened_is_finished", first::a_join_that_half_happened_is_finished),
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
    ("two_half_filled_machines_become_one", consolidation::two_become_one),
    ("the_journal_replays_to_the_same_bytes", faults::journal_replays),
    ("a_cluster_of_ec3_is_taken_over_with_an_account_made_over_ssh", import::taken_over),
    ("the_unit_starts_is_watched_and_stops", unit::service),
    ("machines_that_exist_become_a_cluster_and_get_free_again", existing::from_claim_to_release),
    ("destroy_leaves_nothing", first::destroy_leaves_nothing),
];

/// After the others, when their cluster is gone: functions have a cluster of their own.
const FUNCTIONS: &[(&str, Test)] = &[
    ("functions_are_brought_by_the_bootstrap", functions::brought_by_the_bootstrap),
    ("oscars_own_clients_work_on_a_real_cluster", clients::oscars_own),
    ("the_daemon_sees_the_gateways_queue", functions::depth_is_seen),
    ("what_fails_says_why_from_a_real_pod", functions::failures_are_told),
    ("five_hundred_uploads_outlive_every_death", functions::uploads_outlive_every_death),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let ci = std::env::var("CI").is_ok_and(|v| v == "true");
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    let of =
        |tests: &'static [(&'static str, Test)]| tests.iter().filter(|(name, _)| is_wanted(name)).collect::<Vec<_>>();
    let groups: [(Open, Vec<_>); 2] = [(Cluster::open, of(TESTS)), (functions::open, of(FUNCTIONS))];
    let names: Vec<&str> = groups.iter().flat_map(|(_, tests)| tests).map(|(name, _)| *name).collect();
    if std::env::args().any(|a| a == "--list") {
        names.iter().for_each(|name| println!("{name}: test"));
        return;
    }
    if !cluster::is_root() {
        for name in &names {
            println!("test {name} ... skipped: it makes machines on this computer, which needs root");
        }
        end(i32::from(ci));
    }
    let mut failed = Vec::new();
    for (open, tests) in groups.into_iter().filter(|(_, tests)| !tests.is_empty()) {
        let cluster = match open() {
            Ok(cluster) => cluster,
            Err(error) => {
                println!("the cluster could not be made:\n{error}");
                return end(1);
            }
        };
        for (name, test) in tests {
            if !passes(name, || test(&cluster).map_err(|error| format!("{error}\n{}", cluster.daemon_log_tail()))) {
                failed.push(*name);
            }
            cluster.stop_daemon();
        }
        if std::env::var("MAREA_KEEP").is_err() {
            cluster.destroy();
        }
    }
    println!("\ncluster tests: {} passed, {} failed {failed:?}", names.len() - failed.len(), failed.len());
    end(i32::from(!failed.is_empty()));
}

fn passes(name: &str, test: impl FnOnce() -> Result<(), String>) -> bool {
    let start = cluster::now();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
    let result = result.unwrap_or_else(|_| Err("it panicked".to_owned()));
    let seconds = start.elapsed().as_secs_f64();
    match &result {
        Ok(()) => println!("test {name} ... ok ({seconds:.1} s)"),
        Err(error) => println!("test {name} ... FAILED ({seconds:.1} s)\n{error}"),
    }
    result.is_ok()
}

#[expect(clippy::disallowed_methods, reason = "a test program ends itself")]
fn end(code: i32) {
    std::process::exit(code);
}
