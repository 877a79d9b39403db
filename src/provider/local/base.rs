//! The base: one Debian root file system that all local machines have below their own changes. It is made once, cached
//! as a tar under the hash of what went into it, and never changed: another recipe makes another base beside it.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::{At as _, LocalError};
use super::site::Site;
use super::{lock, tool};

const SUITE: &str = "bookworm";

/// What a machine needs to boot, to be reached, and to become a node. Everything newer comes from recipes.
const PACKAGES: [&str; 24] = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "sudo",
    "openssh-server",
    "iproute2",
    "iputils-ping",
    "iptables",
    "nftables",
    "ebtables",
    "conntrack",
    "ethtool",
    "ipset",
    "kmod",
    "procps",
    "socat",
    "runc",
    "ca-certificates",
    "curl",
    "mount",
    "util-linux",
    "zstd",
    "less",
    // Ansible works on a machine through its Python.
    "python3",
];

/// Documentation and translations would be a third of the base, and nobody reads them there.
const LEFT_OUT: [&str; 3] = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];

/// Files laid into the base: path, mode, text.
const FILES: [(&str, u32, &str); 9] = [
    ("usr/local/sbin/marea-local", 0o755, include_str!("../../../recipes/local/marea-local")),
    ("usr/local/sbin/marea-pods", 0o755, include_str!("../../../recipes/local/marea-pods")),
    ("etc/systemd/system/marea-local.service", 0o644, include_str!("../../../recipes/local/marea-local.service")),
    ("etc/systemd/system/marea-pods.service", 0o644, include_str!("../../../recipes/local/marea-pods.service")),
    ("etc/systemd/system/containerd.service.d/marea-local.conf", 0o644, NEEDS_FITNESS),
    ("etc/systemd/system/kubelet.service.d/marea-local.conf", 0o644, NEEDS_FITNESS),
    ("etc/systemd/system.conf.d/marea.conf", 0o644, "[Manager]\nDefaultTimeoutStopSec=10s\n"),
    ("etc/ssh/sshd_config.d/marea.conf", 0o644, SSHD),
    // Every session reads it, and complains in the journal when it is not there.
    ("etc/default/locale", 0o644, "LANG=C.UTF-8\n"),
];
const NEEDS_FITNESS: &str = include_str!("../../../recipes/local/needs-marea-local.conf");
/// One key type, so that the one key that is known beforehand is the one that is offered; no names looked up in vain.
/// Many channels: a bootstrap opens several sessions over one connection.
const SSHD: &str =
    "HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\nPasswordAuthentication no\nMaxSessions 64\nMaxStartups 64\n";

/// Symbolic links laid into the base: path, target. `/dev/null` masks a unit: in a machine that lives for minutes
/// the timers are noise, and a wait for the network would hold up the boot for nothing.
const LINKS: [(&str, &str); 13] = [
    ("sysinit.target.wants/marea-local.service", "../marea-local.service"),
    ("multi-user.target.wants/marea-pods.service", "../marea-pods.service"),
    ("multi-user.target.wants/systemd-networkd.service", "/lib/systemd/system/systemd-networkd.service"),
    ("multi-user.target.wants/ssh.service", "/lib/systemd/system/ssh.service"),
    ("systemd-networkd-wait-online.service", "/dev/null"),
    ("apt-daily.timer", "/dev/null"),
    ("apt-daily-upgrade.timer", "/dev/null"),
    ("dpkg-db-backup.timer", "/dev/null"),
    ("e2scrub_all.timer", "/dev/null"),
    ("e2scrub_reap.service", "/dev/null"),
    ("fstrim.timer", "/dev/null"),
    ("nftables.service", "/dev/null"),
    ("console-getty.service", "/dev/null"),
];

/// What would make two machines the same one if it stayed in the base.
const TAKEN_OUT: [&str; 3] = ["etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname"];

fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()[..6].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Names the root file system as Debian gives it: suite and packages.
fn tar_name() -> String {
    let parts: Vec<&str> = [SUITE].into_iter().chain(PACKAGES).chain(LEFT_OUT).collect();
    format!("{SUITE}-{}.tar", hash(&parts))
}

/// Names the base: the tar and everything laid over it.
fn base_name() -> String {
    let tar = tar_name();
    let mut parts = vec![tar.as_str()];
    parts.extend(FILES.iter().flat_map(|(path, _, text)| [*path, *text]));
    parts.extend(LINKS.iter().flat_map(|(path, target)| [*path, *target]));
    format!("base-{}", hash(&parts))
}

/// Where the base is, once it is made.
pub(super) fn path(site: &Site) -> PathBuf {
    site.local().join(base_name())
}

