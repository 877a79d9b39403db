//! Processes of a machine, told apart: its init is the one that is number 1 in the process namespace right below ours.
//! (A pod's first process is number 1 too, but one namespace deeper.)

use std::collections::BTreeSet;

use rustix::process::{Pid, Signal, kill_process};

use super::error::LocalError;
use super::tool;

/// The machine's init among its processes.
pub(super) fn init(processes: &BTreeSet<u32>) -> Option<u32> {
    processes
        .iter()
        .copied()
        .find(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| is_init(&status)))
}

fn is_init(status: &str) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|line| matches!(line.split_whitespace().collect::<Vec<_>>()[..], [_, "1"]))
}

/// Whether a systemd-nspawn still looks after the machine.
pub(super) fn has_nspawn(processes: &BTreeSet<u32>) -> bool {
    processes.iter().any(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd-nspawn")
    })
}

/// Cuts the power: init first, because with it the kernel ends everything in its namespace, then whatever is left.
pub(super) fn kill_all(processes: &BTreeSet<u32>) {
    for pid in init(processes).iter().chain(processes) {
        let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
        // One that is gone already is what is wanted; one that stays is seen by whoever looks at the cgroup next.
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
    }
}

/// Asks init to power off, as systemd wants to be asked by whoever contains it.
pub(super) fn ask_to_power_off(init: u32) -> Result<(), LocalError> {
    // A real-time signal, whose number only the C library knows; so the program that asks it.
    tool::run("kill", ["-s", "RTMIN+3", &init.to_string()]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_one_namespace_down_is_an_init() {
        let status = |numbers: &str| format!("Name:\tx\nNSpid:\t{numbers}\nThreads:\t1\n");
        assert!(is_init(&status("4711\t1")));
        for other in ["1", "4711", "4711\t2", "4711\t33\t1"] {
            assert!(!is_init(&status(other)), "{other}");
        }
    }

    #[test]
    fn what_is_gone_is_no_init() {
        assert_eq!(init(&BTreeSet::from([u32::MAX])), None);
    }
}
