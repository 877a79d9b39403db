//! The Kubernetes floor against the fake API server: watch, drain, cordon, delete; and the conversion by tables.

use std::sync::Arc;
use std::time::Duration;

use marea::autoscaler::Event;
use marea::autoscaler::why::notice::{About, Notice};
use marea::kubernetes::drain::{self, Patience};
use marea::kubernetes::watch::{Timing, watch};
use marea::kubernetes::{CORDONED, KubernetesError, convert, events};
use marea::model::fact::{Fact, Facts};
use marea::model::node::Effect;
use marea::model::pod::{Operator, Owner, PodId};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fake_api::{FakeApi, node, pod};

const QUICK: Timing = Timing {
    probe_every: Duration::from_millis(50),
    probe_limit: Duration::from_millis(200),
    list_limit: Duration::from_secs(5),
    retry_first: Duration::from_millis(20),
    retry_most: Duration::from_millis(100),
};

const PATIENT: Patience =
    Patience { limit: Duration::from_millis(300), first: Duration::from_millis(5), most: Duration::from_millis(20) };

/// The next event, or a failed test when none comes: a generous limit, for a loaded machine.
async fn next(events: &mut mpsc::Receiver<Event>) -> Event {
    tokio::time::timeout(Duration::from_secs(20), events.recv()).await.expect("an event in time").unwrap()
}

/// The two lists, in whichever order they come.
async fn lists(events: &mut mpsc::Receiver<Event>) -> (usize, usize) {
    let (mut pods_seen, mut nodes_seen) = (None, None);
    while pods_seen.is_none() || nodes_seen.is_none() {
        match next(events).await {
            Event::PodsListed { pods } => pods_seen = Some(pods.len()),
            Event::NodesListed { nodes } => nodes_seen = Some(nodes.len()),
            Event::FactsListed { .. } if pods_seen.is_none() && nodes_seen.is_none() => {}
            other => panic!("{other:?} before the lists"),
        }
    }
    (pods_seen.unwrap(), nodes_seen.unwrap())
}

fn id(name: &str) -> PodId {
    PodId { namespace: "default".to_owned(), name: name.to_owned() }
}

#[tokio::test]
async fn the_watch_lists_then_tells_changes_and_only_changes_that_matter() {
    let api = FakeApi::start().await;
    api.put_node(node("wn-1", "u1"));
    api.put_pod(pod("default", "a", Some("wn-1"), "1"));
    let (sender, mut events) = mpsc::channel(16);
    let task = tokio::spawn(watch(api.client(), sender, QUICK));
    assert_eq!(lists(&mut events).await, (1, 1));
    // The list asks for pods that are not finished, and for nothing else.
    assert!(api.world().requests.iter().any(|r| r.contains("/api/v1/pods?") && r.contains("status.phase")));
    // The watches must be there before a change is made.
    while api.world().requests.iter().filter(|request| request.contains("watch=true")).count() < 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    api.put_pod(pod("default", "b", None, "2"));
    let Event::PodApplied { pod: applied } = next(&mut events).await else { panic!("b is applied") };
    assert!(applied.unschedulable && applied.requests.cpu_milli == 2000, "{applied:?}");

    // A change that decides nothing is not told: the next event is the deletion that follows it.
    let mut noise = pod("default", "b", None, "2");
    noise["metadata"]["annotations"] = json!({ "noise": "yes" });
    api.put_pod(noise);
    api.remove_pod("default/b");
    assert_eq!(next(&mut events).await, Event::PodGone { id: id("b") });
    api.remove_node("wn-1");
    assert_eq!(next(&mut events).await, Event::NodeGone { name: "wn-1".to_owned() });
    task.abort();
}

