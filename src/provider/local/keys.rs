//! Keys: the key that opens all machines, and the host keys by which they prove themselves. Both halves of a host key
//! are made here before the first boot, so that the very first connection is already checked strictly.

use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::error::{At as _, LocalError};
use super::site::Site;
use super::{lock, tool};

/// The private key that opens all machines; its public half is beside it, `.pub`.
pub(super) fn private_key(site: &Site) -> PathBuf {
    site.ssh().join("id")
}

/// The host keys that are trusted.
pub(super) fn known_hosts(site: &Site) -> PathBuf {
    site.ssh().join("known_hosts")
}

/// Says that the key was made by this provider, and so may be removed by it.
fn made_here(site: &Site) -> PathBuf {
    site.ssh().join("made-for-local-machines")
}

/// The public key that opens all machines, made if there is none.
pub(super) fn public_key(site: &Site) -> Result<String, LocalError> {
    let folder = site.ssh();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).at("make", &folder)?;
    let _lock = lock::take(&folder.join("lock"))?;
    let private = private_key(site);
    let public = private.with_extension("pub");
    if !public.is_file() {
        if private.is_file() {
            let text = tool::run("ssh-keygen", ["-y".as_ref(), "-f".as_ref(), private.as_os_str()])?;
            tool::write_whole(&public, &text, 0o644)?;
        } else {
            generate(&private, "marea")?;
            tool::write_whole(&made_here(site), "", 0o644)?;
        }
    }
    std::fs::read_to_string(&public).at("read", &public)
}

/// Makes a key pair without a pass phrase at `path` and `path`.pub.
pub(super) fn generate(path: &Path, comment: &str) -> Result<(), LocalError> {
    let flags = ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"];
    let args = flags.iter().map(std::ffi::OsStr::new).chain([path.as_os_str()]);
    tool::run("ssh-keygen", args).map(drop)
}

/// Trusts `key` (type and base64) for an address, and no other key for it.
pub(super) fn trust(site: &Site, address: Ipv4Addr, key: &str) -> Result<(), LocalError> {
    let words: Vec<&str> = key.split_whitespace().take(2).collect();
    edit(site, address, Some(format!("{address} {}\n", words.join(" "))))
}

/// Trusts no key for an address.
pub(super) fn forget(site: &Site, address: Ipv4Addr) -> Result<(), LocalError> {
    edit(site, address, None)
}

fn edit(site: &Site, address: Ipv4Addr, entry: Option<String>) -> Result<(), LocalError> {
    if !site.ssh().is_dir() {
        return Ok(());
    }
    let _lock = lock::take(&site.ssh().join("lock"))?;
    let path = known_hosts(site);
    let old = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.at("read", &path)?,
    };
    let ours = address.to_string();
    let others = old.lines().filter(|line| line.split_whitespace().next() != Some(&ours));
    let new = others.map(|line| format!("{line}\n")).chain(entry).collect::<String>();
    if new == old { Ok(()) } else { tool::write_whole(&path, &new, 0o644) }
}

/// Removes the key that was made here, and the folder when nobody else has anything in it.
pub(super) fn remove(site: &Site) -> Result<(), LocalError> {
    let folder = site.ssh();
    if !made_here(site).is_file() {
        return Ok(());
    }
    let known = known_hosts(site);
    let empty = std::fs::read_to_string(&known).is_ok_and(|text| text.trim().is_empty());
    let private = private_key(site);
    let mut gone = vec![private.with_extension("pub"), private];
    gone.extend(empty.then_some(known));
    gone.extend([folder.join("lock"), made_here(site)]);
    for path in gone {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).at("remove", &path);
            }
            _ => {}
        }
    }
    // Not empty means that somebody else keeps something there.
    let _ = std::fs::remove_dir(&folder);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::site::Settings;
    use super::*;

    fn site() -> (tempfile::TempDir, Site) {
        let state = tempfile::tempdir().unwrap();
        let site = Site::open(Settings::new(state.path())).unwrap();
        std::fs::create_dir(site.ssh()).unwrap();
        (state, site)
    }

    #[test]
    fn an_address_has_one_trusted_key_and_others_keep_theirs() {
        let (_state, site) = site();
        let address = |host| site.subnet.address(host);
        trust(&site, address(11), "ssh-ed25519 OLD w1").unwrap();
        trust(&site, address(1), "ssh-ed25519 OTHER x").unwrap();
        trust(&site, address(11), "ssh-ed25519 NEW w1").unwrap();
        let read = || std::fs::read_to_string(known_hosts(&site)).unwrap();
        assert_eq!(read(), "10.77.0.1 ssh-ed25519 OTHER\n10.77.0.11 ssh-ed25519 NEW\n");
        forget(&site, address(11)).unwrap();
        assert_eq!(read(), "10.77.0.1 ssh-ed25519 OTHER\n");
    }

    #[test]
    fn a_key_that_was_there_is_used_and_never_removed() {
        let (_state, site) = site();
        generate(&private_key(&site), "theirs").unwrap();
        let theirs = std::fs::read_to_string(private_key(&site)).unwrap();
        assert!(public_key(&site).unwrap().starts_with("ssh-ed25519 "));
        remove(&site).unwrap();
        assert_eq!(std::fs::read_to_string(private_key(&site)).unwrap(), theirs);
    }

    #[test]
    fn a_key_that_was_made_here_goes() {
        let (_state, site) = site();
        public_key(&site).unwrap();
        remove(&site).unwrap();
        assert!(!site.ssh().exists());
    }
}
