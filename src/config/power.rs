//! The power of declared machines as the config says it: by which way each is switched on, off and seen, and what is
//! needed for that. What all machines have alike stands once, in `[ipmi]`, `[redfish]` and `[wol]`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{ConfigError, Loaded, MachineEntry, Millis, ProviderKind};
use crate::model::mac::Mac;

/// A way to switch or see a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Its BMC, by IPMI.
    Ipmi,
    /// Its BMC, by Redfish.
    Redfish,
    /// A magic packet.
    Wol,
    /// The machine itself.
    Ssh,
    /// Commands of the administrator.
    Command,
    /// A person.
    Hand,
}

/// `power = "ipmi"`, or `power = { on = "wol", off = "ssh", observe = "ipmi" }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ways {
    /// Powers on.
    pub on: Way,
    /// Asks for power off.
    pub off: Way,
    /// Cuts the power and cycles it.
    pub hard: Way,
    /// Sees the power.
    pub observe: Way,
}

impl Ways {
    /// What one word means.
    fn all(way: Way) -> Self {
        match way {
            Way::Ipmi | Way::Redfish | Way::Command => Self { on: way, off: way, hard: way, observe: way },
            Way::Wol => Self { on: Way::Wol, off: Way::Ssh, hard: Way::Hand, observe: Way::Ssh },
            // Always on, or switched by a person.
            Way::Ssh | Way::Hand => Self { on: Way::Hand, off: Way::Hand, hard: Way::Hand, observe: Way::Ssh },
        }
    }

    /// Each way that is used, once.
    fn used(self) -> Vec<Way> {
        let mut used: Vec<Way> = Vec::new();
        for way in [self.on, self.off, self.hard, self.observe] {
            if !used.contains(&way) {
                used.push(way);
            }
        }
        used
    }

    fn wrong(self) -> Option<&'static str> {
        if matches!(self.on, Way::Ssh) {
            return Some(
                "`on = \"ssh\"`: a machine that is off answers no SSH; use wol, ipmi, redfish, command or hand",
            );
        }
        if matches!(self.off, Way::Wol) || matches!(self.hard, Way::Wol) {
            return Some("a magic packet (`wol`) only powers on; use ssh, ipmi, redfish, command or hand to power off");
        }
        if matches!(self.hard, Way::Ssh) {
            return Some("`hard = \"ssh\"`: SSH cannot cut the power; use ipmi, redfish, command or hand");
        }
        if matches!(self.observe, Way::Wol | Way::Hand) {
            return Some("`observe` must be able to see the power: ipmi, redfish, ssh or command");
        }
        None
    }
}

impl<'de> Deserialize<'de> for Ways {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            on: Way,
            off: Way,
            hard: Option<Way>,
            observe: Way,
        }
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Ways;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "\"ipmi\", \"redfish\", \"wol\", \"ssh\" or \"command\", or { on = .., off = .., observe = .. }",
                )
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Ways, E> {
                Way::deserialize(serde::de::value::StrDeserializer::new(text)).map(Ways::all)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Ways, A::Error> {
                let table = Table::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                let Table { on, off, hard, observe } = table;
                let cuts = |way: &Way| matches!(way, Way::Ipmi | Way::Redfish | Way::Command);
                let hard = hard.or_else(|| [off, observe, on].into_iter().find(cuts)).unwrap_or(Way::Hand);
                Ok(Ways { on, off, hard, observe })
            }
        }
        let ways = deserializer.deserialize_any(Either)?;
        ways.wrong().map_or(Ok(ways), |reason| Err(serde::de::Error::custom(reason)))
    }
}

/// `[power]`: what holds for all of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Power {
    /// How often every machine's power is looked at.
    pub observe_every: Millis,
    /// Machines that are asked at once.
    pub at_once: usize,
    /// A machine that draws more than this is not off.
    pub standby_watts: u32,
    /// How long a machine may take from an order to power off until it is seen off.
    pub off_patience: Millis,
}

impl Default for Power {
    fn default() -> Self {
        Self { observe_every: Millis(30_000), at_once: 16, standby_watts: 25, off_patience: Millis(90_000) }
    }
}

/// `[ipmi]`, and `ipmi = { .. }` of a machine, which wins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ipmi {
    address: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    cipher: Option<u8>,
    timeout: Option<Millis>,
}

/// `[redfish]`, and `redfish = { .. }` of a machine, which wins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redfish {
    url: Option<String>,
    system: Option<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    ca: Option<PathBuf>,
    insecure: Option<bool>,
    timeout: Option<Millis>,
}