#[tokio::test]
async fn facts_are_told_before_the_pods_that_are_judged_by_them() {
    let api = FakeApi::start().await;
    api.put_pod(pod("default", "a", None, "1"));
    let meta = |name: &str| json!({ "name": name, "namespace": "default", "uid": format!("uid-{name}") });
    let mut claim = json!({ "metadata": meta("data"), "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": { "requests": { "storage": "1Gi" } },
    } });
    api.put_fact("persistentvolumeclaims", claim.clone());
    api.put_fact("namespaces", json!({ "metadata": { "name": "default", "labels": { "team": "a" } } }));
    let (sender, mut events) = mpsc::channel(16);
    let task = tokio::spawn(watch(api.client(), sender, QUICK));
    let Event::FactsListed { facts } = next(&mut events).await else { panic!("the facts are first") };
    let facts: Facts = facts.into_iter().collect();
    assert_eq!(facts.namespaces["default"].labels["team"], "a");
    let seen = &facts.claims["default/data"];
    assert_eq!((seen.class.as_str(), seen.size, seen.bound), ("fast", Some(1 << 30), false));
    lists(&mut events).await;
    while api.world().requests.iter().filter(|request| request.contains("watch=true")).count() < 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    claim["metadata"]["annotations"] = json!({ "pv.kubernetes.io/bind-completed": "yes" });
    claim["spec"]["volumeName"] = json!("pv-1");
    api.put_fact("persistentvolumeclaims", claim);
    let Event::FactApplied { fact: Fact::Claim(bound) } = next(&mut events).await else { panic!("the claim changed") };
    assert_eq!((bound.bound, bound.volume.as_deref()), (true, Some("pv-1")));
    api.world().remove("persistentvolumeclaims", "default/data");
    assert_eq!(next(&mut events).await, Event::FactGone { id: Fact::Claim(bound).id() });
    task.abort();
}

#[tokio::test]
async fn a_server_that_goes_is_told_once_and_its_return_brings_fresh_lists() {
    let mut api = FakeApi::start().await;
    api.put_node(node("wn-1", "u1"));
    let (sender, mut events) = mpsc::channel(16);
    let task = tokio::spawn(watch(api.client(), sender, QUICK));
    assert_eq!(lists(&mut events).await, (0, 1));
    api.go_away().await;
    let Event::WatchLost { reason } = next(&mut events).await else { panic!("the watch is lost") };
    assert!(!reason.is_empty());
    // Several retries fail meanwhile, and none of them says it again.
    tokio::time::sleep(QUICK.retry_most * 4).await;
    assert!(events.try_recv().is_err());
    api.put_pod(pod("default", "made-meanwhile", None, "1"));
    api.come_back().await;
    assert_eq!(lists(&mut events).await, (1, 1));
    task.abort();
}

#[tokio::test]
async fn a_server_that_falls_silent_is_noticed_by_the_probe() {
    let api = FakeApi::start().await;
    let (sender, mut events) = mpsc::channel(16);
    let task = tokio::spawn(watch(api.client(), sender, QUICK));
    lists(&mut events).await;
    // The connections stay open: only the probe can tell.
    api.world().silent = true;
    let Event::WatchLost { reason } = next(&mut events).await else { panic!("the watch is lost") };
    assert!(reason.contains("/readyz"), "{reason}");
    api.world().silent = false;
    lists(&mut events).await;
    task.abort();
}

#[tokio::test]
async fn a_budget_that_holds_is_waited_for_and_the_pod_then_goes() {
    let api = FakeApi::start().await;
    api.put_pod(pod("default", "a", Some("wn-1"), "1"));
    api.world().evictions.extend([(429, "budget"), (500, "more than one budget"), (429, "budget")]);
    drain::drain(&api.client(), "wn-1", &[id("a")], PATIENT).await.unwrap();
    assert!(api.world().pods.is_empty());
    assert_eq!(api.world().orders().len(), 4, "three refusals and the one that worked");
}

#[tokio::test]
async fn a_budget_that_never_yields_ends_the_drain_with_its_words_and_the_pod_stays() {
    let api = FakeApi::start().await;
    api.put_pod(pod("default", "a", Some("wn-1"), "1"));
    api.world().evictions.extend(std::iter::repeat_n((429, "Cannot evict pod: budget db"), 1000));
    let error = drain::drain(&api.client(), "wn-1", &[id("a")], PATIENT).await.unwrap_err();
    assert!(matches!(error, KubernetesError::TimedOut { .. }) && error.is_retriable(), "{error:?}");
    assert!(error.to_string().contains("budget db"), "{error}");
    assert_eq!(api.world().pods.len(), 1);
}

#[tokio::test]
async fn a_refusal_is_final_and_a_pod_that_is_elsewhere_or_gone_is_left_alone() {
    let api = FakeApi::start().await;
    api.put_pod(pod("default", "a", Some("wn-1"), "1"));
    api.world().evictions.push_back((403, "not allowed"));
    let error = drain::drain(&api.client(), "wn-1", &[id("a")], PATIENT).await.unwrap_err();
    assert!(matches!(error, KubernetesError::Refused { .. }) && !error.is_retriable(), "{error:?}");

    api.world().requests.clear();
    drain::drain(&api.client(), "wn-2", &[id("a"), id("gone")], PATIENT).await.unwrap();
    assert!(api.world().orders().is_empty(), "{:?}", api.world().orders());
}