/// Makes the base unless it is there. Whoever asks while another makes it waits for that one.
pub(super) fn ensure(site: &Site, progress: &dyn Fn(&str)) -> Result<PathBuf, LocalError> {
    let base = path(site);
    if base.is_dir() {
        return Ok(base);
    }
    tool::check()?;
    site.settle()?;
    let lock = lock::take(&site.local().join("base.lock"))?;
    if base.is_dir() {
        return Ok(base);
    }
    let tar = ensure_tar(site, progress)?;
    progress("unpacking the root file system");
    let new = base.with_extension("new");
    clear(&new)?;
    std::fs::create_dir(&new).at("make", &new)?;
    let unpacked = tool::run_holding(
        &lock,
        "tar",
        [Path::new("--numeric-owner"), "--xattrs".as_ref(), "-xpf".as_ref(), &tar, "-C".as_ref(), &new],
    );
    if let Err(error) = unpacked {
        // A tar that cannot be read would fail for ever; without it the next try makes it anew.
        std::fs::remove_file(&tar).at("remove", &tar)?;
        return Err(error);
    }
    prepare(&new)?;
    std::fs::rename(&new, &base).at("rename", &new)?;
    Ok(base)
}

fn clear(path: &Path) -> Result<(), LocalError> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at("remove", path),
        _ => Ok(()),
    }
}

/// Makes the tar unless it is in the cache. No mirror is named: mmdebstrap's own choice, or the site's proxy, holds.
fn ensure_tar(site: &Site, progress: &dyn Fn(&str)) -> Result<PathBuf, LocalError> {
    let tar = site.cache.join(tar_name());
    if tar.is_file() {
        return Ok(tar);
    }
    std::fs::create_dir_all(&site.cache).at("make", &site.cache)?;
    let lock = lock::take(&site.cache.join("lock"))?;
    if tar.is_file() {
        return Ok(tar);
    }
    progress("making a Debian root file system (once; about a minute)");
    let new = site.cache.join(format!("{}.new", tar_name()));
    let mut args = vec!["--mode=root".to_owned(), "--variant=minbase".to_owned(), "--format=tar".to_owned()];
    args.push("--aptopt=Acquire::Retries \"3\"".to_owned());
    args.extend(LEFT_OUT.iter().map(|glob| format!("--dpkgopt=path-exclude={glob}")));
    args.push(format!("--include={}", PACKAGES.join(",")));
    args.extend([SUITE.to_owned(), new.display().to_string()]);
    tool::run_holding(&lock, "mmdebstrap", &args)?;
    std::fs::File::open(&new).and_then(|file| file.sync_all()).at("sync", &new)?;
    std::fs::rename(&new, &tar).at("rename", &new)?;
    Ok(tar)
}

/// Turns Debian's root file system into one that boots as a machine of ours.
fn prepare(root: &Path) -> Result<(), LocalError> {
    for path in TAKEN_OUT {
        remove_if_there(&root.join(path))?;
    }
    let ssh = root.join("etc/ssh");
    for entry in std::fs::read_dir(&ssh).at("list", &ssh)? {
        let entry = entry.at("list", &ssh)?;
        if entry.file_name().to_string_lossy().starts_with("ssh_host_") {
            remove_if_there(&entry.path())?;
        }
    }
    // Empty means "not set yet"; without the file systemd would think that this is the first boot ever and ask.
    tool::write_whole(&root.join("etc/machine-id"), "", 0o444)?;
    for (path, mode, text) in FILES {
        let path = root.join(path);
        make_parent(&path)?;
        tool::write_whole(&path, text, mode)?;
    }
    for (path, target) in LINKS {
        let path = root.join("etc/systemd/system").join(path);
        make_parent(&path)?;
        remove_if_there(&path)?;
        symlink(target, &path).at("link", &path)?;
    }
    Ok(())
}

fn make_parent(path: &Path) -> Result<(), LocalError> {
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent).at("make", parent)
}

fn remove_if_there(path: &Path) -> Result<(), LocalError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at("remove", path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_makes_another_base() {
        assert_ne!(hash(&["a", "b"]), hash(&["a", "c"]));
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]), "the parts must not run into each other");
        assert_eq!(base_name(), base_name());
    }

    #[test]
    fn a_prepared_root_has_no_identity_and_boots_our_units() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("etc/ssh")).unwrap();
        std::fs::write(at("etc/ssh/ssh_host_rsa_key"), "secret").unwrap();
        std::fs::write(at("etc/machine-id"), "0123").unwrap();
        prepare(root.path()).unwrap();
        prepare(root.path()).expect("it can be done again");
        assert!(!at("etc/ssh/ssh_host_rsa_key").exists());
        assert_eq!(std::fs::read_to_string(at("etc/machine-id")).unwrap(), "");
        let wanted = at("etc/systemd/system/sysinit.target.wants/marea-local.service");
        assert!(std::fs::read_to_string(wanted).unwrap().contains("/usr/local/sbin/marea-local"));
    }
}
