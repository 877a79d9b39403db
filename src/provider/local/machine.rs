//! A local machine as it is declared and remembered. `machine.json` in its folder says what it is, and marks the folder
//! as ours.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{At as _, LocalError};
use super::site::Site;
use super::spec::{MachineSpec, Record};
use super::{files, keys, limits, lock};

const OVERLAYFS: u64 = 0x794c_7630;
/// Less does not boot.
const LEAST_MEMORY: u64 = 128 << 20;

/// Reads a machine's record.
pub(super) fn read(site: &Site, name: &str) -> Result<Record, LocalError> {
    check_name(name)?;
    let path = site.machine(name).join("machine.json");
    let text = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let folder = site.machine(name);
            return Err(if folder.exists() { strange(&folder) } else { LocalError::NoMachine(name.to_owned()) });
        }
        text => text.at("read", &path)?,
    };
    serde_json::from_str(&text).map_err(|_| strange(&site.machine(name)))
}

fn strange(folder: &Path) -> LocalError {
    LocalError::AlreadyUsed {
        what: folder.display().to_string(),
        by: "something else (it has no machine.json of ours)".to_owned(),
        hint: "choose another --state, or remove that folder",
    }
}

/// All machines, by name.
pub(super) fn list(site: &Site) -> Result<BTreeMap<String, Record>, LocalError> {
    let folder = site.machines();
    let entries = match std::fs::read_dir(&folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries.at("list", &folder)?,
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let name = entry.at("list", &folder)?.file_name().to_string_lossy().into_owned();
        // A dot in front: being made, or being removed.
        if !name.starts_with('.') {
            found.insert(name.clone(), read(site, &name)?);
        }
    }
    Ok(found)
}

fn check_name(name: &str) -> Result<(), LocalError> {
    let letters = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !name.is_empty() && name.len() <= 63 && letters && !name.starts_with('-') && !name.ends_with('-') {
        return Ok(());
    }
    Err(LocalError::Input(format!(
        "machine name `{name}` must be 1 to 63 of a-z, 0-9 and `-`, with no `-` at its ends"
    )))
}

/// Checks a specification against the site and the machines that exist.
fn check(site: &Site, spec: &MachineSpec, others: &BTreeMap<String, Record>) -> Result<(), LocalError> {
    check_name(&spec.name)?;
    site.subnet.host(spec.address).ok_or_else(|| {
        let (first, last) = (site.subnet.address(2), site.subnet.address(254));
        LocalError::Input(format!("address {} of `{}` must be from {first} to {last}", spec.address, spec.name))
    })?;
    limits::check_cpus(spec.cpus)?;
    if spec.memory < LEAST_MEMORY {
        let least = LEAST_MEMORY >> 20;
        return Err(LocalError::Input(format!("memory of `{}` must be at least {least} MiB", spec.name)));
    }
    let bundle = spec.bundle.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    if bundle.contains([':', '\\', '\n']) || !(bundle.is_empty() || bundle.starts_with('/')) {
        return Err(LocalError::Input(format!(
            "bundle folder `{bundle}` must be an absolute path without `:` and `\\`"
        )));
    }
    match others.values().find(|other| other.spec.address == spec.address && other.spec.name != spec.name) {
        Some(other) => Err(LocalError::AlreadyUsed {
            what: format!("address {}", spec.address),
            by: format!("machine `{}`", other.spec.name),
            hint: "choose another address",
        }),
        None => Ok(()),
    }
}

/// Checks specifications against the site, the machines that exist, and each other; changes nothing.
pub(super) fn check_all(site: &Site, specs: &[MachineSpec]) -> Result<(), LocalError> {
    let mut known = list(site)?;
    for spec in specs {
        check(site, spec, &known)?;
        known.insert(spec.name.clone(), Record { spec: spec.clone(), base: String::new() });
    }
    Ok(())
}

