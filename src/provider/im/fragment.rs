//! Fragments: the RADL by which one machine of a pool is added to an infrastructure. Its name is chosen by us and
//! stands in it, so that whoever looks later knows which machine it is, also after an answer that was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Span;
use crate::radl::syntax::{Aspect, AspectKind, Body, Comparator, Document, Feature, Name, Sentence, Text, Value};

/// The property that holds a machine's name.
const NAME: &str = "net_interface.0.dns_name";
/// The property that says which system a system is made after.
const CLASS: &str = "ec3_class";
/// The property that says from which image a machine is made.
const IMAGE: &str = "disk.0.image.url";
/// Where the name goes.
const PLACE: &str = "@NAME@";

/// How machines of one pool are added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragment {
    /// The RADL, with a place for the name.
    pub radl: String,
    /// The document leaves configuring such a machine to Ansible.
    pub configure: bool,
    /// Machines are stopped and started, and not removed and made anew (`ec3_reuse_nodes`).
    pub reuse: bool,
}

/// What EC3 says of one pool besides: how it is paid for, and which pool stands in for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Seconds of the time that is paid for at once (`ec3_destroy_interval`).
    pub paid: u64,
    /// Seconds before its end in which a machine may go (`ec3_destroy_safe`).
    pub before: u64,
    /// Once one of its machines is configured, others are made from an image of it (`ec3_golden_images`).
    #[serde(default)]
    pub golden: bool,
    /// The pool that is taken when this one has no machine to give (`ec3_if_fail`).
    pub if_fail: Option<String>,
}

impl Fragment {
    /// The RADL that adds this machine.
    pub fn of(&self, machine: &str) -> String {
        self.radl.replace(PLACE, machine)
    }

    /// The same, made from this image.
    #[must_use]
    pub fn from_image(&self, url: &str) -> Self {
        let (document, _) = crate::radl::parse(&self.radl);
        let radl = document.sentences.iter().map(|sentence| match sentence {
            Sentence::Aspect(aspect) if aspect.kind == AspectKind::System => {
                let mut features = aspect.features.clone().unwrap_or_default();
                features.retain(|feature| !is(feature, IMAGE));
                features.push(constraint(IMAGE, url, aspect.id.span));
                Sentence::Aspect(Aspect { features: Some(features), ..aspect.clone() }).to_string()
            }
            Sentence::Aspect(_) | Sentence::Configure(_) | Sentence::Contextualize(_) | Sentence::Deploy(_) => {
                sentence.to_string()
            }
        });
        Self { radl: radl.collect(), ..self.clone() }
    }

    /// The RADL that adds these machines by one order. Each is a system of its own, since each has its own name. The
    /// systems are named alike in every order (`wn`, `wn.1`, ...), because the infrastructure keeps all it was ever
    /// told; their class says whose they are, as EC3 does it.
    pub fn together(&self, machines: &[&str]) -> String {
        let (document, _) = crate::radl::parse(&self.radl);
        let (mut shared, mut systems, mut deploys) = (String::new(), String::new(), String::new());
        let id = |name: &Name<'_>, slot: usize| match slot {
            0 => name.text.to_owned(),
            slot => format!("{}.{slot}", name.text),
        };
        for sentence in &document.sentences {
            match sentence {
                Sentence::Aspect(aspect) if aspect.kind == AspectKind::System => {
                    for (slot, machine) in machines.iter().enumerate() {
                        let name = id(&aspect.id, slot);
                        let mut features = aspect.features.clone().unwrap_or_default();
                        if slot > 0 && !features.iter().any(|feature| is(feature, CLASS)) {
                            features.push(constraint(CLASS, aspect.id.text, aspect.id.span));
                        }
                        let id = Name { text: &name, ..aspect.id };
                        let system = Sentence::Aspect(Aspect { id, features: Some(features), ..aspect.clone() });
                        systems += &system.to_string().replace(PLACE, machine);
                    }
                }
                Sentence::Deploy(deploy) => {
                    let cloud = deploy.cloud.map(|cloud| format!(" {}", cloud.text)).unwrap_or_default();
                    for slot in 0..machines.len() {
                        let _ = writeln!(deploys, "deploy {} 1{cloud}", id(&deploy.system, slot));
                    }
                }
                Sentence::Aspect(_) | Sentence::Configure(_) | Sentence::Contextualize(_) => {
                    shared += &sentence.to_string();
                }
            }
        }
        shared + &systems + &deploys
    }

    /// Whether machines of this one and of the other may be added by one order. What Ansible configures may not: it
    /// groups machines by their system.
    pub fn joins(&self, other: &Self) -> bool {
        !self.configure && self.radl == other.radl
    }
}

