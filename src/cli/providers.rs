//! Providers as the config names them: the same for the command that makes a cluster and for the daemon.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::power::{Kept, Metal, Way};
use crate::config::{Loaded, ProviderKind};
use crate::functions::machine::{Machine as NoNode, PROGRAM, Side};
use crate::model::cluster::ClusterSpec;
use crate::model::machine::{Machine, UDOCKER};
use crate::provider::Provider;
use crate::provider::command::{CommandProvider, Commands};
use crate::provider::im::ImProvider;
use crate::provider::im::client::{self, ImClient};
use crate::provider::im::infrastructure::{self, Infrastructure};
use crate::provider::ipmi::Bmc;
use crate::provider::joined::{JoinedProvider, Joint};
use crate::provider::local::{LocalError, LocalProvider, Settings};
use crate::provider::means::Means;
use crate::provider::redfish::{self, Redfish};
use crate::provider::secret::Keeper;
use crate::provider::ssh::Door;
use crate::provider::wol::Packet;
use crate::remote::{Access, Host};
use crate::standin::StandIn;

/// Machines on this computer, once it is sure that it can have some.
pub fn local(config: &Loaded, state: &Path) -> Result<LocalProvider, LocalError> {
    let local = &config.config.local;
    let settings = Settings { scope: local.scope.clone(), subnet: local.subnet.clone(), ..Settings::new(state) };
    let provider = LocalProvider::open(settings)?;
    provider.check_computer()?;
    Ok(provider)
}

/// The provider that the config names. The error says what is wrong with the config.
pub fn open(config: &Loaded, state: &Path) -> anyhow::Result<Result<Arc<dyn Provider>, String>> {
    Ok(match config.config.provider {
        ProviderKind::Local => Ok(Arc::new(local(config, state)?)),
        ProviderKind::Im => {
            let known = Infrastructure::read(state).map_err(anyhow::Error::msg)?;
            let path = state.join(infrastructure::FILE);
            let known = known.with_context(|| {
                format!("cannot read {}: has `marea bootstrap` made an infrastructure?", path.display())
            })?;
            im(config, &known).map(|provider| -> Arc<dyn Provider> { Arc::new(provider) })
        }
        ProviderKind::Command | ProviderKind::Ipmi | ProviderKind::Redfish | ProviderKind::Wol | ProviderKind::Ssh => {
            declared(config, state)
        }
    })
}

/// Who talks to the Infrastructure Manager.
pub fn im_client(config: &Loaded) -> Result<ImClient, String> {
    let at = config.im().map_err(|e| e.to_string())?;
    ImClient::new(client::Settings { url: at.url, auth: at.auth, ca: at.ca, timeout: millis(at.timeout_ms) })
}

/// Virtual machines of an infrastructure that was made.
pub fn im(config: &Loaded, known: &Infrastructure) -> Result<ImProvider, String> {
    let at = config.im().map_err(|e| e.to_string())?;
    let id = known.id.clone().ok_or("the infrastructure is not made yet: run `marea bootstrap` again")?;
    let patience = millis(at.off_patience_ms);
    Ok(ImProvider::new(im_client(config)?, id, known.by_machine(), at.at_once, patience).with_network(at.network))
}

/// Machines that exist: by commands, or by the ways that they join. The error says what is wrong with the config.
pub fn declared(config: &Loaded, state: &Path) -> Result<Arc<dyn Provider>, String> {
    let commands = config.config.machines.iter().filter(|m| !m.status.is_empty() || !config.is_joined()).map(|m| {
        let timeout = m.timeout.map_or(60, |t| u64::try_from(t.0 / 1000).unwrap_or(60));
        let (on, off) = (m.on.clone(), m.off.clone());
        let commands = Commands { on, off, off_hard: m.off_hard.clone(), status: m.status.clone(), timeout };
        (m.name.get_ref().clone(), commands)
    });
    let commands = Arc::new(CommandProvider::new(commands.collect())?);
    if !config.is_joined() {
        return Ok(commands);
    }
    let shared = Shared { config, commands, access: access(config, state), home: ipmitool_home(state) };
    let metal = config.metal().map_err(|e| e.to_string())?;
    let joints = metal.iter().map(|one| Ok((one.entry.name.get_ref().clone(), shared.joint(one)?)));
    Ok(Arc::new(JoinedProvider::new(joints.collect::<Result<BTreeMap<_, _>, String>>()?)))
}

