//! A site: where the local machines of one state folder live. Its scope names everything outside that folder that is
//! made for them (bridge, links, cgroups), so two sites with two scopes never meet.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::{At as _, LocalError};
use super::{lock, tool};

/// How a site is opened.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The state folder; machines live in `local/` below it.
    pub state: PathBuf,
    /// 1 to 8 lower-case letters or digits, a letter first. The bridge is `<scope>0`, the cgroup `<scope>-local`.
    pub scope: String,
    /// A private network `A.B.C.0/24`; this computer is `A.B.C.1` in it.
    pub subnet: String,
    /// Where root file systems are kept between sites.
    pub cache: PathBuf,
}

impl Settings {
    /// The usual scope, subnet and cache for a state folder.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            state: state.into(),
            scope: "marea".to_owned(),
            subnet: "10.77.0.0/24".to_owned(),
            cache: PathBuf::from("/var/cache/marea/base"),
        }
    }
}

/// A private network of 254 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet([u8; 3]);

impl Subnet {
    /// The address of host number `host`.
    pub(super) fn address(self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.0;
        Ipv4Addr::new(a, b, c, host)
    }

    /// The number of a machine's address in this network; none for outside addresses, the network, us, and broadcast.
    pub(super) fn host(self, address: Ipv4Addr) -> Option<u8> {
        let [a, b, c, host] = address.octets();
        ([a, b, c] == self.0 && (2..255).contains(&host)).then_some(host)
    }
}

impl FromStr for Subnet {
    type Err = LocalError;

    fn from_str(text: &str) -> Result<Self, LocalError> {
        let wrong = || LocalError::Input(format!("subnet `{text}` must be a private network such as 10.77.0.0/24"));
        let (network, length) = text.split_once('/').ok_or_else(wrong)?;
        let network: Ipv4Addr = network.parse().map_err(|_| wrong())?;
        let [a, b, c, host] = network.octets();
        if length == "24" && host == 0 && network.is_private() { Ok(Self([a, b, c])) } else { Err(wrong()) }
    }
}

/// A site that was opened: paths and names, all derived, none chosen twice.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) state: PathBuf,
    pub(super) scope: String,
    pub(super) subnet: Subnet,
    pub(super) cache: PathBuf,
}

/// What is written in `local/site.json`: it marks the folder as ours.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    scope: String,
    subnet: String,
}

impl Site {
    /// Checks the settings, and that the folder is ours or is not there.
    pub(super) fn open(settings: Settings) -> Result<Self, LocalError> {
        let Settings { state, scope, subnet, cache } = settings;
        let letters = scope.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !letters || !scope.starts_with(|c: char| c.is_ascii_lowercase()) || scope.len() > 8 {
            let rule = "1 to 8 lower-case letters or digits, a letter first";
            return Err(LocalError::Input(format!("scope `{scope}` must be {rule}")));
        }
        let state = std::path::absolute(&state).at("resolve", &state)?;
        // These go into mount options and nspawn arguments, where `:` and `,` mean something.
        if state.to_string_lossy().contains([':', ',', '\\', '\n', ' ']) {
            return Err(LocalError::Input(format!(
                "state folder {} must not contain `:`, `,`, `\\` or spaces",
                state.display()
            )));
        }
        let site = Self { state, scope, subnet: subnet.parse()?, cache };
        site.read_mark()?;
        Ok(site)
    }