/// `[wol]`, and `wol = { .. }` of a machine, which wins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wol {
    mac: Option<String>,
    broadcast: Option<IpAddr>,
    port: Option<u16>,
    from: Option<IpAddr>,
    secure_on_file: Option<PathBuf>,
    secure_on_env: Option<String>,
}

/// Where a password is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// In the first line of a file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
}

/// A machine's IPMI, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the config")]
pub struct IpmiAt {
    pub address: String,
    pub port: u16,
    pub user: String,
    pub password: Kept,
    pub cipher: u8,
    pub timeout_ms: i64,
}

/// A machine's Redfish, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the config")]
pub struct RedfishAt {
    pub url: String,
    pub system: Option<String>,
    pub user: String,
    pub password: Kept,
    pub ca: Option<PathBuf>,
    pub insecure: bool,
    pub timeout_ms: i64,
}

/// A machine's magic packet, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the config")]
pub struct WolAt {
    pub mac: Mac,
    pub broadcast: IpAddr,
    pub port: u16,
    pub from: Option<IpAddr>,
    pub secure_on: Option<Kept>,
}

/// How one machine is switched and seen, whole.
#[derive(Debug, Clone)]
pub struct Metal<'a> {
    /// The machine.
    pub entry: &'a MachineEntry,
    /// By which ways.
    pub ways: Ways,
    /// Its IPMI, where it has one.
    pub ipmi: Option<IpmiAt>,
    /// Its Redfish, where it has one.
    pub redfish: Option<RedfishAt>,
    /// Its magic packet, where it has one.
    pub wol: Option<WolAt>,
}

impl Loaded {
    /// True when the machines are switched by ways that are joined, and not by commands alone.
    pub fn is_joined(&self) -> bool {
        match self.config.provider {
            ProviderKind::Ipmi | ProviderKind::Redfish | ProviderKind::Wol | ProviderKind::Ssh => true,
            ProviderKind::Command => self.config.machines.iter().any(|m| m.power.is_some()),
            ProviderKind::Local | ProviderKind::Im => false,
        }
    }

    /// The machines that only a person can switch.
    pub(super) fn by_hand(&self) -> Result<BTreeSet<String>, ConfigError> {
        if !self.is_joined() {
            return Ok(BTreeSet::new());
        }
        let hand = |metal: &Metal<'_>| metal.ways.on == Way::Hand || metal.ways.off == Way::Hand;
        let metal = self.metal()?;
        Ok(metal.iter().filter(|metal| hand(metal)).map(|metal| metal.entry.name.get_ref().clone()).collect())
    }

