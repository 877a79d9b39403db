//! The network of a site: one bridge, on which this computer is host 1, and a link from it into each machine that is
//! on. The bridge's hardware address is made from the state folder's path and set as the bridge is made, so that not even
//! a crash leaves one whose owner is unknown. A bridge with another address is somebody else's and never touched.

use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::error::{At as _, LocalError};
use super::site::Site;
use super::tool;

fn sys(link: &str) -> PathBuf {
    Path::new("/sys/class/net").join(link)
}

/// The hardware address of a site's bridge: a locally administered one, the same for the same state folder.
fn mark(site: &Site) -> String {
    let hash = Sha256::digest(site.state.as_os_str().as_bytes());
    let bytes: Vec<String> = [2].iter().chain(&hash[..5]).map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

fn attribute(site: &Site, name: &str) -> Result<Option<String>, LocalError> {
    let path = sys(&site.bridge()).join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).at("read", &path),
    }
}

/// Makes the bridge, or proves that the one that is there is ours.
pub(super) fn ensure(site: &Site) -> Result<(), LocalError> {
    let bridge = site.bridge();
    let mark = mark(site);
    match attribute(site, "address")? {
        None => {
            refuse_used_subnet(site)?;
            let made = tool::run("ip", ["link", "add", &bridge, "address", &mark, "type", "bridge"]);
            // Machines are powered on side by side: the one that came second finds the bridge of the first.
            if attribute(site, "address")? != Some(mark) {
                return made.and_then(|_| Err(used(site)));
            }
        }
        Some(address) if address == mark => {}
        Some(_) => return Err(used(site)),
    }
    // Repeated each time: whoever made the link may have been killed before these.
    let address = format!("{}/24", site.subnet.address(1));
    // Whose it is, for people; the kernel takes 255 characters.
    let alias: String = format!("marea local machines of {}", site.state.display()).chars().take(200).collect();
    tool::run("ip", ["link", "set", &bridge, "alias", &alias])?;
    tool::run("ip", ["addr", "replace", &address, "dev", &bridge])?;
    tool::run("ip", ["link", "set", &bridge, "up"])?;
    // Pods on different machines meet through iptables; a machine cannot load the module for that by itself.
    if !Path::new("/proc/sys/net/bridge").exists() && tool::run("modprobe", ["br_netfilter"]).is_err() {
        tracing::warn!("the module br_netfilter cannot be loaded: Kubernetes services may not work on local machines");
    }
    Ok(())
}

fn used(site: &Site) -> LocalError {
    let owner = attribute(site, "ifalias").ok().flatten().filter(|alias| !alias.is_empty());
    LocalError::AlreadyUsed {
        what: format!("the network link `{}`", site.bridge()),
        by: owner.map_or_else(|| "something else".to_owned(), |alias| format!("\"{alias}\"")),
        hint: "remove it, or choose another scope",
    }
}

/// Refuses a network that this computer has an address or a route in.
fn refuse_used_subnet(site: &Site) -> Result<(), LocalError> {
    let text = tool::run("ip", ["-json", "-4", "route", "show", "table", "all"])?;
    let routes: Vec<Value> =
        serde_json::from_str(&text).map_err(|e| LocalError::Broken(format!("`ip -json route`: {e}")))?;
    for route in routes {
        let word = |key: &str| route.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        if meets(site, &word("dst")) {
            return Err(LocalError::AlreadyUsed {
                what: format!("the network {}/24", site.subnet.address(0)),
                by: format!("`{}` (route to {})", word("dev"), word("dst")),
                hint: "choose another subnet",
            });
        }
    }
    Ok(())
}

/// Whether a route's destination and the site's network share an address. The default route is everybody's.
fn meets(site: &Site, destination: &str) -> bool {
    let (network, length) = destination.split_once('/').unwrap_or((destination, "32"));
    let (Ok(network), Ok(length)) = (network.parse::<Ipv4Addr>(), length.parse::<u32>()) else {
        return false;
    };
    let shared = length.min(24);
    let mask = u32::MAX.checked_shl(32 - shared).unwrap_or(0);
    shared > 0 && u32::from(network) & mask == u32::from(site.subnet.address(0)) & mask
}

/// Removes the link of a machine that is off, if the kernel has not yet done it.
pub(super) fn remove_link(site: &Site, host: u8) -> Result<(), LocalError> {
    let link = site.link(host);
    let Ok(master) = std::fs::read_link(sys(&link).join("master")) else {
        return Ok(());
    };
    if !master.ends_with(site.bridge()) {
        return Ok(());
    }
    match tool::run("ip", ["link", "del", &link]) {
        Err(error) if sys(&link).exists() => Err(error),
        _ => Ok(()),
    }
}

/// Whether somebody else has the bridge.
pub(super) fn is_strange(site: &Site) -> Result<bool, LocalError> {
    Ok(attribute(site, "address")?.is_some_and(|address| address != mark(site)))
}

/// Removes the bridge if it is ours.
pub(super) fn remove(site: &Site) -> Result<(), LocalError> {
    if attribute(site, "address")? != Some(mark(site)) {
        return Ok(());
    }
    tool::run("ip", ["link", "del", &site.bridge()]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::site::Settings;
    use super::*;

    #[test]
    fn a_route_into_the_network_is_seen_and_the_default_route_is_not() {
        let site = Site::open(Settings::new("/nowhere/marea")).unwrap();
        for inside in ["10.77.0.0/24", "10.77.0.5", "10.0.0.0/8", "10.77.0.128/25"] {
            assert!(meets(&site, inside), "{inside}");
        }
        for outside in ["default", "0.0.0.0/0", "10.78.0.0/16", "10.77.1.0/24", "192.168.0.0/16", ""] {
            assert!(!meets(&site, outside), "{outside}");
        }
    }
}
