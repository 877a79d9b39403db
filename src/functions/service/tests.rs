//! The service as clients of both versions write it.

use serde_json::json;

use super::*;

fn plain(more: Value) -> Value {
    let mut value = json!({ "name": "cow", "image": "i", "script": "s" });
    for (key, one) in more.as_object().unwrap() {
        value[key] = one.clone();
    }
    value
}

#[test]
fn defaults_are_oscars_and_a_path_without_a_bucket_is_in_the_services_own() {
    let places =
        json!({ "input": [{ "storage_provider": "minio", "path": "/in/" }], "output": [{ "path": "far/out" }] });
    let service = read(plain(places)).unwrap();
    assert_eq!((service.cpu.as_str(), service.memory.as_str(), service.log_level.as_str()), ("0.2", "256Mi", "INFO"));
    assert_eq!(service.input[0].path, "cow/in");
    assert_eq!(service.input[0].bucket_and_folder(), ("cow", "in/".to_owned()));
    assert_eq!(service.output[0].bucket_and_folder(), ("far", "out/".to_owned()));
    assert_eq!(service.own_places().count(), 2);
}

#[test]
fn keys_of_any_case_are_read_except_where_they_are_data() {
    let value = json!({ "NAME": "cow", "Image": "i", "sCript": "s", "Environment": { "Variables": { "Path": "x", "NIL": null } },
        "labels": { "Team": "Blue" }, "memory": null, "Input": [{ "Path": "box/b" }],
        "storage_providers": { "MinIO": { "Far": { "Endpoint": "http://x", "ACCESS_KEY": "k" } } } });
    let service = read(value).unwrap();
    assert_eq!(
        service.environment.variables,
        BTreeMap::from([("NIL".into(), String::new()), ("Path".into(), "x".into())])
    );
    assert_eq!(service.labels["Team"], "Blue");
    assert_eq!(service.storage_providers.minio["Far"].access_key, "k");
    assert_eq!(service.input[0].path, "box/b");
}

#[test]
fn the_third_versions_shapes_become_the_fourths() {
    let value = plain(
        json!({ "replicas": [{ "type": "endpoint", "url": "https://x", "Priority": 1 }], "delegation": "static",
        "rescheduler_threshold": 30, "expose": { "port": 0, "nodePort": 0 }, "output": [{ "path": "box/b", "suffix": ".txt" }] }),
    );
    let service = read(value).unwrap();
    let federation = service.federation.unwrap();
    assert_eq!((&federation["delegation"], &federation["members"][0]["url"]), (&json!("static"), &json!("https://x")));
    assert_eq!(service.output[0].suffix, [".txt"]);
    assert_eq!(service.expose, Expose::default());
}

#[test]
fn a_services_bound_is_the_least_of_all_that_bound_it() {
    let of = |more: Value| read(plain(more)).unwrap().limit(50);
    assert_eq!(of(json!({})), 50);
    assert_eq!(of(json!({ "total_cpu": "1", "cpu": "0.2" })), 5);
    assert_eq!(of(json!({ "total_cpu": "1", "total_memory": "512Mi" })), 2);
    assert_eq!(of(json!({ "annotations": { LIMIT: "3" }, "total_cpu": "1" })), 3);
    assert_eq!(of(json!({ "total_memory": "1Mi" })), 1, "less than one run would never run");
}

#[test]
fn a_service_that_was_given_out_is_taken_back_the_same() {
    let service =
        read(plain(json!({ "annotations": { "a": "b" }, "input": [{ "path": "box/y" }], "enable_gpu": true })))
            .unwrap();
    let back = read(serde_json::to_value(&service).unwrap()).unwrap();
    assert_eq!(back, service);
    assert_eq!(service.requests()["nvidia.com/gpu"], "1");
}