/// The fragment of each system of a document, by the system's id.
pub fn fragments(document: &Document<'_>) -> BTreeMap<String, Fragment> {
    let networks: String = document
        .sentences
        .iter()
        .filter(|s| matches!(s, Sentence::Aspect(aspect) if aspect.kind == AspectKind::Network && aspect.features.is_some()))
        .map(ToString::to_string)
        .collect();
    let reuse = |features: &[Feature<'_>]| features.iter().any(|feature| wants(feature, "ec3_reuse_nodes"));
    let every = document.aspects(AspectKind::System).any(|a| a.features.as_deref().is_some_and(reuse));
    let mut all = BTreeMap::new();
    for aspect in document.aspects(AspectKind::System) {
        let Some(features) = &aspect.features else { continue };
        let mut kept: Vec<Feature<'_>> = features.iter().filter(|feature| keep(feature)).cloned().collect();
        kept.push(named(aspect.id.span));
        let system = Sentence::Aspect(Aspect { features: Some(kept), ..aspect.clone() });
        let (recipes, context) = configuring(document, aspect.id.text);
        let cloud =
            document.deploys().find(|deploy| deploy.system.text == aspect.id.text).and_then(|deploy| deploy.cloud);
        let cloud = cloud.map(|cloud| format!(" {}", cloud.text)).unwrap_or_default();
        let configure = !recipes.is_empty();
        let radl = format!("{networks}{system}{recipes}{context}deploy {} 1{cloud}\n", aspect.id.text);
        all.insert(aspect.id.text.to_owned(), Fragment { radl, configure, reuse: every });
    }
    all
}

/// The recipes that configure a system, and the order to run them. Where the document gives no order at all, a recipe
/// of the system's own name is run.
fn configuring(document: &Document<'_>, system: &str) -> (String, String) {
    let (mut asked, mut lines, mut ordered) = (BTreeSet::new(), String::new(), false);
    for sentence in &document.sentences {
        let Sentence::Contextualize(context) = sentence else { continue };
        ordered = true;
        for item in context.items.iter().filter(|item| item.system.text == system) {
            asked.insert(item.configure.text);
            let step = item.step.map(|step| format!(" step {}", step.digits)).unwrap_or_default();
            let tool = item.tool.map(|tool| format!(" with {}", tool.text)).unwrap_or_default();
            let _ = writeln!(lines, "    system {system} configure {}{step}{tool}", item.configure.text);
        }
    }
    if !ordered {
        asked.insert(system);
    }
    let recipes = document.sentences.iter().filter(|sentence| match sentence {
        Sentence::Configure(c) => asked.contains(c.id.text) && matches!(c.body, Body::Recipe(_)),
        Sentence::Aspect(_) | Sentence::Contextualize(_) | Sentence::Deploy(_) => false,
    });
    let recipes: String = recipes.map(ToString::to_string).collect();
    let context = if lines.is_empty() { String::new() } else { format!("contextualize (\n{lines})\n") };
    (recipes, context)
}

/// What EC3 says of each pool besides.
pub fn terms(document: &Document<'_>) -> BTreeMap<String, Terms> {
    let of = |aspect: &Aspect<'_>| {
        let features = aspect.features.as_deref().unwrap_or_default();
        let seconds = |property| number(features, property).unwrap_or_default();
        let if_fail = text(features, "ec3_if_fail").filter(|name| !name.is_empty());
        let golden = features.iter().any(|feature| wants(feature, "ec3_golden_images"));
        Terms { paid: seconds("ec3_destroy_interval"), before: seconds("ec3_destroy_safe"), golden, if_fail }
    };
    document.aspects(AspectKind::System).map(|aspect| (aspect.id.text.to_owned(), of(aspect))).collect()
}

