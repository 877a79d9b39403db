//! Each filter by direct calls, at its edges.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::model::node::Effect;
use crate::model::pod::{Operator, Owner, Phase, PodId, Requirement, Term, Toleration};

fn pod() -> Pod {
    Pod {
        id: PodId { namespace: "ns".into(), name: "p".into() },
        uid: "u".into(),
        created: Timestamp::UNIX_EPOCH,
        phase: Phase::Pending,
        node: None,
        unschedulable: true,
        gated: false,
        deleting: false,
        owner: Owner::Bare,
        requests: Resources { cpu_milli: 500, memory: 1 << 30, pods: 1, ..Resources::default() },
        node_selector: BTreeMap::new(),
        affinity: None,
        tolerations: vec![],
        host_ports: vec![],
        priority: 0,
        ..Pod::default()
    }
}

fn shape() -> Shape {
    Shape {
        allocatable: Resources { cpu_milli: 2000, memory: 4 << 30, pods: 3, ..Resources::default() },
        labels: BTreeMap::from([("disk".into(), "ssd".into()), ("gen".into(), "7".into())]),
        ..Shape::default()
    }
}

fn verdict(pod: &Pod, shape: &Shape) -> Option<Misfit> {
    first_failing_filter(pod, &Place::empty("n", shape))
}

fn taint(effect: Effect) -> Taint {
    Taint { key: "k".into(), value: "v".into(), effect }
}

fn requirement(key: &str, operator: Operator, values: &[&str]) -> Requirement {
    Requirement { key: key.into(), operator, values: values.iter().map(|value| (*value).to_owned()).collect() }
}

#[test]
fn resources_fit_to_the_last_unit() {
    let shape = shape();
    let mut place = Place::empty("n", &shape);
    place.used.cpu_milli = 1500;
    assert_eq!(first_failing_filter(&pod(), &place), None);
    place.used.cpu_milli = 1501;
    let misfit = first_failing_filter(&pod(), &place).unwrap();
    assert_eq!(misfit.filter().name(), "NodeResourcesFit");
    assert_eq!(misfit.to_string(), "cpu: asks for 500m, 499m free of 2 (1m short)");
    place.used.cpu_milli = 0;
    place.used.memory = (3 << 30) + 1;
    assert!(first_failing_filter(&pod(), &place).unwrap().to_string().starts_with("memory: asks for 1Gi"));
}

#[test]
fn what_is_not_asked_for_is_not_compared() {
    let shape = shape();
    let mut place = Place::empty("n", &shape);
    place.used.cpu_milli = 9000;
    let mut pod = pod();
    pod.requests.cpu_milli = 0;
    assert_eq!(first_failing_filter(&pod, &place), None, "over-committed in CPU, but the pod asks for none");
    pod.requests.extended.insert("gpu".into(), 0);
    assert_eq!(first_failing_filter(&pod, &place), None, "zero of a resource that the node does not know");
    pod.requests.extended.insert("gpu".into(), 1);
    assert!(matches!(first_failing_filter(&pod, &place), Some(Misfit::Short { resource, .. }) if resource == "gpu"));
}

#[test]
fn the_count_of_pods_comes_first() {
    let shape = shape();
    let mut place = Place::empty("n", &shape);
    place.used.pods = 2;
    assert_eq!(first_failing_filter(&pod(), &place), None);
    place.used.pods = 3;
    place.used.cpu_milli = 9000;
    assert_eq!(first_failing_filter(&pod(), &place), Some(Misfit::TooManyPods { most: 3 }));
}

#[test]
fn taints_as_the_scheduler_reads_them() {
    let mut node = shape();
    node.taints = vec![taint(Effect::PreferNoSchedule)];
    assert_eq!(verdict(&pod(), &node), None, "a preference never counts");
    for effect in [Effect::NoSchedule, Effect::NoExecute] {
        node.taints = vec![taint(effect)];
        assert_eq!(verdict(&pod(), &node).unwrap().filter().name(), "TaintToleration");
        let with = |key: &str, exists, value: &str, effect| {
            let mut pod = pod();
            pod.tolerations = vec![Toleration { key: key.into(), exists, value: value.into(), effect }];
            verdict(&pod, &node).is_none()
        };
        assert!(with("k", false, "v", None));
        assert!(with("k", true, "", Some(effect)));
        assert!(with("", true, "", None), "an empty key with Exists tolerates all");
        assert!(!with("k", false, "w", None));
        assert!(!with("k", true, "", Some(Effect::PreferNoSchedule)));
    }
}

#[test]
fn a_cordon_is_a_taint_that_can_be_tolerated() {
    let shape = shape();
    let mut place = Place::empty("n", &shape);
    place.cordoned = true;
    let mut pod = pod();
    assert_eq!(first_failing_filter(&pod, &place), Some(Misfit::Unschedulable));
    pod.tolerations = vec![Toleration {
        key: "node.kubernetes.io/unschedulable".into(),
        exists: true,
        value: String::new(),
        effect: Some(Effect::NoSchedule),
    }];
    assert_eq!(first_failing_filter(&pod, &place), None);
}