#[tokio::test]
async fn only_our_own_cordon_is_undone() {
    let api = FakeApi::start().await;
    let client = api.client();
    api.put_node(node("ours", "u1"));
    let mut theirs = node("theirs", "u2");
    theirs["spec"]["unschedulable"] = json!(true);
    api.put_node(theirs.clone());

    api.world().node_faults.push_back((409, "the object has been modified"));
    drain::cordon(&client, "ours").await.unwrap();
    drain::cordon(&client, "theirs").await.unwrap();
    let marked = |name: &str| {
        let node = api.world().nodes[name].clone();
        (node["spec"]["unschedulable"] == json!(true), node["metadata"]["annotations"][CORDONED].is_string())
    };
    assert_eq!((marked("ours"), marked("theirs")), ((true, true), (true, false)));

    for name in ["ours", "theirs", "missing"] {
        drain::uncordon(&client, name).await.unwrap();
    }
    assert_eq!((marked("ours"), marked("theirs")), ((false, false), (true, false)));
    assert!(matches!(drain::cordon(&client, "missing").await, Err(KubernetesError::Missing { .. })));
}

#[tokio::test]
async fn a_node_is_deleted_only_with_its_uid() {
    let api = FakeApi::start().await;
    let client = api.client();
    api.put_node(node("wn-1", "new"));
    let error = drain::delete_node(&client, "wn-1", "old").await.unwrap_err();
    assert!(matches!(error, KubernetesError::Replaced { .. }), "{error:?}");
    assert_eq!(api.world().nodes.len(), 1);
    api.world().node_faults.push_back((500, "etcd"));
    assert!(drain::delete_node(&client, "wn-1", "new").await.unwrap_err().is_retriable());
    drain::delete_node(&client, "wn-1", "new").await.unwrap();
    drain::delete_node(&client, "wn-1", "new").await.expect("gone already is a success");
}

#[tokio::test]
async fn an_event_is_said_once_also_by_the_next_daemon() {
    let api = FakeApi::start().await;
    let notice = |key: &str, text: &str| Notice {
        about: About::Pod(id("a"), "uid-a".to_owned()),
        reason: "MachineBooting",
        key: key.to_owned(),
        warning: false,
        text: text.to_owned(),
    };
    let said = async |count: usize| {
        let enough = async {
            while api.world().events.len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), enough).await.expect("the events in time");
        assert_eq!(api.world().events.len(), count);
    };
    for (daemon, expected) in [(1, 2), (2, 3)] {
        let (sender, receiver) = tokio::sync::watch::channel(Arc::default());
        let task = tokio::spawn(events::announce(api.client(), receiver));
        sender.send_replace(Arc::new(vec![notice("n7", "n7 is booting, ready about 14:03:20 UTC")]));
        // Only time has changed in the second: it is the first that stands.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let last = format!("last word of {daemon}");
        sender.send_replace(Arc::new(vec![notice("n7", "n7 is booting, ready about 14:03:21 UTC"), notice(&last, "")]));
        said(expected).await;
        task.abort();
    }
    let event = api.world().events[0].clone();
    assert_eq!(event["note"], "n7 is booting, ready about 14:03:20 UTC");
    assert_eq!((&event["regarding"]["kind"], &event["regarding"]["uid"]), (&json!("Pod"), &json!("uid-a")));
    assert_eq!((&event["type"], &event["reason"]), (&json!("Normal"), &json!("MachineBooting")));
}

fn converted(change: impl FnOnce(&mut Value)) -> marea::model::pod::Pod {
    let mut object = pod("default", "a", None, "1");
    change(&mut object);
    convert::pod(&serde_json::from_value(object).unwrap())
}

