//! The power of a local machine: seen in its cgroup, switched on by a launch, switched off by a word to its init or by
//! killing all of it. One switch at a time per machine, whoever asks.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::error::LocalError;
use super::machine;
use super::site::Site;
use super::spec::Record;
use super::{cgroup, launch, lock, network, process, tool};
use crate::clock;

/// How long a launch may take until init runs.
const TO_INIT: Duration = Duration::from_secs(30);
/// How long a machine may take to power off when asked; a Kubernetes node with pods takes 7 s.
const TO_OFF: Duration = Duration::from_secs(30);
/// How long the kernel may take to end what was killed.
const TO_DIE: Duration = Duration::from_secs(20);
/// How long processes without an init may be a machine that reboots or is being launched.
const BETWEEN: Duration = Duration::from_secs(3);
const GLANCE: Duration = Duration::from_millis(50);

/// What was seen of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Its processes, empty if and only if it is off.
    pub processes: BTreeSet<u32>,
    /// Its init. Processes without one are a machine on its way up or down, or what is left of one.
    pub init: Option<u32>,
    /// Whether a systemd-nspawn looks after it. Without one it runs on, but its console is lost.
    pub attended: bool,
}

/// Looks at the machine.
pub(super) fn see(site: &Site, name: &str) -> Result<Sight, LocalError> {
    let processes = cgroup::processes(site, name)?;
    Ok(Sight { init: process::init(&processes), attended: process::has_nspawn(&processes), processes })
}

fn passed(since: Instant, limit: Duration) -> bool {
    clock::monotonic().duration_since(since) > limit
}

fn host(site: &Site, record: &Record) -> Result<u8, LocalError> {
    let address = record.spec.address;
    site.subnet.host(address).ok_or_else(|| LocalError::Input(format!("address {address} is not in the site's subnet")))
}

/// Powers the machine on and returns when its init runs. One that is on is left alone.
pub(super) fn on(site: &Site, name: &str) -> Result<(), LocalError> {
    let record = machine::read(site, name)?;
    tool::check()?;
    let lock = lock::take(&site.machine(name).join("power.lock"))?;
    let began = clock::monotonic();
    loop {
        let seen = see(site, name)?;
        if seen.init.is_some() {
            return Ok(());
        }
        if seen.processes.is_empty() {
            break;
        }
        if passed(began, BETWEEN) {
            return Err(fenced(name, &seen));
        }
        std::thread::sleep(GLANCE);
    }
    let host = host(site, &record)?;
    network::ensure(site)?;
    sweep(site, name, host)?;
    cgroup::make(site, name, &record.spec, host)?;
    launch::start(site, &record, host, &lock)?;
    await_init(site, name)
}

fn fenced(name: &str, seen: &Sight) -> LocalError {
    let pids: Vec<String> = seen.processes.iter().take(10).map(u32::to_string).collect();
    LocalError::Fenced { machine: name.to_owned(), pids: pids.join(", ") }
}

fn await_init(site: &Site, name: &str) -> Result<(), LocalError> {
    let began = clock::monotonic();
    let folder = site.machine(name);
    loop {
        // First the word, then the look: a word without processes is an end, the other way round it is a race.
        let word = std::fs::read_to_string(folder.join("exit")).ok();
        let seen = see(site, name)?;
        if seen.init.is_some() {
            return Ok(());
        }
        if let Some(word) = word.filter(|_| seen.processes.is_empty()) {
            let log = folder.join("console.log");
            let console =
                std::fs::read(&log).map(|bytes| tool::tail(&String::from_utf8_lossy(&bytes))).unwrap_or_default();
            let word = format!("systemd-nspawn or its launch ended with {}", word.trim());
            return Err(LocalError::NoBoot { machine: name.to_owned(), word, log, console });
        }
        if passed(began, TO_INIT) {
            return Err(LocalError::Slow { machine: name.to_owned(), what: "its init", seconds: TO_INIT.as_secs() });
        }
        std::thread::sleep(GLANCE);
    }
}

/// Asks the machine to power off; cuts the power if it does not within its time. Returns when it is proven off.
pub(super) fn off_gracefully(site: &Site, name: &str) -> Result<(), LocalError> {
    let record = machine::read(site, name)?;
    let _lock = lock::take(&site.machine(name).join("power.lock"))?;
    // Tells the launch not to start a machine again that was rebooting when it was asked to power off.
    tool::write_whole(&site.machine(name).join("off"), "", 0o644)?;
    let began = clock::monotonic();
    let mut asked: Option<(u32, Instant)> = None;
    loop {
        let seen = see(site, name)?;
        if seen.processes.is_empty() {
            return sweep(site, name, host(site, &record)?);
        }
        if passed(began, TO_OFF) {
            tracing::warn!(
                machine = name,
                "did not power off within {} s of being asked: cutting its power",
                TO_OFF.as_secs()
            );
            return cut(site, &record);
        }
        // Asked again now and then: an init that has just begun does not hear it.
        let heard = |init| asked.is_some_and(|(pid, when)| pid == init && !passed(when, Duration::from_secs(1)));
        if let Some(init) = seen.init.filter(|&init| !heard(init)) {
            // It may have ended since it was seen; then the next look says so.
            if let Err(error) = process::ask_to_power_off(init) {
                tracing::debug!(machine = name, %error, "init could not be asked to power off");
            }
            asked = Some((init, clock::monotonic()));
        }
        std::thread::sleep(GLANCE);
    }
}

/// Cuts the power. Returns when the machine is proven off.
pub(super) fn off_hard(site: &Site, name: &str) -> Result<(), LocalError> {
    let record = machine::read(site, name)?;
    let _lock = lock::take(&site.machine(name).join("power.lock"))?;
    tool::write_whole(&site.machine(name).join("off"), "", 0o644)?;
    cut(site, &record)
}

fn cut(site: &Site, record: &Record) -> Result<(), LocalError> {
    let name = &record.spec.name;
    let began = clock::monotonic();
    loop {
        let processes = cgroup::processes(site, name)?;
        if processes.is_empty() {
            return sweep(site, name, host(site, record)?);
        }
        if passed(began, TO_DIE) {
            return Err(LocalError::Slow {
                machine: name.clone(),
                what: "the end of all its processes",
                seconds: TO_DIE.as_secs(),
            });
        }
        process::kill_all(&processes);
        std::thread::sleep(GLANCE);
    }
}

/// Removes what a machine that is off left outside its folder.
fn sweep(site: &Site, name: &str, host: u8) -> Result<(), LocalError> {
    cgroup::sweep(site, name)?;
    network::remove_link(site, host)?;
    // Made by systemd-nspawn for mounts from outside; empty unless somebody used it.
    let _ = std::fs::remove_dir(std::path::Path::new("/run/systemd/nspawn/propagate").join(site.container(host)));
    Ok(())
}
