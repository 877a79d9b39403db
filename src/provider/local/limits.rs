//! Limits: what the kernel lets a machine use. They match the size that is shown inside, so that a pod that uses more
//! than its machine has meets the same end as on real hardware.

use std::path::Path;

use super::error::{At as _, LocalError};
use super::hierarchy::Hierarchy;
use super::spec::MachineSpec;

/// The kernel's period for shares of CPU time, in microseconds.
const PERIOD: u64 = 100_000;

/// Hands the v2 controllers of a folder down to its children, as far as it has them: in a hybrid it has none.
pub(super) fn hand_down(folder: &Path) {
    for controller in ["cpuset", "cpu", "memory", "pids", "io"] {
        // Those that are not there are not missed here; a limit that cannot be set is an error later.
        let _ = std::fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// Writes the limits of one hierarchy.
pub(super) fn set(
    hierarchy: &Hierarchy,
    above: &Path,
    own: &Path,
    spec: &MachineSpec,
    host: u8,
) -> Result<(), LocalError> {
    let quota = u64::from(spec.cpus) * PERIOD;
    match hierarchy {
        Hierarchy::V1(mount, controllers) => {
            let has = |name: &str| controllers.contains(name);
            if has("cpuset") {
                // A new v1 folder has no CPU and no memory node, and then takes no process.
                let cpus = read(&mount.join("cpuset.cpus"))?;
                let nodes = read(&mount.join("cpuset.mems"))?;
                for (folder, cpus) in [(above, cpus.clone()), (own, choose(&cpus, spec.cpus, host)?)] {
                    write(&folder.join("cpuset.cpus"), &cpus)?;
                    write(&folder.join("cpuset.mems"), &nodes)?;
                }
            }
            if has("cpu") {
                write(&own.join("cpu.cfs_period_us"), &PERIOD.to_string())?;
                write(&own.join("cpu.cfs_quota_us"), &quota.to_string())?;
            }
            if has("memory") {
                write(&own.join("memory.limit_in_bytes"), &spec.memory.to_string())?;
            }
        }
        Hierarchy::V2(mount) => {
            let controllers = read(&own.join("cgroup.controllers"))?;
            let has = |name: &str| controllers.split_whitespace().any(|word| word == name);
            if has("cpuset") {
                let cpus = read(&mount.join("cpuset.cpus.effective"))?;
                write(&own.join("cpuset.cpus"), &choose(&cpus, spec.cpus, host)?)?;
            }
            if has("cpu") {
                write(&own.join("cpu.max"), &format!("{quota} {PERIOD}"))?;
            }
            if has("memory") {
                write(&own.join("memory.max"), &spec.memory.to_string())?;
            }
        }
    }
    Ok(())
}

/// Which CPUs of `list` a machine runs on: `count` in a row, begun at a place that differs from machine to machine, so
/// that many small machines do not all meet on the first CPU.
fn choose(list: &str, count: u32, host: u8) -> Result<String, LocalError> {
    let all = numbers(list);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if all.len() < count {
        return Err(too_few(count, all.len()));
    }
    let first = usize::from(host) * count % all.len();
    let mut chosen: Vec<u32> = all.iter().cycle().skip(first).take(count).copied().collect();
    chosen.sort_unstable();
    Ok(chosen.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
}

/// The numbers of a kernel list such as `0-2,5`.
fn numbers(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.trim().parse::<u32>().ok()?..=to.trim().parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

/// Refuses a machine with more CPUs than this computer has.
pub(super) fn check_cpus(count: u32) -> Result<(), LocalError> {
    let here = numbers(&read(Path::new("/sys/devices/system/cpu/online"))?).len();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count == 0 || count > here { Err(too_few(count, here)) } else { Ok(()) }
}

/// The kernel counts watches of files over all machines, and some of what runs in a machine ends oddly without them.
pub(super) fn warn_of_watches(machines: usize) {
    const EACH: usize = 20;
    let path = Path::new("/proc/sys/fs/inotify/max_user_instances");
    let here = read(path).ok().and_then(|text| text.parse::<usize>().ok());
    if let Some(here) = here.filter(|&here| here < machines * EACH) {
        let needed = machines * EACH;
        tracing::warn!(
            "{machines} local machines may need {needed} inotify instances, {here} are allowed; \
             if units in them fail: sysctl -w fs.inotify.max_user_instances={needed}"
        );
    }
}

fn too_few(count: usize, here: usize) -> LocalError {
    LocalError::Input(format!(
        "a local machine of {count} CPUs cannot be made: this computer has {here}; declare 1 to {here}"
    ))
}

fn read(path: &Path) -> Result<String, LocalError> {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).at("read", path)
}

fn write(path: &Path, text: &str) -> Result<(), LocalError> {
    std::fs::write(path, text).at("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel_are_read() {
        assert_eq!(numbers("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(numbers("0"), [0]);
        assert!(numbers("").is_empty());
    }

    #[test]
    fn small_machines_are_spread_over_the_cpus() {
        assert_ne!(choose("0-1", 1, 11).unwrap(), choose("0-1", 1, 12).unwrap());
        assert_eq!(choose("0-1", 2, 11).unwrap(), "0,1");
        assert_eq!(choose("2-5", 2, 12).unwrap().split(',').count(), 2);
        assert!(choose("0-1", 3, 11).is_err());
    }
}