    /// How each declared machine is switched and seen. Two machines behind one BMC or card are an error: one of them
    /// would be switched in place of the other.
    pub fn metal(&self) -> Result<Vec<Metal<'_>>, ConfigError> {
        let usual = match self.config.provider {
            ProviderKind::Ipmi => Way::Ipmi,
            ProviderKind::Redfish => Way::Redfish,
            ProviderKind::Wol => Way::Wol,
            ProviderKind::Ssh => Way::Ssh,
            ProviderKind::Command | ProviderKind::Local | ProviderKind::Im => Way::Command,
        };
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        let mut all = Vec::new();
        for entry in &self.config.machines {
            let ways = entry.power.as_ref().map_or(Ways::all(usual), |ways| *ways.get_ref());
            let wrong = |message: String| {
                let span = entry.power.as_ref().map_or_else(|| entry.name.span(), Spanned::span);
                self.error(span, format!("machine `{}`: {message}", entry.name.get_ref()))
            };
            let used = ways.used();
            let metal = Metal {
                entry,
                ways,
                ipmi: used.contains(&Way::Ipmi).then(|| self.ipmi(entry)).transpose().map_err(&wrong)?,
                redfish: used.contains(&Way::Redfish).then(|| self.redfish(entry)).transpose().map_err(&wrong)?,
                wol: used.contains(&Way::Wol).then(|| self.wol(entry)).transpose().map_err(&wrong)?,
            };
            if used.contains(&Way::Command) && (entry.on.is_empty() || entry.off.is_empty() || entry.status.is_empty())
            {
                return Err(wrong(
                    "`command` needs on, off and status, each [\"program\", \"argument\", ...]".to_owned(),
                ));
            }
            for key in metal.keys() {
                if let Some(other) = taken.insert(key.clone(), entry.name.get_ref()) {
                    return Err(wrong(format!(
                        "{key} is `{other}`'s already; whoever switched one would switch the other"
                    )));
                }
            }
            all.push(metal);
        }
        Ok(all)
    }

    fn ipmi(&self, entry: &MachineEntry) -> Result<IpmiAt, String> {
        let all = &self.config.ipmi;
        if all.address.is_some() {
            return Err("[ipmi] is for all machines and cannot have an `address`: each has its own BMC".to_owned());
        }
        let own = entry.ipmi.clone().unwrap_or_default();
        let address = own.address.ok_or_else(|| missing("ipmi", "ipmi = { address = \"10.0.1.11\" }"))?;
        let user = own.user.or_else(|| all.user.clone()).ok_or("IPMI needs a `user`, here or in [ipmi]")?;
        let kept = kept(own.password_file, own.password_env)?;
        let password =
            kept.map_or_else(|| self::kept(all.password_file.clone(), all.password_env.clone()), |k| Ok(Some(k)))?;
        let password = password.ok_or("IPMI needs `password_file` or `password_env`, here or in [ipmi]")?;
        Ok(IpmiAt {
            address,
            port: own.port.or(all.port).unwrap_or(623),
            user,
            password,
            cipher: own.cipher.or(all.cipher).unwrap_or(17),
            timeout_ms: own.timeout.or(all.timeout).map_or(10_000, |t| t.0),
        })
    }

    fn redfish(&self, entry: &MachineEntry) -> Result<RedfishAt, String> {
        let all = &self.config.redfish;
        if all.url.is_some() || all.system.is_some() {
            return Err(
                "[redfish] is for all machines and cannot have a `url` or `system`: each has its own".to_owned()
            );
        }
        let own = entry.redfish.clone().unwrap_or_default();
        let url = own.url.ok_or_else(|| missing("redfish", "redfish = { url = \"https://10.0.1.11\" }"))?;
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(format!("redfish url `{url}` must begin with https:// (or http://)"));
        }
        let user = own.user.or_else(|| all.user.clone()).ok_or("Redfish needs a `user`, here or in [redfish]")?;
        let kept = kept(own.password_file, own.password_env)?;
        let password =
            kept.map_or_else(|| self::kept(all.password_file.clone(), all.password_env.clone()), |k| Ok(Some(k)))?;
        let password = password.ok_or("Redfish needs `password_file` or `password_env`, here or in [redfish]")?;
        Ok(RedfishAt {
            url: url.trim_end_matches('/').to_owned(),
            system: own.system,
            user,
            password,
            ca: own.ca.or_else(|| all.ca.clone()),
            insecure: own.insecure.or(all.insecure).unwrap_or(false),
            timeout_ms: own.timeout.or(all.timeout).map_or(10_000, |t| t.0),
        })
    }

    fn wol(&self, entry: &MachineEntry) -> Result<WolAt, String> {
        let all = &self.config.wol;
        if all.mac.is_some() {
            return Err("[wol] is for all machines and cannot have a `mac`: each has its own".to_owned());
        }
        let own = entry.wol.clone().unwrap_or_default();
        let mac = own.mac.ok_or_else(|| missing("wol", "wol = { mac = \"52:54:00:12:34:56\" }"))?;
        let secure_on = kept(own.secure_on_file, own.secure_on_env)?;
        let secure_on =
            secure_on.map_or_else(|| kept(all.secure_on_file.clone(), all.secure_on_env.clone()), |k| Ok(Some(k)))?;
        Ok(WolAt {
            mac: mac.parse()?,
            broadcast: own.broadcast.or(all.broadcast).unwrap_or(IpAddr::from([255, 255, 255, 255])),
            port: own.port.or(all.port).unwrap_or(9),
            from: own.from.or(all.from),
            secure_on,
        })
    }
}

impl Metal<'_> {
    /// What no two machines may share.
    fn keys(&self) -> Vec<String> {
        let ipmi = self.ipmi.as_ref().map(|i| format!("the BMC {}:{}", i.address, i.port));
        let redfish = self.redfish.as_ref().map(|r| {
            let system = r.system.as_deref().map(|s| format!(" {s}")).unwrap_or_default();
            format!("the BMC {}{system}", r.url)
        });
        let wol = self.wol.as_ref().map(|w| {
            let bytes: Vec<String> = w.mac.0.iter().map(|b| format!("{b:02x}")).collect();
            format!("the network card {}", bytes.join(":"))
        });
        [ipmi, redfish, wol].into_iter().flatten().collect()
    }
}

fn missing(way: &str, example: &str) -> String {
    format!("it is powered by {way}, so it needs {example}; a machine that a person switches has power = \"ssh\"")
}

