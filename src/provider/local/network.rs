//! The network of a site: one bridge, on which this computer is host 1, and a link from it into each machine that is
//! on. The bridge carries an alias that names its owner: links without it are never touched.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::{At as _, LocalError};
use super::site::Site;
use super::tool;

fn sys(link: &str) -> PathBuf {
    Path::new("/sys/class/net").join(link)
}

fn alias(site: &Site) -> String {
    // The kernel takes 255 characters; what is cut off only makes two owners look alike.
    format!("marea local machines of {}", site.state.display()).chars().take(250).collect()
}

/// Who owns the bridge, when it exists.
fn owner(site: &Site) -> Result<Option<String>, LocalError> {
    let path = sys(&site.bridge()).join("ifalias");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).at("read", &path),
    }
}

/// Makes the bridge, or proves that the one that is there is ours.
pub(super) fn ensure(site: &Site) -> Result<(), LocalError> {
    let bridge = site.bridge();
    match owner(site)? {
        None => {
            refuse_used_subnet(site)?;
            tool::run("ip", ["link", "add", &bridge, "alias", &alias(site), "type", "bridge"])?;
        }
        Some(owner) if owner == alias(site) => {}
        Some(owner) => {
            return Err(LocalError::AlreadyUsed {
                what: format!("the network link `{bridge}`"),
                by: if owner.is_empty() { "something else".to_owned() } else { format!("\"{owner}\"") },
                hint: "remove it, or choose another scope",
            });
        }
    }
    // Repeated each time: whoever made the link may have been killed before these.
    let address = format!("{}/24", site.subnet.address(1));
    tool::run("ip", ["addr", "replace", &address, "dev", &bridge])?;
    tool::run("ip", ["link", "set", &bridge, "up"])?;
    // Pods on different machines meet through iptables; a machine cannot load the module for that by itself.
    if !Path::new("/proc/sys/net/bridge").exists() && tool::run("modprobe", ["br_netfilter"]).is_err() {
        tracing::warn!("the module br_netfilter cannot be loaded: Kubernetes services may not work on local machines");
    }
    Ok(())
}

/// Refuses a network that this computer has an address or a route in.
fn refuse_used_subnet(site: &Site) -> Result<(), LocalError> {
    let text = tool::run("ip", ["-json", "-4", "route", "show", "table", "all"])?;
    let routes: Vec<Value> = serde_json::from_str(&text).map_err(|e| LocalError::Broken(format!("`ip -json route`: {e}")))?;
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
    let (Ok(network), Ok(length)) = (network.parse::<Ipv4Addr>(), length.parse::<u32>()) else { return false };
    let shared = length.min(24);
    let mask = u32::MAX.checked_shl(32 - shared).unwrap_or(0);
    shared > 0 && u32::from(network) & mask == u32::from(site.subnet.address(0)) & mask
}

/// Removes the link of a machine that is off, if the kernel has not yet done it.
pub(super) fn remove_link(site: &Site, host: u8) -> Result<(), LocalError> {
    let link = site.link(host);
    let Ok(master) = std::fs::read_link(sys(&link).join("master")) else { return Ok(()) };
    if !master.ends_with(site.bridge()) {
        return Ok(());
    }
    match tool::run("ip", ["link", "del", &link]) {
        Err(error) if sys(&link).exists() => Err(error),
        _ => Ok(()),
    }
}

/// Removes the bridge if it is ours.
pub(super) fn remove(site: &Site) -> Result<(), LocalError> {
    if owner(site)? != Some(alias(site)) {
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