/// The machines that are no nodes, and the ways to them: by the user's own SSH, or by root, who becomes the user.
pub fn stand_ins(config: &Loaded, state: &Path, spec: &ClusterSpec, machines: &[Machine]) -> Vec<StandIn> {
    let mut access = access(config, state);
    if config.config.provider == ProviderKind::Local
        && let Ok(provider) = local(config, state)
    {
        access.key = Some(provider.ssh_key());
        access.known_hosts = provider.known_hosts();
        access.accept_new = false;
    }
    let user = |machine: &Machine| {
        let pool = spec.pools.iter().find(|pool| pool.name == machine.pool);
        let recipe = pool.and_then(|pool| pool.recipes.iter().find(|recipe| recipe.name == UDOCKER));
        recipe.and_then(|recipe| recipe.parameters.get("user")).map_or("marea", String::as_str).to_owned()
    };
    let stand_in = |machine: &Machine| {
        let (name, address, login) = (machine.name.clone(), machine.address.clone(), machine.user.clone());
        let side = if login == "root" { Side::As(user(machine)) } else { Side::Own(PROGRAM.to_owned()) };
        let host = Host { name, address, port: machine.port, user: login };
        StandIn { machine: machine.clone(), door: Arc::new(NoNode::new(host, side, access.clone())) }
    };
    machines.iter().filter(|machine| machine.is_no_node()).map(stand_in).collect()
}

/// How declared machines are reached: their keys are pinned at first contact.
pub fn access(config: &Loaded, state: &Path) -> Access {
    let control = state.join("run");
    // ssh makes a name of about 40 characters below this folder, and a socket's path has room for 108.
    let control = if control.as_os_str().len() > 60 { PathBuf::from("/run/marea") } else { control };
    Access { key: config.config.ssh.key.clone(), known_hosts: state.join("known_hosts"), control, accept_new: true }
}

/// A folder that `ipmitool` takes for its user's, with a list of makers of one line: it reads 5 MB otherwise, each time.
fn ipmitool_home(state: &Path) -> Option<PathBuf> {
    let home = state.join("ipmitool");
    let folder = home.join(".local/usr/share/misc");
    let made = std::fs::create_dir_all(&folder).and_then(|()| {
        std::fs::write(
            folder.join("enterprise-numbers.txt"),
            "0\n  Reserved\n    nobody\n      nobody\n1\n  one\n    a\n      b\n",
        )
    });
    made.is_ok().then_some(home)
}

/// What the machines' means are made from.
struct Shared<'a> {
    config: &'a Loaded,
    commands: Arc<CommandProvider>,
    access: Access,
    home: Option<PathBuf>,
}

impl Shared<'_> {
    fn joint(&self, metal: &Metal<'_>) -> Result<Joint, String> {
        let entry = metal.entry;
        let ipmi = metal.ipmi.as_ref().map(|at| {
            Means::Ipmi(Arc::new(Bmc {
                address: at.address.clone(),
                port: at.port,
                user: at.user.clone(),
                password: keeper(&at.password),
                cipher: at.cipher,
                timeout: millis(at.timeout_ms),
                home: self.home.clone(),
            }))
        });
        let redfish = metal.redfish.as_ref().map(|at| {
            let settings = redfish::Settings {
                url: at.url.clone(),
                user: at.user.clone(),
                password: keeper(&at.password),
                system: at.system.clone(),
                ca: at.ca.clone(),
                insecure: at.insecure,
                timeout: millis(at.timeout_ms),
            };
            Redfish::new(settings).map(|bmc| Means::Redfish(Arc::new(bmc)))
        });
        let redfish = redfish.transpose().map_err(|e| format!("machine `{}`: {e}", entry.name.get_ref()))?;
        let wol = metal.wol.as_ref().map(|at| {
            Means::Wol(Arc::new(Packet {
                mac: at.mac,
                to: SocketAddr::new(at.broadcast, at.port),
                from: at.from,
                secure_on: at.secure_on.as_ref().map(keeper),
            }))
        });
        let ssh = &self.config.config.ssh;
        let host = Host {
            name: entry.name.get_ref().clone(),
            address: entry.address.clone(),
            port: entry.port.unwrap_or(ssh.port),
            user: entry.user.clone().unwrap_or_else(|| ssh.user.clone()),
        };
        let door = Means::Ssh(Arc::new(Door { host: host.clone(), access: self.access.clone() }));
        let means = |way: Way| match way {
            Way::Ipmi => ipmi.clone().unwrap_or(Means::Hand),
            Way::Redfish => redfish.clone().unwrap_or(Means::Hand),
            Way::Wol => wol.clone().unwrap_or(Means::Hand),
            Way::Ssh => door.clone(),
            Way::Command => Means::Command(Arc::clone(&self.commands), host.name.clone()),
            Way::Hand => Means::Hand,
        };
        let power = &self.config.config.power;
        let ways = metal.ways;
        Ok(Joint {
            on: means(ways.on),
            off: means(ways.off),
            hard: means(ways.hard),
            observe: means(ways.observe),
            watts: redfish.clone().or_else(|| ipmi.clone()),
            address: host.address.clone(),
            port: host.port,
            standby_watts: power.standby_watts,
            patience: millis(power.off_patience.0),
        })
    }
}

fn keeper(kept: &Kept) -> Keeper {
    match kept {
        Kept::File(path) => Keeper::File(path.clone()),
        Kept::Variable(name) => Keeper::Variable(name.clone()),
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
