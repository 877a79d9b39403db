//! The files of a local machine: its own changes over the base (`up`), which make it this machine and no other, and the
//! folders that need a real file system below them (`data`).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::{At as _, LocalError};
use super::site::Site;
use super::spec::Record;
use super::{keys, tool};

/// Shown inside from a real file system: an overlay cannot lie on an overlay, and etcd wants a disk.
pub(super) const DATA: [&str; 3] = ["containerd", "kubelet", "etcd"];

/// Makes one machine beside its place and moves it there when it is whole.
pub(super) fn make(
    site: &Site,
    record: &Record,
    hosts: &BTreeMap<&str, Ipv4Addr>,
    public: &str,
) -> Result<(), LocalError> {
    let spec = &record.spec;
    let new = site.machine(&format!(".{}.new", spec.name));
    if new.exists() {
        std::fs::remove_dir_all(&new).at("remove", &new)?;
    }
    for folder in ["up/etc/ssh", "up/etc/systemd/network", "up/etc/marea", "up/root/.ssh", "work", "root"] {
        folders(&new, folder)?;
    }
    for data in DATA {
        folders(&new, &format!("data/{data}"))?;
    }
    let up = new.join("up");
    for private in ["root", "root/.ssh"] {
        let path = up.join(private);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).at("set the mode of", &path)?;
    }
    keys::generate(&up.join("etc/ssh/ssh_host_ed25519_key"), &spec.name)?;
    let random = Path::new("/proc/sys/kernel/random/uuid");
    let id = std::fs::read_to_string(random).at("read", random)?.replace('-', "");
    let us = site.subnet.address(1);
    let network = format!(
        "[Match]\nName=host0\nVirtualization=container\n\n[Network]\nAddress={}/24\nGateway={us}\n\
         LinkLocalAddressing=no\nIPv6AcceptRA=no\nLLDP=no\n",
        spec.address
    );
    let names: Vec<String> = hosts.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
    for (path, mode, text) in [
        ("etc/hostname", 0o644, format!("{}\n", spec.name)),
        ("etc/machine-id", 0o444, id),
        ("etc/hosts", 0o644, format!("127.0.0.1 localhost\n{}", names.concat())),
        ("etc/resolv.conf", 0o644, format!("nameserver {us}\n")),
        ("etc/systemd/network/10-host0.network", 0o644, network),
        ("root/.ssh/authorized_keys", 0o600, public.to_owned()),
    ] {
        tool::write_whole(&up.join(path), &text, mode)?;
    }
    write_size(&new, record)?;
    let place = site.machine(&spec.name);
    std::fs::rename(&new, &place).at("move to its place", &place)
}

/// Writes what the machine is: for us, and for itself at its next boot.
pub(super) fn write_size(folder: &Path, record: &Record) -> Result<(), LocalError> {
    let text = serde_json::to_string_pretty(record).map_err(|e| LocalError::Broken(e.to_string()))?;
    let size = format!("CPUS={}\nMEM_KB={}\n", record.spec.cpus, record.spec.memory >> 10);
    tool::write_whole(&folder.join("up/etc/marea/machine"), &size, 0o644)?;
    tool::write_whole(&folder.join("machine.json"), &text, 0o644)
}

/// Makes the folders of a path one by one with the mode that Debian gives them, whatever the umask says: the
/// machine's `/` and `/etc` take theirs from here.
fn folders(top: &Path, path: &str) -> Result<(), LocalError> {
    let mut at = top.to_path_buf();
    std::fs::create_dir_all(&at).at("make", &at)?;
    for part in Path::new(path) {
        at.push(part);
        if !at.is_dir() {
            std::fs::create_dir(&at).at("make", &at)?;
            std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o755)).at("set the mode of", &at)?;
        }
    }
    Ok(())
}