#[test]
fn constraints_are_kept_or_named() {
    let plain = converted(|_| ());
    assert_eq!(plain.owner, Owner::Controller("ReplicaSet/rs".to_owned()));
    assert_eq!((plain.requests.pods, plain.not_judged.len()), (1, 0));

    let rich = converted(|pod| {
        pod["spec"]["schedulingGates"] = json!([{ "name": "g" }]);
        pod["spec"]["tolerations"] = json!([
            { "operator": "Exists" }, { "key": "k", "value": "v", "effect": "NoExecute" }, { "key": "n", "operator": "Gt", "value": "1" },
        ]);
        pod["spec"]["containers"][0]["ports"] =
            json!([{ "containerPort": 80, "hostPort": 8080 }, { "containerPort": 81 }]);
        pod["spec"]["affinity"] = json!({
            "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                { "matchExpressions": [{ "key": "gpu", "operator": "Gt", "values": ["1"] }] },
                { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["wn-1"] }] },
            ] } },
            "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{ "topologyKey": "kubernetes.io/hostname" }] },
            "podAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
                { "weight": 1, "podAffinityTerm": { "topologyKey": "kubernetes.io/hostname" } }] },
        });
        pod["spec"]["topologySpreadConstraints"] = json!([
            { "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule" },
            { "maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway" },
        ]);
        pod["spec"]["volumes"] = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": "data" } }]);
    });
    assert!(rich.gated);
    assert_eq!(rich.tolerations.len(), 2, "a toleration that is not understood tolerates nothing");
    assert!(rich.tolerations[0].exists && rich.tolerations[1].effect == Some(Effect::NoExecute));
    assert_eq!(rich.host_ports.iter().map(|port| port.port).collect::<Vec<_>>(), [8080]);
    let terms = rich.affinity.unwrap();
    assert_eq!((terms[0].labels[0].operator, terms[1].fields[0].key.as_str()), (Operator::Gt, "metadata.name"));
    assert_eq!((rich.pod_anti_affinity.len(), rich.pod_affinity.len()), (1, 0), "preferences are dropped");
    assert_eq!(rich.pod_anti_affinity[0].namespaces, ["default"], "its own namespace when none is named");
    assert_eq!(rich.spread.iter().map(|one| one.topology_key.as_str()).collect::<Vec<_>>(), ["zone"]);
    assert!(rich.spread[0].selector.is_none() && rich.spread[0].honors_affinity && !rich.spread[0].honors_taints);
    assert_eq!((rich.claims[0].claim.as_str(), rich.claims[0].ephemeral), ("data", false));
    assert_eq!(rich.not_judged, [""; 0]);

    let strange = converted(|pod| {
        pod["spec"]["resourceClaims"] = json!([{ "name": "gpu", "resourceClaimName": "gpu" }]);
        pod["spec"]["schedulerName"] = json!("another");
    });
    assert_eq!(strange.not_judged, ["resource claim `gpu`", "scheduler `another`"]);
}

#[test]
fn owners_tell_who_makes_a_pod_again() {
    for (references, annotation, owner) in [
        (json!([]), None, Owner::Bare),
        (
            json!([{ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "ds", "uid": "u", "controller": true }]),
            None,
            Owner::DaemonSet("ds".to_owned()),
        ),
        (
            json!([{ "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u", "controller": true }]),
            None,
            Owner::Mirror,
        ),
        (json!([]), Some("x"), Owner::Mirror),
        (json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u" }]), None, Owner::Bare),
    ] {
        let pod = converted(|pod| {
            pod["metadata"]["ownerReferences"] = references.clone();
            if let Some(hash) = annotation {
                pod["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": hash });
            }
        });
        assert_eq!(pod.owner, owner, "{references}");
    }
}

#[test]
fn a_node_loses_the_taints_that_pass_and_keeps_those_that_stay() {
    let mut object = node("wn-1", "u1");
    object["spec"] = json!({ "unschedulable": true, "taints": [
        { "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" },
        { "key": "node.kubernetes.io/not-ready", "effect": "NoExecute" },
        { "key": "gpu", "value": "yes", "effect": "NoSchedule" },
        { "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" },
    ] });
    object["metadata"]["annotations"] = json!({ CORDONED: "true" });
    let node = convert::node(&serde_json::from_value(object).unwrap());
    let keys: Vec<&str> = node.shape.taints.iter().map(|taint| taint.key.as_str()).collect();
    assert_eq!(keys, ["gpu", "node-role.kubernetes.io/control-plane"]);
    let passing: Vec<&str> = node.transient.iter().map(|taint| taint.key.as_str()).collect();
    assert_eq!(passing, ["node.kubernetes.io/not-ready"], "the cordon is told apart");
    assert!(node.ready && node.cordoned && node.cordoned_by_us && node.shape.seen && node.heartbeat.is_some());
    assert_eq!((node.shape.allocatable.cpu_milli, node.shape.allocatable.pods), (4000, 110));
}
