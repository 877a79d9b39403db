//! What Ansible is to do on each machine: the recipes in the order of their steps, the variables that IM's recipes
//! expect, and a digest of all of it, so that only a new or changed machine is configured.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::model::context::{Contextualization, Recipe, Requirement, RequirementKind};
use crate::model::machine::{Machine, Role};

/// Where Ansible's own things are on the front-end.
pub const HOME: &str = "/var/lib/marea/ansible";

/// Seconds that all of it may take when the document does not say: IM's own limit.
const LIMIT: u64 = 7200;

/// All machines' plans.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For each machine that is configured.
    pub machines: Vec<MachinePlan>,
    /// The inventory of all machines, as JSON.
    pub inventory: String,
    /// What is fetched from Galaxy.
    pub requirements: Vec<Requirement>,
    /// Seconds for all of it.
    pub limit: u64,
    /// Passwords that must be in no output.
    pub secrets: Vec<String>,
}

/// What one machine gets.
#[derive(Debug, Clone)]
pub struct MachinePlan {
    /// The machine.
    pub machine: Machine,
    /// Its recipes, in order.
    pub runs: Vec<Run>,
    /// Opens those that are encrypted.
    pub vault: Option<String>,
    /// Equal digests: nothing changed.
    pub digest: String,
}

/// One recipe on one machine.
#[derive(Debug, Clone)]
pub struct Run {
    /// All machines end a step before any begins the next.
    pub step: u32,
    /// The recipe's name.
    pub name: String,
    /// Its text.
    pub recipe: Recipe,
}

/// Plans the contextualization of `machines`; `cluster` names the infrastructure.
pub fn plan(context: &Contextualization, machines: &[Machine], cluster: &str) -> Plan {
    let mut plans = Vec::new();
    for machine in machines {
        let of_pool = context.items.iter().filter(|item| item.pool == machine.pool);
        let runs: Vec<Run> = of_pool
            .filter_map(|item| {
                let recipe = context.recipes.get(&item.recipe)?.clone();
                Some(Run { step: item.step, name: item.recipe.clone(), recipe })
            })
            .collect();
        if runs.is_empty() {
            continue;
        }
        let facts = context.pools.get(&machine.pool);
        let mut hash = Sha256::new();
        for run in &runs {
            let text = match &run.recipe {
                Recipe::Playbook(text) | Recipe::Vault(text) => text,
            };
            for part in [&run.step.to_string(), &run.name, text] {
                hash.update(part.len().to_le_bytes());
                hash.update(part);
            }
        }
        // What else of the document a recipe sees; not the other machines, of which one more changes nothing here.
        hash.update(format!("{:?}", facts.map(|facts| (&facts.applications, &facts.dns_name))));
        let asked: Vec<&Requirement> = context.requirements.iter().filter(|one| one.pool == machine.pool).collect();
        hash.update(format!("{asked:?}"));
        let digest: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let vault = facts.and_then(|facts| facts.vault.as_ref()).map(|password| password.0.clone());
        plans.push(MachinePlan { machine: machine.clone(), runs, vault, digest });
    }
    let mut requirements: Vec<Requirement> = context.requirements.clone();
    requirements.sort();
    requirements.dedup_by(|a, b| (a.kind, &a.source, &a.version) == (b.kind, &b.source, &b.version));
    Plan {
        machines: plans,
        inventory: inventory(context, machines, cluster),
        requirements,
        limit: context.max_time.unwrap_or(LIMIT),
        secrets: context.pools.values().filter_map(|facts| Some(facts.vault.as_ref()?.0.clone())).collect(),
    }
}

/// Host name and domain of a machine: its own name, unless the document gives one.
fn names(context: &Contextualization, machine: &Machine, number: usize) -> (String, String) {
    let given = context.pools.get(&machine.pool).and_then(|facts| facts.dns_name.clone());
    let full = given.map_or_else(|| machine.name.clone(), |name| name.replace("#N#", &number.to_string()));
    let (host, domain) = full.split_once('.').unwrap_or((&full, "localdomain"));
    (host.to_owned(), domain.to_owned())
}