fn kept(file: Option<PathBuf>, variable: Option<String>) -> Result<Option<Kept>, String> {
    match (file, variable) {
        (Some(_), Some(_)) => Err("a secret is in a file or in a variable, not in both".to_owned()),
        (Some(file), None) => Ok(Some(Kept::File(file))),
        (None, Some(variable)) => Ok(Some(Kept::Variable(variable))),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Loaded, ConfigError> {
        Loaded::parse("m.toml", text)
    }

    fn machine(name: &str, rest: &str) -> String {
        format!("[[machine]]\nname = \"{name}\"\npool = \"wn\"\naddress = \"h-{name}\"\n{rest}\n")
    }

    const BMCS: &str = "provider = \"ipmi\"\n[ipmi]\nuser = \"admin\"\npassword_env = \"P\"\n";

    #[test]
    fn what_all_have_alike_stands_once_and_a_machines_own_word_wins() {
        let text = BMCS.to_owned()
            + &machine("a", "ipmi = { address = \"b1\" }")
            + &machine("b", "ipmi = { address = \"b2\", user = \"root\", password_file = \"/p\", cipher = 3 }");
        let loaded = read(&text).unwrap();
        let metal = loaded.metal().unwrap();
        let (a, b) = (metal[0].ipmi.clone().unwrap(), metal[1].ipmi.clone().unwrap());
        assert_eq!((a.user.as_str(), a.cipher, a.password), ("admin", 17, Kept::Variable("P".to_owned())));
        assert_eq!((b.user.as_str(), b.cipher, b.password), ("root", 3, Kept::File("/p".into())));
    }

    #[test]
    fn ways_are_joined_and_the_power_is_cut_by_whoever_can() {
        let own = "power = { on = \"wol\", off = \"ssh\", observe = \"ipmi\" }\nipmi = { address = \"b\" }\nwol = { mac = \"52:54:00:00:00:01\" }";
        let loaded = read(&(BMCS.to_owned() + &machine("a", own))).unwrap();
        let metal = &loaded.metal().unwrap()[0];
        let Ways { on, off, hard, observe } = metal.ways;
        assert_eq!((on, off, hard, observe), (Way::Wol, Way::Ssh, Way::Ipmi, Way::Ipmi));
        assert!(metal.redfish.is_none() && metal.wol.is_some());
    }

    #[test]
    fn what_cannot_be_is_an_error_with_its_line() {
        for (own, word) in [
            ("", "ipmi = { address"),
            ("power = \"ipmy\"", "ipmy"),
            ("power = { on = \"wol\" }", "missing field `off`"),
            ("power = { on = \"wol\", off = \"ssh\", observe = \"ssh\", onn = 1 }", "onn"),
            ("power = { on = \"ssh\", off = \"ssh\", observe = \"ssh\" }", "answers no SSH"),
            ("power = { on = \"ipmi\", off = \"wol\", observe = \"ipmi\" }", "only powers on"),
            ("power = { on = \"ipmi\", off = \"ipmi\", observe = \"wol\" }", "must be able to see"),
            ("power = \"wol\"", "wol = { mac"),
            ("power = \"wol\"\nwol = { mac = \"52:54\" }", "no address of a network card"),
            ("power = \"redfish\"\nredfish = { url = \"10.0.0.1\" }", "must begin with https://"),
            ("power = \"redfish\"\nredfish = { url = \"https://b\", user = \"u\" }", "password_file"),
            ("power = \"command\"", "on, off and status"),
            ("ipmi = { address = \"b\", password_file = \"/p\", password_env = \"P\" }", "not in both"),
        ] {
            let text = BMCS.to_owned() + &machine("a", own);
            let error = read(&text).and_then(|loaded| loaded.metal().map(drop)).unwrap_err();
            assert!(error.message.contains(word) && error.line >= 5, "{own}: {error}");
        }
    }

    #[test]
    fn two_machines_behind_one_bmc_or_card_are_refused() {
        let same = "ipmi = { address = \"b1\" }";
        let error = read(&(BMCS.to_owned() + &machine("a", same) + &machine("b", same))).unwrap().metal().unwrap_err();
        assert!(error.to_string().contains("BMC b1:623 is `a`'s already"), "{error}");
        let same = "power = \"wol\"\nwol = { mac = \"52:54:00:00:00:01\" }";
        let error = read(&(BMCS.to_owned() + &machine("a", same) + &machine("b", same))).unwrap().metal().unwrap_err();
        assert!(error.to_string().contains("card 52:54:00:00:00:01 is `a`'s already"), "{error}");
    }
}
