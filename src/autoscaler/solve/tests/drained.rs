//! Which nodes could go off, by direct calls.

use std::collections::BTreeMap;

use crate::autoscaler::solve::compile::Kin;
use crate::autoscaler::solve::drain::{Drain, Drained, Resident, drain};
use crate::autoscaler::solve::sites::{Seen, Sites, Standing};
use crate::model::fact::Facts;
use crate::model::node::Shape;
use crate::model::pod::{Pod, PodId};
use crate::model::resources::Resources;

/// Nodes of 1000 with pods of these sizes, all of which could move; one of them only to a node labelled `x`.
fn drained(nodes: &[&[u64]], candidates: &[usize], most: usize, pinned: Option<usize>) -> Drained {
    let pods: Vec<(Pod, usize)> = nodes
        .iter()
        .enumerate()
        .flat_map(|(node, sizes)| sizes.iter().map(move |cpu_milli| (*cpu_milli, node)))
        .enumerate()
        .map(|(number, (cpu_milli, node))| {
            let mut pod = Pod {
                id: PodId { namespace: "ns".into(), name: number.to_string() },
                node: Some(format!("n{node}")),
                requests: Resources { cpu_milli, pods: 1, ..Resources::default() },
                ..Pod::default()
            };
            if pinned == Some(number) {
                pod.node_selector.insert("x".into(), "y".into());
            }
            (pod, node)
        })
        .collect();
    let mut sites = Sites::default();
    for (node, sizes) in nodes.iter().enumerate() {
        let shape = Shape {
            allocatable: Resources { cpu_milli: 1000, pods: 10, ..Resources::default() },
            labels: BTreeMap::from([("x".into(), if node == 0 { "y" } else { "n" }.into())]),
            ..Shape::default()
        };
        let used = Resources { cpu_milli: sizes.iter().sum(), pods: sizes.len() as u64, ..Resources::default() };
        let standing = Standing::Ready;
        sites.set(
            &format!("n{node}"),
            Seen { shape: &shape, transient: &[], cordoned: false, used: &used, ports: &[], standing },
        );
    }
    let bound = pods.iter().map(|(pod, site)| Kin::of(pod, *site)).collect();
    let residents = pods.iter().map(|(pod, site)| Resident { pod, site: *site }).collect();
    let question = Drain { residents, bound, candidates: candidates.to_vec(), most, ..Drain::default() };
    drain(&question, &sites, &Facts::default())
}

#[test]
fn nodes_go_whose_pods_all_fit_elsewhere() {
    let nodes: &[&[u64]] = &[&[300, 300], &[200], &[400, 100]];
    let all = drained(nodes, &[1, 2, 0], usize::MAX, None);
    assert_eq!(all.off, [1], "then what is left is 1100 and 1300");
    assert_eq!(all.moves.len(), 1);
    assert_eq!(drained(nodes, &[1], 0, None).off, [] as [usize; 0], "the budget holds");
    assert_eq!(drained(&[&[600], &[500]], &[0, 1], 9, None), Drained::default(), "half a drain is none");
    assert_eq!(drained(&[&[100], &[100], &[100]], &[0, 1, 2], 9, None).off, [0, 1]);
}

#[test]
fn a_pod_that_only_its_own_node_takes_holds_it() {
    assert_eq!(drained(&[&[100], &[100]], &[0, 1], 9, Some(0)).off, [1], "the first is pinned to its node");
    assert_eq!(drained(&[&[100], &[100]], &[0, 1], 9, None).off, [0]);
}