/// Ansible's inventory: a group for each pool, and for each machine what IM tells its recipes.
fn inventory(context: &Contextualization, machines: &[Machine], cluster: &str) -> String {
    let mut groups: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut all = Map::new();
    for (vm, machine) in machines.iter().enumerate() {
        let hosts = groups.entry(&machine.pool).or_default();
        let number = hosts.len();
        let (host, domain) = names(context, machine, number);
        let mut vars = json!({
            "ansible_host": machine.address,
            "ansible_port": machine.port,
            "ansible_user": machine.user,
            "ansible_python_interpreter": "/usr/bin/python3",
            "IM_NODE_HOSTNAME": host,
            "IM_NODE_DOMAIN": domain,
            "IM_NODE_FQDN": format!("{host}.{domain}"),
            "IM_NODE_PRIVATE_IP": machine.address,
            "IM_NODE_PUBLIC_IP": machine.address,
            "IM_NODE_NET_0_IP": machine.address,
            "IM_NODE_NUM": number,
            "IM_NODE_VMID": vm,
            "IM_NODE_CLOUD_TYPE": "marea",
            "IM_NODE_CLOUD_SERVER": "",
        });
        if machine.role == Role::FrontEnd {
            vars["ansible_connection"] = "local".into();
            for (key, value) in [
                ("IM_MASTER_HOSTNAME", host.clone()),
                ("IM_MASTER_DOMAIN", domain.clone()),
                ("IM_MASTER_FQDN", format!("{host}.{domain}")),
                ("IM_MASTER_PRIVATE_IP", machine.address.clone()),
                ("IM_MASTER_PUBLIC_IP", machine.address.clone()),
            ] {
                all.insert(key.to_owned(), value.into());
            }
        } else if machine.user != "root" {
            vars["ansible_become"] = true.into();
        }
        if let Some(facts) = context.pools.get(&machine.pool) {
            for (name, version, path) in &facts.applications {
                let name: String =
                    name.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
                vars[format!("IM_{name}_VERSION")] = version.as_str().into();
                vars[format!("IM_{name}_PATH")] = path.as_str().into();
            }
        }
        hosts.insert(machine.name.clone(), vars);
    }
    all.insert("IM_INFRASTRUCTURE_ID".to_owned(), cluster.into());
    // A group may not be called like a host: Ansible would take one for the other.
    let name =
        |pool: &str| if machines.iter().any(|m| m.name == pool) { format!("pool_{pool}") } else { pool.to_owned() };
    let children: Map<String, Value> =
        groups.into_iter().map(|(pool, hosts)| (name(pool), json!({"hosts": hosts}))).collect();
    serde_json::to_string_pretty(&json!({"all": {"vars": all, "children": children}})).unwrap_or_default()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.machines.is_empty() {
            return Ok(());
        }
        writeln!(f, "# Ansible, from the front-end, after all of the above; at most {} s", self.limit)?;
        for requirement in &self.requirements {
            let kind = match requirement.kind {
                RequirementKind::Role => "role",
                RequirementKind::Collection => "collection",
            };
            writeln!(f, "#   {kind} {} {}", requirement.source, requirement.version.as_deref().unwrap_or(""))?;
        }
        for machine in &self.machines {
            for run in &machine.runs {
                writeln!(f, "#   step {}: {} on {}", run.step, run.name, machine.machine.name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::context::Item;
    use crate::model::node::Shape;

    fn machine(name: &str, pool: &str, role: Role) -> Machine {
        Machine {
            name: name.into(),
            pool: pool.into(),
            role,
            address: format!("10.0.0.{}", name.len()),
            port: 22,
            user: "root".into(),
            pod_cidr: String::new(),
            shape: Shape::default(),
        }
    }

    #[test]
    fn one_more_machine_changes_no_other() {
        let item = |step, pool: &str, recipe: &str| Item { step, pool: pool.into(), recipe: recipe.into() };
        let mut context = Contextualization {
            items: vec![item(1, "wn", "base"), item(2, "wn", "late")],
            recipes: BTreeMap::from([
                ("base".to_owned(), Recipe::Playbook("a".into())),
                ("late".to_owned(), Recipe::Playbook("b".into())),
            ]),
            ..Contextualization::default()
        };
        let mut machines = vec![machine("front", "front", Role::FrontEnd), machine("wn-1", "wn", Role::Worker)];
        let one = plan(&context, &machines, "c");
        assert_eq!(one.machines.len(), 1, "the front-end has no recipe");
        assert_eq!(one.machines[0].runs.iter().map(|run| run.step).collect::<Vec<_>>(), [1, 2]);
        machines.push(machine("wn-10", "wn", Role::Worker));
        let two = plan(&context, &machines, "c");
        assert_eq!(two.machines[0].digest, one.machines[0].digest);
        assert_eq!(two.machines[0].digest, two.machines[1].digest);
        context.recipes.insert("late".to_owned(), Recipe::Playbook("c".into()));
        assert_ne!(plan(&context, &machines, "c").machines[0].digest, one.machines[0].digest);
        let inventory: Value = serde_json::from_str(&two.inventory).unwrap();
        assert_eq!(inventory["all"]["vars"]["IM_MASTER_HOSTNAME"], "front");
        assert_eq!(inventory["all"]["children"]["wn"]["hosts"]["wn-10"]["IM_NODE_NUM"], 1);
        assert!(inventory["all"]["children"]["pool_front"].is_object());
    }
}