/// The name of a virtual machine, from its RADL. The Infrastructure Manager leaves `#N#` in it, for its number.
pub fn name(radl: &str, vm: &str) -> Option<String> {
    value(radl, NAME).map(|name| name.replace("#N#", vm))
}

/// A text property of the first system of a RADL.
pub fn value(radl: &str, property: &str) -> Option<String> {
    let (document, _) = crate::radl::parse(radl);
    let system = document.aspects(AspectKind::System).next()?;
    text(system.features.as_deref().unwrap_or_default(), property)
}

/// Where a virtual machine is reached, and as whom.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Its address.
    pub address: String,
    /// The port that its network leads to SSH, where it is another.
    pub port: Option<u16>,
    /// The user.
    pub user: Option<String>,
    /// The key that the cloud made for it.
    pub private_key: Option<String>,
}

/// Where a virtual machine is reached, from its RADL: in this network, else by the first of its addresses.
pub fn place(radl: &str, network: Option<&str>) -> Option<Place> {
    let (document, _) = crate::radl::parse(radl);
    let system = document.aspects(AspectKind::System).next()?;
    let features = system.features.as_deref().unwrap_or_default();
    let wanted = |at: &usize| {
        network.is_none_or(|network| {
            text(features, &format!("net_interface.{at}.connection")).is_some_and(|connection| connection == network)
        })
    };
    let address = (0..8).filter(wanted).find_map(|at| text(features, &format!("net_interface.{at}.ip")))?;
    let ports = document.aspects(AspectKind::Network).find_map(|aspect| text(aspect.features.as_deref()?, "outports"));
    let credential = |name: &str| text(features, &format!("disk.0.os.credentials.{name}"));
    Some(Place {
        address,
        port: ports.as_deref().and_then(ssh_port),
        user: credential("username"),
        private_key: credential("private_key"),
    })
}

/// The outer port that leads to port 22: `2222/tcp-22/tcp, 80/tcp`, say.
fn ssh_port(outports: &str) -> Option<u16> {
    outports.split(',').find_map(|one| {
        let (outer, inner) = one.trim().split_once('-')?;
        let plain = |port: &str| port.strip_suffix("/tcp").unwrap_or(port).to_owned();
        (plain(inner) == "22").then(|| plain(outer).parse().ok()).flatten()
    })
}

/// The id of the first system of a RADL.
pub fn system(radl: &str) -> Option<String> {
    let (document, _) = crate::radl::parse(radl);
    document.aspects(AspectKind::System).next().map(|system| system.id.text.to_owned())
}

