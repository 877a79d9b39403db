//! Contextualization: which Ansible recipes of a document run on the machines of which pool, and in which order.

use std::collections::BTreeMap;
use std::fmt;

/// All of a document's Ansible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contextualization {
    /// Seconds that all of it may take.
    pub max_time: Option<u64>,
    /// What runs where, in the order of the text.
    pub items: Vec<Item>,
    /// The recipes by their names.
    pub recipes: BTreeMap<String, Recipe>,
    /// What recipes need from Ansible Galaxy.
    pub requirements: Vec<Requirement>,
    /// What is known of each pool beyond its machines.
    pub pools: BTreeMap<String, PoolFacts>,
}

impl Contextualization {
    /// Nothing runs.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// One recipe on the machines of one pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// Steps run one after the other.
    pub step: u32,
    /// The RADL system.
    pub pool: String,
    /// The RADL configure.
    pub recipe: String,
}

/// A recipe's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipe {
    /// A playbook: YAML in which every play says its hosts.
    Playbook(String),
    /// A playbook that only the vault's password opens.
    Vault(String),
}

/// A role or a collection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// `role` or `collection`.
    pub kind: RequirementKind,
    /// Its name on Galaxy, or a URL.
    pub source: String,
    /// Its version, when one is asked for.
    pub version: Option<String>,
    /// The pool that asks for it.
    pub pool: String,
}

/// Which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequirementKind {
    /// A role.
    Role,
    /// A collection.
    Collection,
}

/// What is known of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolFacts {
    /// Applications: name, version, path.
    pub applications: Vec<(String, String, String)>,
    /// `net_interface.0.dns_name`, in which `#N#` is the machine's number.
    pub dns_name: Option<String>,
    /// Opens recipes that are encrypted.
    pub vault: Option<Password>,
}

/// A password; it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}
