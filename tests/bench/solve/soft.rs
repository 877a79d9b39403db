//! A soft anti-affinity: pods that would rather be apart. Karpenter takes it for a rule first, and wakes a machine
//! for each.

use k8s_openapi::api::core::v1 as core;
use marea::autoscaler::solve::sites::{Sites, Standing};
use marea::kubernetes::convert;
use marea::model::pod::Pod;
use marea::model::resources::Resources;
use serde_json::json;

use super::super::Figure;
use super::{Fleet, mix, offers, seen, wake};

const PODS: usize = 4000;

fn pods(soft: bool) -> Vec<Pod> {
    let preferred = json!([{ "weight": 10, "podAffinityTerm": {
        "topologyKey": mix::HOST, "labelSelector": { "matchLabels": { "app": "nginx" } } } }]);
    let affinity = json!({ "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": preferred } });
    let pod = |number: usize| {
        let mut object = json!({
            "metadata": { "name": format!("p{number}"), "namespace": "default", "uid": number.to_string(),
                          "labels": { "app": "nginx" } },
            "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": "500m", "memory": "512Mi" } } }] },
            "status": { "phase": "Pending" }
        });
        if soft {
            object["spec"]["affinity"] = affinity.clone();
        }
        convert::pod(&serde_json::from_value::<core::Pod>(object).unwrap())
    };
    (0..PODS).map(pod).collect()
}

fn woken(soft: bool) -> usize {
    let (mut sites, nothing) = (Sites::default(), Resources::default());
    for number in 0..5000 {
        sites.set(&mix::name(number), seen(&mix::machine(number), &nothing, Standing::Off));
    }
    let fleet = Fleet { sites, bound: Vec::new() };
    let found = wake(&fleet, &pods(soft), offers(&fleet.sites));
    assert!(found.missed.is_empty());
    found.wake.len()
}

pub(super) fn figure() -> Figure {
    let (with, without) = (woken(true), woken(false));
    assert_eq!(with, without, "a preference wakes nothing");
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    Figure {
        name: "solve/soft-anti-affinity",
        value: with as f64,
        unit: "machines",
        peer: Some(4000.0),
        how: "woken for 4,000 equal pods (500m, 512 MiB) that would rather be apart, of 5,000 machines off in 8 shapes: as many as without that. Peer: Karpenter's default on 4,000 such pods",
    }
}