fn text(features: &[Feature<'_>], property: &str) -> Option<String> {
    features.iter().find_map(|feature| match feature {
        Feature::Constraint { name, comparator: Comparator::Equal, value: Value::Text(text), .. }
            if name.text == property =>
        {
            Some(text.meaning().into_owned())
        }
        Feature::Constraint { .. } | Feature::Contains { .. } | Feature::Soft { .. } => None,
    })
}

fn number(features: &[Feature<'_>], property: &str) -> Option<u64> {
    features.iter().find_map(|feature| match feature {
        Feature::Constraint { name, value: Value::Number(number), .. } if name.text == property => {
            number.digits.parse().ok()
        }
        Feature::Constraint { name, value: Value::Text(text), .. } if name.text == property => {
            text.meaning().parse().ok()
        }
        Feature::Constraint { .. } | Feature::Contains { .. } | Feature::Soft { .. } => None,
    })
}

fn wants(feature: &Feature<'_>, property: &str) -> bool {
    let Feature::Constraint { name, value, .. } = feature else { return false };
    let no = match value {
        Value::Text(text) => matches!(text.meaning().to_lowercase().as_str(), "" | "no" | "false" | "0"),
        Value::Number(number) => number.digits.trim_matches('0').is_empty(),
        Value::Random(_) | Value::List(_) | Value::Reference(_) | Value::Missing => true,
    };
    name.text == property && !no
}

/// What Marea's recipes install is not told. What EC3 says stays: the infrastructure's document becomes the last that it
/// was told of each system, and whoever reads it later needs that.
fn keep(feature: &Feature<'_>) -> bool {
    match feature {
        Feature::Constraint { name, .. } => name.text != NAME,
        Feature::Contains { name, .. } => name.text != "disk.0.applications",
        Feature::Soft { .. } => true,
    }
}

fn named(span: Span) -> Feature<'static> {
    constraint(NAME, PLACE, span)
}

fn constraint<'a>(property: &'static str, text: &'a str, span: Span) -> Feature<'a> {
    Feature::Constraint {
        name: Name { text: property, span },
        comparator: Comparator::Equal,
        value: Value::Text(Text { raw: text, span }),
        span,
    }
}

fn is(feature: &Feature<'_>, property: &str) -> bool {
    matches!(feature, Feature::Constraint { name, .. } if name.text == property)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_holds_what_a_machine_needs_and_its_name() {
        let text = "network n (outbound = 'yes')\nsystem front (cpu.count >= 2 and net_interface.0.connection = 'n')\n\
                    system wn (cpu.count >= 1 and memory.size >= 512m and net_interface.0.connection = 'n' and ec3_max_instances = 5 and \
                    ec3_reuse_nodes = 'true' and net_interface.0.dns_name = 'old' and disk.0.applications contains (name = 'kubernetes'))\n\
                    configure wn (\n@begin\n- tasks: []\n@end\n)\ndeploy front 1\ndeploy wn 1 mycloud\n";
        let (document, wrong) = crate::radl::parse(text);
        assert!(wrong.is_empty(), "{wrong:?}");
        let all = fragments(&document);
        let wn = all["wn"].of("wn-7");
        for word in [
            "network n",
            "memory.size >= 512 m",
            "net_interface.0.dns_name = 'wn-7'",
            "deploy wn 1 mycloud",
            "- tasks: []",
        ] {
            assert!(wn.contains(word), "{word}: {wn}");
        }
        assert!(wn.contains("ec3_max_instances = 5"), "{wn}");
        for word in ["kubernetes", "'old'", "system front"] {
            assert!(!wn.contains(word), "{word}: {wn}");
        }
        assert_eq!(name(&wn, "3").as_deref(), Some("wn-7"));
        assert_eq!(name("system a (net_interface.0.dns_name = 'vnode-#N#')", "3").as_deref(), Some("vnode-3"));
        assert!(all["wn"].configure && all["wn"].reuse && !all["front"].configure);
        assert!(crate::radl::parse(&wn).1.is_empty(), "it is right RADL");
    }

    #[test]
    fn machines_of_one_order_have_each_its_own_system_and_name() {
        let text = "network n (outbound = 'yes')\nsystem wn (cpu.count >= 1 and net_interface.0.connection = 'n')\ndeploy wn 1 mycloud\n";
        let all = fragments(&crate::radl::parse(text).0);
        let radl = all["wn"].together(&["a", "b"]);
        let (document, wrong) = crate::radl::parse(&radl);
        assert!(wrong.is_empty(), "it is right RADL: {radl}");
        let systems: Vec<_> = document.aspects(AspectKind::System).map(|system| system.id.text).collect();
        assert_eq!(systems, ["wn", "wn.1"]);
        assert_eq!(radl.matches("network n").count(), 1, "{radl}");
        assert!(radl.contains("deploy wn 1 mycloud\ndeploy wn.1 1 mycloud\n"), "{radl}");
        let second = &radl[radl.find("system wn.1").unwrap()..];
        assert!(second.contains("dns_name = 'b'") && second.contains("ec3_class = 'wn'"), "{radl}");
        assert!(!radl[..radl.find("system wn.1").unwrap()].contains("ec3_class"), "{radl}");
        assert!(all["wn"].joins(&all["wn"]) && !all["wn"].joins(&Fragment::default()));
        let configured = Fragment { configure: true, ..all["wn"].clone() };
        assert!(!configured.joins(&configured));
    }

    #[test]
    fn a_machine_is_made_from_the_image_of_another() {
        let text = "network n ()\nsystem wn (cpu.count >= 1 and disk.0.image.url = 'one://old/1')\nconfigure wn (\n@begin\n- tasks: []\n@end\n)\n";
        let fragment = fragments(&crate::radl::parse(text).0)["wn"].from_image("one://new/2");
        let radl = fragment.of("a");
        assert!(crate::radl::parse(&radl).1.is_empty(), "it is right RADL: {radl}");
        assert!(radl.contains("one://new/2") && !radl.contains("one://old/1"), "{radl}");
        assert!(radl.contains("'a'") && radl.contains("- tasks: []") && fragment.configure, "{radl}");
    }

    #[test]
    fn only_the_recipes_that_a_system_is_configured_by_come_with_it() {
        let text = "system front (cpu.count >= 1)\nsystem wn (cpu.count >= 1 and ec3_reuse_nodes = 'false')\n\
                    configure nfs (\n@begin\n- tasks: [nfs]\n@end\n)\nconfigure front (\n@begin\n- tasks: [front]\n@end\n)\n\
                    contextualize (\nsystem front configure front step 1\nsystem wn configure nfs step 2\n)\n";
        let (document, _) = crate::radl::parse(text);
        let all = fragments(&document);
        let (front, wn) = (all["front"].of("f"), all["wn"].of("w"));
        assert!(wn.contains("tasks: [nfs]") && wn.contains("system wn configure nfs step 2"), "{wn}");
        assert!(!wn.contains("[front]") && !front.contains("[nfs]") && front.contains("step 1"), "{front}");
        assert!(!all["wn"].reuse && all["wn"].configure);
        assert!(crate::radl::parse(&wn).1.is_empty(), "it is right RADL: {wn}");
    }

    #[test]
    fn a_place_is_the_address_in_the_network_that_is_meant() {
        let radl = "network pub (outbound = 'yes' and outports = '80/tcp,2222/tcp-22/tcp')\nsystem wn (net_interface.0.connection = 'priv' and \
                    net_interface.0.ip = '10.0.0.7' and net_interface.1.connection = 'pub' and net_interface.1.ip = '192.0.2.7' and \
                    disk.0.os.credentials.username = 'cloud')";
        let place = |network| super::place(radl, network).unwrap();
        assert_eq!((place(None).address.as_str(), place(None).port), ("10.0.0.7", Some(2222)));
        assert_eq!(place(Some("pub")).address, "192.0.2.7");
        assert_eq!(place(None).user.as_deref(), Some("cloud"));
        assert!(
            super::place(radl, Some("other")).is_none() && super::place("system wn (cpu.count = 1)", None).is_none()
        );
    }

    #[test]
    fn terms_are_read_as_ec3_writes_them() {
        let text = "system wn (ec3_destroy_interval = 3600 and ec3_destroy_safe = 300 and ec3_golden_images = 'true' and ec3_if_fail = 'dear')\nsystem dear (ec3_if_fail = '')";
        let all = terms(&crate::radl::parse(text).0);
        assert_eq!(all["wn"], Terms { paid: 3600, before: 300, golden: true, if_fail: Some("dear".to_owned()) });
        assert_eq!(all["dear"], Terms::default());
    }
}
