//! A rack: the machines of a simulation, how long they take to come and to go, and the policy of the daemon that
//! powers them, which also says what they draw.

use std::collections::BTreeMap;

use crate::autoscaler::Policy;
use crate::autoscaler::policy::Bounds;
use crate::autoscaler::price::{Draws, draws};
use crate::model::cluster::{ClusterSpec, Pool};
use crate::model::machine::{Machine, Role};
use crate::model::node::Shape;
use crate::model::resources::Resources;

/// So many machines there are, unless it is said.
pub const USUAL_COUNT: u32 = 10;
/// How long a machine takes to shut down, unless it is said.
pub const SHUTDOWN_MS: i64 = 20_000;

/// Machines and how they are powered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rack {
    /// The workers. The front-end is always on in every way, and is not counted.
    pub machines: Vec<Machine>,
    /// How the daemon decides.
    pub policy: Policy,
    /// From power on to a Ready node.
    pub boot_ms: i64,
    /// From the order to shut down to no power.
    pub shutdown_ms: i64,
}

impl Rack {
    /// Of these machines those that become nodes and are workers.
    pub fn new(machines: Vec<Machine>, mut policy: Policy, shutdown_ms: i64) -> Self {
        let works = |machine: &Machine| machine.role == Role::Worker && !machine.is_no_node();
        let boot_ms = policy.energy.boot_ms;
        // The core reckons with what is so here.
        policy.energy.off_ms = shutdown_ms;
        Self { machines: machines.into_iter().filter(works).collect(), policy, boot_ms, shutdown_ms }
    }

    /// So many machines as one finds them, pool `wn`: 16 CPUs and 64 GiB each. What they draw is guessed from that.
    pub fn usual(count: u32) -> Self {
        let shape = Shape {
            allocatable: Resources { cpu_milli: 16_000, memory: 64 << 30, pods: 110, ..Resources::default() },
            labels: BTreeMap::from([("marea/pool".to_owned(), "wn".to_owned())]),
            ..Shape::default()
        };
        let machine = |number: u32| Machine {
            name: format!("wn-{number}"),
            pool: "wn".to_owned(),
            role: Role::Worker,
            address: String::new(),
            port: 22,
            user: "root".to_owned(),
            pod_cidr: String::new(),
            shape: shape.clone(),
        };
        let pools = BTreeMap::from([("wn".to_owned(), Bounds { min: 0, max: Some(count) })]);
        Self::new((1..=count).map(machine).collect(), Policy { pools, ..Policy::default() }, SHUTDOWN_MS)
    }

    /// What a document would say that asks for these machines.
    pub fn spec(&self) -> ClusterSpec {
        let pool = |name: &str, machines: &[&Machine]| {
            let all = machines.first().map(|machine| machine.shape.allocatable.clone()).unwrap_or_default();
            let count = u32::try_from(machines.len()).unwrap_or(u32::MAX);
            Pool {
                name: name.to_owned(),
                min: self.policy.pools.get(name).map_or(0, |bounds| bounds.min),
                max: count,
                cpus: u32::try_from(all.cpu_milli / 1000).unwrap_or(u32::MAX),
                memory: all.memory,
                extended: all.extended,
                labels: BTreeMap::new(),
                taints: Vec::new(),
                recipes: Vec::new(),
            }
        };
        let mut pools: BTreeMap<&str, Vec<&Machine>> = BTreeMap::new();
        for machine in &self.machines {
            pools.entry(&machine.pool).or_default().push(machine);
        }
        let front_end = Pool { min: 1, max: 1, ..pool("front", &[]) };
        let pools = pools.iter().map(|(name, machines)| pool(name, machines)).collect();
        ClusterSpec { name: "simulated".to_owned(), front_end, pools }
    }

    /// What of it cannot be simulated, if anything.
    pub fn check(&self) -> Result<(), String> {
        let (boot, late) = (self.boot_ms, self.policy.boot_timeout_ms);
        if self.machines.is_empty() {
            return Err("there is no worker that becomes a node: nothing can be simulated".to_owned());
        }
        if boot < 0 || self.shutdown_ms < 0 {
            return Err("machines cannot boot or shut down in less than no time".to_owned());
        }
        if boot >= late {
            let message = "so every boot would be given up; raise [autoscaler] boot_timeout or lower [energy] boot";
            return Err(format!("machines boot in {} s and boot_timeout is {} s, {message}", boot / 1000, late / 1000));
        }
        if self.shutdown_ms >= self.policy.off_timeout_ms {
            let (down, late) = (self.shutdown_ms / 1000, self.policy.off_timeout_ms / 1000);
            return Err(format!(
                "machines shut down in {down} s and off_timeout is {late} s; lower one or raise the other"
            ));
        }
        Ok(())
    }

    /// What a machine draws.
    pub fn draws(&self, machine: &Machine) -> Draws {
        draws(&self.policy, machine)
    }

    /// True for a machine that nobody but a person switches: it is taken to be on.
    pub fn is_by_hand(&self, machine: &Machine) -> bool {
        self.policy.by_hand.contains(&machine.name)
    }
}