    fn read_mark(&self) -> Result<bool, LocalError> {
        let path = self.local().join("site.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return self.refuse_strange_folder().map(|()| false);
            }
            Err(e) => return Err(e).at("read", &path),
        };
        let used = |by: String| LocalError::AlreadyUsed {
            what: self.local().display().to_string(),
            by,
            hint: "choose another --state, or the scope and subnet that it was made with",
        };
        let mark: Mark = serde_json::from_str(&text).map_err(|_| used("something else".to_owned()))?;
        if mark == self.mark() {
            Ok(true)
        } else {
            Err(used(format!("local machines of scope `{}` in {}", mark.scope, mark.subnet)))
        }
    }

    fn refuse_strange_folder(&self) -> Result<(), LocalError> {
        let Ok(entries) = std::fs::read_dir(self.local()) else {
            return Ok(());
        };
        // A mark that was being written when its writer was killed is ours too.
        if entries.flatten().all(|entry| ["site.json.new", "site.lock"].iter().any(|ours| entry.file_name() == *ours)) {
            return Ok(());
        }
        Err(LocalError::AlreadyUsed {
            what: self.local().display().to_string(),
            by: "something else (it has no site.json of ours)".to_owned(),
            hint: "choose another --state, or empty that folder",
        })
    }

    fn mark(&self) -> Mark {
        Mark { scope: self.scope.clone(), subnet: format!("{}/24", self.subnet.address(0)) }
    }

    /// Makes the folders and marks them as ours.
    pub(super) fn settle(&self) -> Result<(), LocalError> {
        if !self.read_mark()? {
            std::fs::create_dir_all(self.local()).at("make", self.local())?;
            let _lock = lock::take(&self.local().join("site.lock"))?;
            let text = serde_json::to_string(&self.mark()).map_err(|e| LocalError::Broken(e.to_string()))?;
            tool::write_whole(&self.local().join("site.json"), &text, 0o644)?;
        }
        std::fs::create_dir_all(self.machines()).at("make", self.machines())
    }

    /// The folder of everything of this provider.
    pub(super) fn local(&self) -> PathBuf {
        self.state.join("local")
    }

    /// The folder of all machines.
    pub(super) fn machines(&self) -> PathBuf {
        self.local().join("machines")
    }

    /// The folder of one machine.
    pub(super) fn machine(&self, name: &str) -> PathBuf {
        self.machines().join(name)
    }

    /// The folder of SSH keys, shared with what connects to the machines.
    pub(super) fn ssh(&self) -> PathBuf {
        self.state.join("ssh")
    }

    /// The name of the bridge.
    pub(super) fn bridge(&self) -> String {
        format!("{}0", self.scope)
    }

    /// The name of the cgroup above those of the machines.
    pub(super) fn group(&self) -> String {
        format!("{}-local", self.scope)
    }

    /// What systemd-nspawn calls a machine: short enough that its link, `vb-` before it, fits in 15 characters.
    pub(super) fn container(&self, host: u8) -> String {
        format!("{}-{host}", self.scope)
    }

    /// The outer end of a machine's link.
    pub(super) fn link(&self, host: u8) -> String {
        format!("vb-{}", self.container(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links_always_fit() {
        let settings = Settings { scope: "abcdefgh".to_owned(), ..Settings::new("/nowhere/marea") };
        let site = Site::open(settings).unwrap();
        assert!(site.link(254).len() <= 15 && site.bridge().len() <= 15);
    }

    #[test]
    fn bad_settings_are_refused() {
        for scope in ["", "Marea", "0marea", "ma/rea", "abcdefghi", "..", "ma rea"] {
            let settings = Settings { scope: scope.to_owned(), ..Settings::new("/nowhere/marea") };
            assert!(Site::open(settings).is_err(), "{scope}");
        }
        for subnet in ["10.77.0.0", "10.77.0.0/16", "10.77.0.1/24", "8.8.8.0/24", "x/24"] {
            assert!(subnet.parse::<Subnet>().is_err(), "{subnet}");
        }
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir(state.path().join("local")).unwrap();
        std::fs::write(state.path().join("local/theirs"), "").unwrap();
        let error = Site::open(Settings::new(state.path())).unwrap_err().to_string();
        assert!(error.contains("already used by"), "{error}");
    }

    #[test]
    fn a_site_is_opened_again_only_with_its_own_scope() {
        let state = tempfile::tempdir().unwrap();
        Site::open(Settings::new(state.path())).unwrap().settle().unwrap();
        Site::open(Settings::new(state.path())).unwrap();
        let other = Settings { scope: "other".to_owned(), ..Settings::new(state.path()) };
        assert!(matches!(Site::open(other), Err(LocalError::AlreadyUsed { .. })));
    }

    #[test]
    fn only_addresses_of_machines_have_a_number() {
        let subnet: Subnet = "10.77.0.0/24".parse().unwrap();
        let number = |text: &str| subnet.host(text.parse().unwrap());
        assert_eq!(number("10.77.0.11"), Some(11));
        assert_eq!([number("10.77.0.1"), number("10.77.0.255"), number("10.78.0.11"), number("10.77.0.0")], [None; 4]);
    }
}
