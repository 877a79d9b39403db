//! Our verdict on a scenario, from the same objects, through the conversion that the daemon uses.

use std::collections::BTreeMap;

use k8s_openapi::api::{core::v1 as core, storage::v1 as storage};
use marea::kubernetes::{convert, facts};
use marea::model::fact::{Fact, Facts};
use marea::model::pod::Pod;
use marea::scheduling::{Cluster, Misfit};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// By pod that is asked about, and node: why it does not fit.
pub(crate) type Verdicts = Vec<BTreeMap<String, Option<Misfit>>>;

pub(crate) fn verdicts(scenario: &Value, answer: &Value) -> Verdicts {
    let facts = facts_of(scenario);
    let mut cluster = Cluster::new(facts.clone());
    let mut nodes = BTreeMap::new();
    for mut node in read::<core::Node>(&scenario["nodes"]).iter().map(convert::node) {
        if let Some(drivers) = facts.node_drivers.get(&node.name) {
            node.shape.drivers.clone_from(&drivers.limits);
        }
        let number = cluster.add_node(&node.name, &node.shape, &node.transient, node.cordoned);
        nodes.insert(node.name, number);
    }
    for pod in pods(&answer["placed"]) {
        let class = cluster.class(&pod);
        cluster.place(class, nodes[pod.node.as_ref().unwrap()]);
    }
    for pod in pods(&answer["nominated"]) {
        let class = cluster.class(&pod);
        cluster.nominate(class, nodes[pod.nominated.as_ref().unwrap()], pod.priority);
    }
    let mut all = Vec::new();
    for pod in pods(&answer["asks"]) {
        let class = cluster.ask(&pod);
        let judge = |(name, node): (&String, &usize)| (name.clone(), cluster.judge(class, *node, pod.priority));
        all.push(nodes.iter().map(judge).collect());
    }
    all
}

fn pods(list: &Value) -> Vec<Pod> {
    read::<core::Pod>(list).iter().map(convert::pod).collect()
}

fn facts_of(scenario: &Value) -> Facts {
    let mut all: Vec<Fact> = Vec::new();
    all.extend(read(&scenario["namespaces"]).iter().map(facts::namespace));
    all.extend(read(&scenario["claims"]).iter().map(facts::claim));
    all.extend(read(&scenario["volumes"]).iter().map(facts::volume));
    all.extend(read(&scenario["classes"]).iter().map(facts::class));
    all.extend(read(&scenario["drivers"]).iter().map(facts::driver));
    all.extend(read::<storage::CSINode>(&scenario["nodeDrivers"]).iter().map(facts::node_drivers));
    all.extend(read(&scenario["capacities"]).iter().map(facts::capacity));
    all.extend(read(&scenario["attachments"]).iter().map(facts::attachment));
    all.into_iter().collect()
}

fn read<T: DeserializeOwned>(list: &Value) -> Vec<T> {
    if list.is_null() { Vec::new() } else { serde_json::from_value(list.clone()).unwrap() }
}