#[test]
fn the_order_is_the_schedulers() {
    let mut node = shape();
    node.taints = vec![taint(Effect::NoSchedule)];
    let mut place = Place::empty("n", &node);
    place.cordoned = true;
    place.used.pods = 9;
    let held = HostPort { ip: "0.0.0.0".into(), protocol: "TCP".into(), port: 80 };
    place.ports = vec![held.clone()];
    let mut pod = pod();
    pod.node = Some("other".into());
    pod.node_selector.insert("no".into(), "such".into());
    pod.host_ports = vec![held];
    let mut seen = Vec::new();
    while let Some(misfit) = first_failing_filter(&pod, &place) {
        seen.push(misfit.filter().name());
        match misfit.filter().name() {
            "NodeUnschedulable" => place.cordoned = false,
            "NodeName" => pod.node = None,
            "TaintToleration" => pod.tolerations.push(Toleration {
                key: String::new(),
                exists: true,
                value: String::new(),
                effect: None,
            }),
            "NodeAffinity" => pod.node_selector.clear(),
            "NodePorts" => place.ports.clear(),
            _ => place.used.pods = 0,
        }
    }
    assert_eq!(
        seen,
        ["NodeName", "NodeUnschedulable", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit"]
    );
}

#[test]
fn requirements_on_labels() {
    use Operator::{DoesNotExist, Exists, Gt, In, Lt, NotIn};
    for (key, operator, values, holds) in [
        ("disk", In, &["hdd", "ssd"][..], true),
        ("disk", In, &["hdd"], false),
        ("none", In, &["x"], false),
        ("disk", NotIn, &["ssd"], false),
        ("none", NotIn, &["x"], true),
        ("disk", Exists, &[], true),
        ("none", Exists, &[], false),
        ("none", DoesNotExist, &[], true),
        ("disk", DoesNotExist, &[], false),
        ("gen", Gt, &["6"], true),
        ("gen", Gt, &["7"], false),
        ("gen", Lt, &["8"], true),
        ("gen", Lt, &["7"], false),
        ("disk", Gt, &["1"], false),
        ("none", Lt, &["1"], false),
        ("gen", Gt, &["x"], false),
        ("gen", Gt, &["1", "2"], false),
    ] {
        let mut pod = pod();
        pod.affinity = Some(vec![Term { labels: vec![requirement(key, operator, values)], fields: vec![] }]);
        assert_eq!(verdict(&pod, &shape()).is_none(), holds, "{key} {operator:?} {values:?}");
    }
}

#[test]
fn terms_are_alternatives_and_an_empty_one_matches_nothing() {
    let good = Term { labels: vec![requirement("disk", Operator::Exists, &[])], fields: vec![] };
    let bad = Term { labels: vec![requirement("none", Operator::Exists, &[])], fields: vec![] };
    let both = Term { labels: [good.labels.clone(), bad.labels.clone()].concat(), fields: vec![] };
    let named = |name: &str| Term { labels: vec![], fields: vec![requirement("metadata.name", Operator::In, &[name])] };
    for (terms, fits) in [
        (vec![], false),
        (vec![Term::default()], false),
        (vec![Term::default(), good.clone()], true),
        (vec![bad.clone(), good], true),
        (vec![bad, both], false),
        (vec![named("n")], true),
        (vec![named("m")], false),
    ] {
        let mut pod = pod();
        pod.affinity = Some(terms.clone());
        assert_eq!(verdict(&pod, &shape()).is_none(), fits, "{terms:?}");
    }
}

#[test]
fn host_ports_clash_by_address_protocol_and_number() {
    let port = |ip: &str, protocol: &str, port| HostPort { ip: ip.into(), protocol: protocol.into(), port };
    for (wanted, held, clash) in [
        (port("0.0.0.0", "TCP", 80), port("10.0.0.1", "TCP", 80), true),
        (port("10.0.0.1", "TCP", 80), port("0.0.0.0", "TCP", 80), true),
        (port("10.0.0.1", "TCP", 80), port("10.0.0.1", "TCP", 80), true),
        (port("10.0.0.1", "TCP", 80), port("10.0.0.2", "TCP", 80), false),
        (port("0.0.0.0", "UDP", 80), port("0.0.0.0", "TCP", 80), false),
        (port("0.0.0.0", "TCP", 81), port("0.0.0.0", "TCP", 80), false),
    ] {
        let shape = shape();
        let mut place = Place::empty("n", &shape);
        place.ports = vec![held.clone()];
        let mut pod = pod();
        pod.host_ports = vec![wanted.clone()];
        assert_eq!(first_failing_filter(&pod, &place).is_some(), clash, "{wanted:?} {held:?}");
    }
}