/// Makes the machines that are not there. Those that are there as asked are left alone; a size may change while `is_on`
/// says that the machine is off, an address never.
pub(super) fn create(
    site: &Site,
    specs: &[MachineSpec],
    base: &str,
    is_on: &dyn Fn(&str) -> Result<bool, LocalError>,
) -> Result<(), LocalError> {
    site.settle()?;
    let statfs = rustix::fs::statfs(site.machines()).at("look at", site.machines())?;
    if u64::try_from(statfs.f_type).is_ok_and(|kind| kind == OVERLAYFS) {
        let folder = site.state.display();
        return Err(LocalError::Input(format!(
            "state folder {folder} is on overlayfs, where containers cannot run; choose another --state"
        )));
    }
    let _lock = lock::take(&site.local().join("machines.lock"))?;
    check_all(site, specs)?;
    let mut known = list(site)?;
    for spec in specs {
        // One that is there keeps the base that its changes lie over.
        let base = known.get(&spec.name).map_or(base, |old| &old.base).to_owned();
        known.insert(spec.name.clone(), Record { spec: spec.clone(), base });
    }
    limits::warn_of_watches(known.len());
    let hosts: BTreeMap<_, _> = known.iter().map(|(name, record)| (name.as_str(), record.spec.address)).collect();
    let public = keys::public_key(site)?;
    for spec in specs {
        match read(site, &spec.name) {
            Err(LocalError::NoMachine(_)) => {
                files::make(site, &known[&spec.name], &hosts, &public)?;
            }
            Err(error) => return Err(error),
            Ok(old) if old.spec == *spec => {}
            Ok(old) if old.spec.address != spec.address || is_on(&spec.name)? => {
                return Err(LocalError::AlreadyUsed {
                    what: format!("the name `{}`", spec.name),
                    by: format!(
                        "a machine with {} CPUs, {} bytes, address {}",
                        old.spec.cpus, old.spec.memory, old.spec.address
                    ),
                    hint: "power it off to change its size, or destroy it first",
                });
            }
            Ok(_) => files::write_size(&site.machine(&spec.name), &known[&spec.name])?,
        }
        // Also when it was there: the list of trusted keys may have been lost.
        let key = site.machine(&spec.name).join("up/etc/ssh/ssh_host_ed25519_key.pub");
        keys::trust(site, spec.address, &std::fs::read_to_string(&key).at("read", &key)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::site::Settings;
    use super::*;

    fn site() -> (tempfile::TempDir, Site) {
        let state = tempfile::tempdir().unwrap();
        let site = Site::open(Settings::new(state.path())).unwrap();
        (state, site)
    }

    fn spec(name: &str, host: u8) -> MachineSpec {
        MachineSpec {
            name: name.to_owned(),
            address: Ipv4Addr::new(10, 77, 0, host),
            cpus: 1,
            memory: 1 << 30,
            bundle: None,
        }
    }

    fn make_all(site: &Site, specs: &[MachineSpec], on: bool) -> Result<(), LocalError> {
        create(site, specs, "base-x", &|_| Ok(on))
    }

    #[test]
    fn machines_know_each_other_and_are_trusted_before_they_boot() {
        let (_state, site) = site();
        make_all(&site, &[spec("w1", 11), spec("w2", 12)], false).unwrap();
        let read = |path: &str| std::fs::read_to_string(site.machine("w1").join("up").join(path)).unwrap();
        assert!(read("etc/hosts").contains("10.77.0.12 w2"));
        assert_eq!(read("etc/marea/machine"), format!("CPUS=1\nMEM_KB={}\n", 1 << 20));
        let key = read("etc/ssh/ssh_host_ed25519_key.pub");
        let trusted = std::fs::read_to_string(keys::known_hosts(&site)).unwrap();
        assert!(trusted.contains(&format!("10.77.0.11 {}", key.rsplit_once(' ').unwrap().0)), "{trusted}");
        assert_eq!(list(&site).unwrap().len(), 2);
    }

    #[test]
    fn making_it_again_changes_nothing() {
        let (_state, site) = site();
        make_all(&site, &[spec("w1", 11)], false).unwrap();
        let id = || std::fs::read_to_string(site.machine("w1").join("up/etc/machine-id")).unwrap();
        let before = id();
        make_all(&site, &[spec("w1", 11)], true).unwrap();
        assert_eq!(id(), before);
    }

    #[test]
    fn a_size_changes_only_while_off_and_an_address_never() {
        let (_state, site) = site();
        make_all(&site, &[spec("w1", 11)], false).unwrap();
        let bigger = MachineSpec { memory: 2 << 30, ..spec("w1", 11) };
        assert!(matches!(make_all(&site, std::slice::from_ref(&bigger), true), Err(LocalError::AlreadyUsed { .. })));
        make_all(&site, std::slice::from_ref(&bigger), false).unwrap();
        assert_eq!(read(&site, "w1").unwrap().spec, bigger);
        assert!(matches!(make_all(&site, &[spec("w1", 12)], false), Err(LocalError::AlreadyUsed { .. })));
    }

    #[test]
    fn what_cannot_be_is_refused_and_nothing_is_made() {
        let (_state, site) = site();
        for bad in [
            spec("W1", 11),
            spec("../w1", 11),
            spec("", 11),
            spec("w1", 1),
            MachineSpec { cpus: 0, ..spec("w1", 11) },
            MachineSpec { cpus: 100_000, ..spec("w1", 11) },
            MachineSpec { memory: 1, ..spec("w1", 11) },
            MachineSpec { bundle: Some("relative".into()), ..spec("w1", 11) },
        ] {
            let error = make_all(&site, &[spec("good", 9), bad], false).unwrap_err();
            assert!(matches!(error, LocalError::Input(_)), "{error}");
        }
        assert!(list(&site).unwrap().is_empty());
        assert!(matches!(
            make_all(&site, &[spec("w1", 11), spec("w2", 11)], false),
            Err(LocalError::AlreadyUsed { .. })
        ));
    }

    #[test]
    fn a_folder_of_something_else_is_named_and_left_alone() {
        let (_state, site) = site();
        site.settle().unwrap();
        std::fs::create_dir(site.machine("w1")).unwrap();
        let error = make_all(&site, &[spec("w1", 11)], false).unwrap_err().to_string();
        assert!(error.contains("already used by"), "{error}");
    }
}
