//! A machine's cgroup: the same folder `<scope>-local/NAME` in every hierarchy of cgroup v1, or in the one of v2. All
//! processes of the machine are in it and nothing else is, whatever became of the systemd-nspawn that started them. So
//! an empty subtree is the proof that the machine is off, and nothing else is.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{At as _, LocalError};
use super::hierarchy::Hierarchy;
use super::hierarchy::hierarchies;
use super::limits;
use super::site::Site;
use super::spec::MachineSpec;

/// The machine's folder in every hierarchy.
pub(super) fn folders(site: &Site, name: &str) -> Result<Vec<PathBuf>, LocalError> {
    let group = site.group();
    Ok(hierarchies()?.iter().map(|h| h.mount().join(&group).join(name)).collect())
}

/// Makes the machine's folders and sets its limits.
pub(super) fn make(site: &Site, name: &str, spec: &MachineSpec, host: u8) -> Result<(), LocalError> {
    let group = site.group();
    for hierarchy in hierarchies()? {
        let above = hierarchy.mount().join(&group);
        let own = above.join(name);
        if let Hierarchy::V2(mount) = &hierarchy {
            std::fs::create_dir_all(&above).at("make", &above)?;
            limits::hand_down(mount);
            limits::hand_down(&above);
        }
        std::fs::create_dir_all(&own).at("make", &own)?;
        limits::set(&hierarchy, &above, &own, spec, host)?;
    }
    Ok(())
}

/// All processes of the machine. What cannot be read is an error, never "none".
pub(super) fn processes(site: &Site, name: &str) -> Result<BTreeSet<u32>, LocalError> {
    let mut found = BTreeSet::new();
    for folder in folders(site, name)? {
        collect(&folder, &mut found)?;
    }
    Ok(found)
}

fn collect(folder: &Path, found: &mut BTreeSet<u32>) -> Result<(), LocalError> {
    let list = folder.join("cgroup.procs");
    match std::fs::read_to_string(&list) {
        Ok(text) => found.extend(text.lines().filter_map(|line| line.trim().parse::<u32>().ok())),
        // Removed meanwhile: only an empty one can be.
        Err(e)
            if matches!(e.kind(), ErrorKind::NotFound)
                || e.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {}
        // Threaded (v2): the processes are listed by the folder above.
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => {}
        Err(e) => return Err(e).at("read", &list),
    }
    for child in subfolders(folder)? {
        collect(&child, found)?;
    }
    Ok(())
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, LocalError> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at("list", folder)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        match entry.and_then(|entry| Ok((entry.file_type()?.is_dir(), entry.path()))) {
            Ok((true, path)) => found.push(path),
            Ok((false, _)) => {}
            Err(e) if matches!(e.kind(), ErrorKind::NotFound) => {}
            Err(e) => return Err(e).at("list", folder),
        }
    }
    Ok(found)
}

/// Removes the folders of a machine that is off. The kernel may need a moment after the last process.
pub(super) fn sweep(site: &Site, name: &str) -> Result<(), LocalError> {
    let mut last = Ok(());
    for _ in 0..100 {
        last = folders(site, name)?.iter().try_for_each(|folder| remove_tree(folder));
        if last.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    last
}

/// Removes the folder above those of the machines, with the empty ones of machines that were forgotten.
pub(super) fn remove_group(site: &Site) -> Result<(), LocalError> {
    for hierarchy in hierarchies()? {
        remove_tree(&hierarchy.mount().join(site.group()))?;
    }
    Ok(())
}

fn remove_tree(folder: &Path) -> Result<(), LocalError> {
    for child in subfolders(folder)? {
        remove_tree(&child)?;
    }
    remove_folder(folder)
}

fn remove_folder(folder: &Path) -> Result<(), LocalError> {
    match std::fs::remove_dir(folder) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e).at("remove", folder),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_found_at_every_depth() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        std::fs::write(root.path().join("cgroup.procs"), "7\n").unwrap();
        std::fs::write(root.path().join("a/b/cgroup.procs"), "9\n8\n").unwrap();
        let mut found = BTreeSet::new();
        collect(root.path(), &mut found).unwrap();
        assert_eq!(found, BTreeSet::from([7, 8, 9]));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_not_an_empty_one() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("cgroup.procs")).unwrap();
        assert!(collect(root.path(), &mut BTreeSet::new()).is_err());
    }
}
