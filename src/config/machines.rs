//! The machines of a cluster: declared one by one in the config, or made up for the `local` provider.

use super::{BTreeMap, BTreeSet, ClusterSpec, ConfigError, Loaded, Machine, Pool, ProviderKind, Role};
use crate::model::machine::{RUNTIME, UDOCKER};
use crate::model::node::{Effect, Shape, Taint};
use crate::model::resources::Resources;

/// The second byte of pod ranges as in the recipe's default `10.244.0.0/16`.
const POD_NETWORK: &str = "10.244";

/// Host numbers of local machines: the front-end, then the workers.
const FIRST_HOST: usize = 10;

impl Loaded {
    /// The machines of `spec`, the front-end first, each with a pod range of its own that stays the same as
    /// long as the machines before it do.
    pub fn machines(&self, spec: &ClusterSpec) -> Result<Vec<Machine>, ConfigError> {
        match self.config.provider {
            ProviderKind::Local => self.local(spec),
            ProviderKind::Im => self.virtual_ones(spec),
            ProviderKind::Command
            | ProviderKind::Ipmi
            | ProviderKind::Redfish
            | ProviderKind::Wol
            | ProviderKind::Ssh => {
                if self.is_joined() {
                    self.metal()?;
                }
                self.declared(spec)
            }
        }
    }

    fn local(&self, spec: &ClusterSpec) -> Result<Vec<Machine>, ConfigError> {
        if let Some(entry) = self.config.machines.first() {
            return Err(self.error(
                entry.name.span(),
                "[[machine]] is for machines that exist; those of provider = \"local\" are made from the document"
                    .to_owned(),
            ));
        }
        let subnet = &self.config.local.subnet;
        let network = subnet
            .strip_suffix(".0/24")
            .ok_or_else(|| self.error(0..0, format!("[local] subnet `{subnet}` must be like 10.77.0.0/24")))?;
        let names = named(spec);
        if names.len() + FIRST_HOST > 254 {
            return Err(self.error(0..0, format!("{} machines do not fit in {subnet}", names.len())));
        }
        let made = names.into_iter().enumerate().map(|(index, (pool, name, role))| Machine {
            name,
            pool: pool.name.clone(),
            role,
            address: format!("{network}.{}", FIRST_HOST + index),
            port: 22,
            user: "root".to_owned(),
            pod_cidr: format!("{POD_NETWORK}.{index}.0/24"),
            shape: shape(pool),
        });
        Ok(made.collect())
    }

    /// Machines of a cloud: where each is reached shows once it is there.
    fn virtual_ones(&self, spec: &ClusterSpec) -> Result<Vec<Machine>, ConfigError> {
        self.im()?;
        let names = named(spec);
        if names.len() > 60_000 {
            return Err(self.error(0..0, format!("{} machines are more than there are pod ranges", names.len())));
        }
        let made = names.into_iter().enumerate().map(|(index, (pool, name, role))| Machine {
            name,
            pool: pool.name.clone(),
            role,
            address: String::new(),
            port: self.config.ssh.port,
            user: self.config.ssh.user.clone(),
            pod_cidr: range(index),
            shape: shape(pool),
        });
        Ok(made.collect())
    }

    fn declared(&self, spec: &ClusterSpec) -> Result<Vec<Machine>, ConfigError> {
        let mut count: BTreeMap<&str, u32> = BTreeMap::new();
        let mut names = BTreeSet::new();
        let mut machines = Vec::new();
        for (index, entry) in self.config.machines.iter().enumerate() {
            let (name, pool) = (entry.name.get_ref(), entry.pool.get_ref());
            if !names.insert(name) {
                return Err(self.error(entry.name.span(), format!("two machines are named `{name}`")));
            }
            let (found, role) = if pool == &spec.front_end.name {
                (&spec.front_end, Role::FrontEnd)
            } else {
                let found = spec.pools.iter().find(|p| &p.name == pool);
                (
                    found.ok_or_else(|| {
                        self.error(entry.pool.span(), format!("machine `{name}`: the document has no system `{pool}`"))
                    })?,
                    Role::Worker,
                )
            };
            *count.entry(pool).or_default() += 1;
            machines.push(Machine {
                name: name.clone(),
                pool: pool.clone(),
                role,
                address: entry.address.clone(),
                port: entry.port.unwrap_or(self.config.ssh.port),
                user: entry.user.clone().unwrap_or_else(|| self.config.ssh.user.clone()),
                pod_cidr: range(index),
                shape: shape(found),
            });
        }
        for pool in std::iter::once(&spec.front_end).chain(&spec.pools) {
            let have = count.get(pool.name.as_str()).copied().unwrap_or(0);
            if have < pool.max {
                let message = format!(
                    "pool `{}` has a max of {} but {have} [[machine]] with pool = \"{}\"; declare the others or lower ec3_max_instances (or [[pool]] max)",
                    pool.name, pool.max, pool.name
                );
                return Err(self.error(0..0, message));
            }
        }
        machines.sort_by_key(|m| m.role);
        Ok(machines)
    }
}

/// The machines that a document asks for, named after their pools, the front-end first.
fn named(spec: &ClusterSpec) -> Vec<(&Pool, String, Role)> {
    let mut names = vec![(&spec.front_end, spec.front_end.name.clone(), Role::FrontEnd)];
    for pool in &spec.pools {
        names.extend((1..=pool.max).map(|n| (pool, format!("{}-{n}", pool.name), Role::Worker)));
    }
    names
}

/// The pod range of a machine by its number: the first 256 lie in `10.244.0.0/16`, more spread over what is above.
fn range(index: usize) -> String {
    if index < 256 {
        format!("{POD_NETWORK}.{index}.0/24")
    } else {
        format!("100.{}.{}.0/24", 64 + index / 256 % 64, index % 256)
    }
}

/// What a pool's node will be, as declared; what it really is shows when it is up.
fn shape(pool: &Pool) -> Shape {
    let mut labels = pool.labels.clone();
    labels.insert("marea/pool".to_owned(), pool.name.clone());
    let mut taints = pool.taints.clone();
    if pool.is_no_nodes() {
        // No pod may count on it: only what asks for this runtime tolerates it.
        labels.insert(RUNTIME.to_owned(), UDOCKER.to_owned());
        taints.push(Taint { key: RUNTIME.to_owned(), value: UDOCKER.to_owned(), effect: Effect::NoSchedule });
    }
    let allocatable = Resources {
        cpu_milli: u64::from(pool.cpus) * 1000,
        memory: pool.memory,
        ephemeral: 0,
        pods: 110,
        extended: pool.extended.clone(),
    };
    Shape { allocatable, labels, taints, ..Shape::default() }
}
