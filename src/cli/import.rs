//! `marea import`: takes over a cluster that EC3 made: its infrastructure, its document, and the virtual machines that it
//! has, each under the name that it bears. Nothing is changed in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::providers;
use crate::bootstrap::cluster::Api;
use crate::bootstrap::folder::{Cluster, Folder};
use crate::bootstrap::infrastructure;
use crate::config::{Loaded, ProviderKind};
use crate::model::cluster::ClusterSpec;
use crate::model::machine::{Machine, Role};
use crate::provider::im::client::ImClient;
use crate::provider::im::fragment::{self, fragments, terms};
use crate::provider::im::infrastructure::Infrastructure;
use crate::radl;
use crate::radl::syntax::{Document, Feature, Sentence};
use crate::remote::{Access, Connection, Host};

/// Take over a running cluster that EC3 made.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marea import --im 1c2f0b54-aa11-11f0-9d7e-02fc00000001 --config marea.toml
  marea import --im ID --config marea.toml --kubeconfig admin.conf      where SSH to the front-end is not open

Nothing is changed in the infrastructure. Stop CLUES on the front-end before `marea run`: two who power the same
machines undo each other's work.")]
pub struct ImportArgs {
    /// The infrastructure's ID
    #[arg(long, value_name = "ID")]
    pub im: String,
    /// The config, with provider = "im"
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// A kubeconfig for the daemon, in place of one that is made over SSH on the front-end
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// What the infrastructure is.
struct Found {
    spec: ClusterSpec,
    known: Infrastructure,
    machines: Vec<Machine>,
    adopted: BTreeSet<String>,
    key: Option<String>,
}

/// Takes it over.
pub async fn run(args: ImportArgs, state: &Path) -> anyhow::Result<ExitCode> {
    let mut err = std::io::stderr();
    let prepared = Loaded::read(Some(&args.config)).map_err(|e| e.to_string()).and_then(|config| {
        if config.config.provider != ProviderKind::Im {
            return Err(format!("{}: an infrastructure is taken over with provider = \"im\"", args.config.display()));
        }
        let client = providers::im_client(&config)?;
        Ok((config, client))
    });
    let (config, client) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            writeln!(err, "error: {error}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let folder = Folder::open(state)?;
    let _lock = folder.lock()?;
    let known = Infrastructure::read(state).map_err(anyhow::Error::msg)?;
    if let Some(other) = known.and_then(|known| known.id).filter(|id| *id != args.im) {
        writeln!(err, "error: {} has infrastructure {other} already: give --state another folder", state.display())?;
        return Ok(ExitCode::from(2));
    }
    let found = match look(&config, &client, &args.im, folder.owner()?).await? {
        Ok(found) => found,
        Err(said) => {
            writeln!(err, "{said}\nnothing was taken over")?;
            return Ok(ExitCode::from(2));
        }
    };
    // All that another Infrastructure Manager would need: what was there before is never lost.
    folder.write("im-export.json", &client.data(&args.im).await?, 0o600)?;
    let key = config.config.ssh.key.clone().or_else(|| found.key.as_ref().map(|_| state.join("im.key")));
    if let Some(text) = &found.key {
        folder.write("im.key", &(text.trim_end().to_owned() + "\n"), 0o600)?;
    }
    infrastructure::write(&found.known, &folder)?;
    let mut record = folder.remembered();
    record.cluster = Cluster { spec: Some(found.spec.clone()), machines: found.machines.clone() };
    folder.remember(&record)?;
    for machine in &found.machines {
        let is = if found.adopted.contains(&machine.name) { "is there" } else { "may be added" };
        writeln!(err, "{:<24} pool {:<16} {is}", machine.name, machine.pool)?;
    }
    let kubeconfig = if let Some(path) = &args.kubeconfig {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    } else {
        let access = Access { key, ..providers::access(&config, state) };
        account(&found.machines[0], &access).await.context(
            "the infrastructure is taken over, and the front-end could not be asked for an account: mend that, or \
                 give --kubeconfig, and run it again",
        )?
    };
    folder.write("kubeconfig", &kubeconfig, 0o600)?;
    writeln!(
        err,
        "taken over: {} machines, {} of them there\nnext: stop CLUES on the front-end (systemctl disable --now cluesd), then marea run --config {}",
        found.machines.len(),
        found.adopted.len(),
        args.config.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The daemon's account, made on the front-end.
async fn account(front_end: &Machine, access: &Access) -> anyhow::Result<String> {
    let (name, address, user) = (front_end.name.clone(), front_end.address.clone(), front_end.user.clone());
    let host = Host { name, address: address.clone(), port: front_end.port, user };
    let connection = Connection::open(&host, access).await?;
    let made = Api { front_end: &connection, address }.daemon_kubeconfig().await;
    connection.close().await;
    Ok(made?)
}

/// Looks at the infrastructure. What is wrong with its document is told as `marea check` does.
async fn look(config: &Loaded, client: &ImClient, id: &str, mark: String) -> anyhow::Result<Result<Found, String>> {
    let text = client.radl(id).await?;
    let text = as_declared(&text);
    let files = [(format!("infrastructure {id}"), text.clone())];
    let loaded = radl::load_as(&radl::Input { files: &files, compat: true, ..radl::Input::default() }, &|_| true);
    if loaded.has_errors() {
        return Ok(Err(loaded.human(false)));
    }
    let Some(mut spec) = loaded.spec.clone() else { return Ok(Err("it describes no cluster".to_owned())) };
    let (document, _) = radl::parse(&text);
    let mut known = Infrastructure {
        id: Some(id.to_owned()),
        mark,
        fragments: fragments(&document),
        terms: terms(&document),
        images: BTreeMap::new(),
        machines: BTreeMap::new(),
    };
    let mut key = None;
    let mut places = BTreeMap::new();
    let network = config.im().map_err(anyhow::Error::new)?.network;
    for vm in client.states(id).await?.into_keys() {
        let radl = client.machine(id, &vm).await?;
        let (Some(name), Some(pool)) = (fragment::name(&radl, &vm), pool_of(&radl)) else { continue };
        let is_front = pool == spec.front_end.name;
        if !is_front && !spec.pools.iter().any(|known| known.name == pool) {
            continue;
        }
        let place = fragment::place(&radl, network.as_deref()).unwrap_or_default();
        if is_front {
            key.clone_from(&place.private_key);
        }
        places.insert(name.clone(), place);
        known.machines.insert(name, pool);
    }
    let Some(front) =
        known.machines.iter().find(|(_, pool)| **pool == spec.front_end.name).map(|(name, _)| name.clone())
    else {
        return Ok(Err(format!("none of its virtual machines is of system `{}`", spec.front_end.name)));
    };
    let adopted: BTreeSet<String> = known.machines.keys().cloned().collect();
    fill(&mut spec, &mut known.machines);
    // The config's own machines are as many as the document asks for: here they have the names that are there.
    let template = config.machines(&spec).map_err(anyhow::Error::new)?;
    let mut machines = Vec::new();
    for pool in std::iter::once(&spec.front_end).chain(&spec.pools) {
        let names = known.machines.iter().filter(|(_, of)| **of == pool.name).map(|(name, _)| name);
        for (made, name) in template.iter().filter(|made| made.pool == pool.name).zip(names) {
            let place = places.get(name).cloned().unwrap_or_default();
            let mut machine = Machine { name: name.clone(), address: place.address, ..made.clone() };
            machine.port = place.port.unwrap_or(machine.port);
            machine.user = place.user.unwrap_or(machine.user);
            machines.push(machine);
        }
    }
    machines.sort_by_key(|machine| (machine.role, machine.name != front));
    debug_assert!(machines.first().is_some_and(|machine| machine.role == Role::FrontEnd));
    Ok(Ok(Found { spec, known, machines, adopted, key }))
}

/// The document without what EC3 adds to it: a system for each node, which names its class.
fn as_declared(text: &str) -> String {
    let (document, _) = radl::parse(text);
    let is_node = |sentence: &Sentence<'_>| match sentence {
        Sentence::Aspect(aspect) => aspect.features.iter().flatten().any(is_class),
        Sentence::Configure(_) | Sentence::Contextualize(_) | Sentence::Deploy(_) => false,
    };
    let nodes: BTreeSet<&str> = document
        .sentences
        .iter()
        .filter(|sentence| is_node(sentence))
        .filter_map(|sentence| match sentence {
            Sentence::Aspect(aspect) => Some(aspect.id.text),
            Sentence::Configure(_) | Sentence::Contextualize(_) | Sentence::Deploy(_) => None,
        })
        .collect();
    let kept: Vec<Sentence<'_>> = document
        .sentences
        .iter()
        .filter(|sentence| match sentence {
            Sentence::Aspect(aspect) => !nodes.contains(aspect.id.text),
            // What is there is counted by the virtual machines.
            Sentence::Deploy(_) => false,
            Sentence::Configure(_) | Sentence::Contextualize(_) => true,
        })
        .cloned()
        .collect();
    let front = document.aspects(radl::syntax::AspectKind::System).find(|aspect| aspect.id.text == "front");
    let deploy = front.map(|front| format!("deploy {} 1\n", front.id.text)).unwrap_or_default();
    radl::print(&Document { sentences: kept, broken: false }) + &deploy
}

fn is_class(feature: &Feature<'_>) -> bool {
    matches!(feature, Feature::Constraint { name, .. } if name.text == "ec3_class")
}

/// The pool of a virtual machine: the class that EC3 wrote down, else its system.
fn pool_of(radl: &str) -> Option<String> {
    fragment::value(radl, "ec3_class").or_else(|| fragment::system(radl))
}

/// Names for the machines that may yet be added, as EC3 names them: `wn1`, `wn2`.
fn fill(spec: &mut ClusterSpec, machines: &mut BTreeMap<String, String>) {
    for pool in &mut spec.pools {
        let have = machines.values().filter(|of| **of == pool.name).count();
        let have = u32::try_from(have).unwrap_or(u32::MAX);
        pool.max = pool.max.max(have);
        let mut names = (1u32..).map(|number| format!("{}{number}", pool.name));
        for _ in have..pool.max {
            let free = names.find(|name| !machines.contains_key(name));
            machines.extend(free.map(|name| (name, pool.name.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_ec3_added_are_no_pools() {
        let text = "system front (cpu.count = 1)\nsystem wn (cpu.count = 1 and ec3_max_instances = 3)\n\
                    system wn1 (cpu.count = 1 and ec3_class = 'wn')\ndeploy wn1 1\n";
        let declared = as_declared(text);
        assert!(declared.contains("system wn (") && !declared.contains("wn1"), "{declared}");
        assert!(declared.contains("deploy front 1"), "{declared}");
        assert_eq!(pool_of("system wn1 (ec3_class = 'wn')").as_deref(), Some("wn"));
        assert_eq!(pool_of("system wn (cpu.count = 1)").as_deref(), Some("wn"));
    }
}
