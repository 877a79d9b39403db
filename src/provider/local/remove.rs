//! Removal of what was made on this computer, and of nothing else: only marked folders right below the site's own, and
//! only while nothing is mounted in them.

use std::path::{Path, PathBuf};

use super::error::{At as _, LocalError};
use super::site::Site;
use super::{cgroup, keys, lock, machine, network, power};

/// Cuts the machine's power and removes its folder and its trusted key.
pub(super) fn whole(site: &Site, name: &str) -> Result<(), LocalError> {
    let record = machine::read(site, name)?;
    power::off_hard(site, name)?;
    folder(site, name)?;
    keys::forget(site, record.spec.address)
}

/// Removes a machine's folder. It is renamed first, so that a half-removed one is never taken for a machine.
fn folder(site: &Site, name: &str) -> Result<(), LocalError> {
    let folder = site.machine(name);
    refuse_mounts(&folder)?;
    let gone = site.machine(&format!(".{name}.gone"));
    remove_below(site, &gone)?;
    std::fs::rename(&folder, &gone).at("rename", &folder)?;
    remove_below(site, &gone)
}

/// Removes all machines and everything that was made for them.
pub(super) fn everything(site: &Site) -> Result<(), LocalError> {
    for name in machine::list(site)?.into_keys() {
        whole(site, &name)?;
    }
    // Somebody else's bridge: then the cgroups of that scope are theirs as well.
    if !network::is_strange(site)? {
        cgroup::remove_group(site)?;
    }
    network::remove(site)?;
    let local = site.local();
    if local.exists() {
        refuse_mounts(&local)?;
        let _lock = lock::take(&local.join("machines.lock"))?;
        for entry in std::fs::read_dir(&local).at("list", &local)? {
            let entry = entry.at("list", &local)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = name.starts_with("base-") || ["machines", "base.lock"].contains(&name.as_str());
            if ours {
                remove_below(site, &entry.path())?;
            }
        }
        // The mark last: a removal that was killed is recognised and finished by the next.
        for last in ["machines.lock", "site.json.new", "site.json", "site.lock"] {
            remove_below(site, &local.join(last))?;
        }
        // Not empty means that somebody else put something there; it stays.
        let _ = std::fs::remove_dir(&local);
    }
    keys::remove(site)
}

/// Removes a file or folder that is really below the site's folder, whatever links say.
fn remove_below(site: &Site, path: &Path) -> Result<(), LocalError> {
    let Ok(kind) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    let parent = path.parent().unwrap_or(path).canonicalize().at("resolve", path)?;
    let local = site.local().canonicalize().at("resolve", site.local())?;
    if !parent.starts_with(&local) {
        return Err(LocalError::Input(format!("{} leads out of {}: not removed", path.display(), local.display())));
    }
    let removed = if kind.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.at("remove", path)
}

/// A removal must not walk into a mount: what is behind it is somebody else's.
fn refuse_mounts(folder: &Path) -> Result<(), LocalError> {
    let list = Path::new("/proc/self/mounts");
    let mounts = std::fs::read_to_string(list).at("read", list)?;
    let folder = folder.canonicalize().at("resolve", folder)?;
    match mounted_below(&mounts, &folder) {
        None => Ok(()),
        Some(mount) => Err(LocalError::AlreadyUsed {
            what: folder.display().to_string(),
            by: format!("a mount at {}", mount.display()),
            hint: "unmount it first",
        }),
    }
}

fn mounted_below(mounts: &str, folder: &Path) -> Option<PathBuf> {
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .find(|mount| mount.starts_with(folder) && mount != folder)
}

#[cfg(test)]
mod tests {
    use super::super::site::Settings;
    use super::*;

    #[test]
    fn a_mount_below_is_seen() {
        let mounts = "x /var/lib/marea/local/machines/w1/root overlay rw 0 0\ny /var/lib ext4 rw 0 0\n";
        assert!(mounted_below(mounts, Path::new("/var/lib/marea/local")).is_some());
        assert_eq!(mounted_below(mounts, Path::new("/var/lib/marea/local/machines/w2")), None);
        assert_eq!(mounted_below(mounts, Path::new("/var/lib/marea/local/machines/w")), None, "a name is not a prefix");
    }

    #[test]
    fn nothing_outside_is_removed_even_through_a_link() {
        let (state, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let site = Site::open(Settings::new(state.path())).unwrap();
        site.settle().unwrap();
        std::fs::write(outside.path().join("theirs"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), site.local().join("base-link")).unwrap();
        assert!(remove_below(&site, &site.local().join("base-link/theirs")).is_err());
        remove_below(&site, &site.local().join("base-link")).unwrap();
        assert!(outside.path().join("theirs").exists() && !site.local().join("base-link").exists());
    }
}
