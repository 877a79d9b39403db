//! Shape: from what clients send to what OSCAR's fourth version calls a service. Go's JSON takes a key in any
//! case and a `null` for nothing, so this does too, except inside maps whose keys are the user's own. Numbers
//! where a quantity belongs, scalars where a list belongs and version 3's replicas become what they mean.

use serde_json::{Map, Value, json};

use super::{Refused, Service};

/// Maps whose keys are data, by their path; `*` is any key. A path below `!` is left as it is.
const MAPS: &[&str] = &[
    "annotations",
    "labels",
    "clusters",
    "environment.variables",
    "environment.secrets",
    "storage_providers.s3",
    "storage_providers.minio",
    "storage_providers.onedata",
    "storage_providers.webdav",
    "storage_providers.rucio",
    "federation.members.headers",
];

/// Reads the value as a service, without judging it.
pub fn service(value: Value) -> Result<Service, Refused> {
    let Value::Object(mut fields) = fold("", value) else {
        return Err(Refused::new(
            "the body",
            "a service is a JSON object: {\"name\": ..., \"image\": ..., \"script\": ...}",
        ));
    };
    quantities(&mut fields)?;
    lists(&mut fields);
    replicas(&mut fields);
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let field = error.path().to_string();
        Refused::new(if field == "." { "the body".to_owned() } else { field }, plain(&error.into_inner().to_string()))
    })
}

/// Lower-cases the keys of structs and drops nulls.
fn fold(path: &str, value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let is_map = MAPS.contains(&path);
            let mut folded = Map::new();
            for (key, value) in fields {
                if value.is_null() {
                    // In a map of strings Go's null is an empty string.
                    if is_map && path != "clusters" && !path.starts_with("storage_providers") {
                        folded.insert(key, json!(""));
                    }
                    continue;
                }
                let key = if is_map { key } else { key.to_lowercase() };
                // Below a map, the path goes on with the map's own: the key is data.
                let below = match (path.is_empty(), is_map) {
                    (true, _) => key.clone(),
                    (false, true) => format!("{path}.*"),
                    (false, false) => format!("{path}.{key}"),
                };
                folded.insert(key, fold(&below, value));
            }
            Value::Object(folded)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| fold(path, item)).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

/// YAML reads `cpu: 1.0` as a number; a memory without a unit means bytes to Kubernetes and never to its writer.
fn quantities(fields: &mut Map<String, Value>) -> Result<(), Refused> {
    for key in ["cpu", "total_cpu"] {
        if let Some(Value::Number(number)) = fields.get(key) {
            let text = number.to_string();
            fields.insert(key.to_owned(), json!(text));
        }
    }
    for key in ["memory", "total_memory", "ephemeral_storage_request"] {
        if let Some(Value::Number(number)) = fields.get(key) {
            return Err(Refused::new(key, format!("{number} has no unit: write \"{number}Mi\" or \"{number}Gi\"")));
        }
    }
    for place in ["variables", "secrets"] {
        let Some(Value::Object(values)) = fields.get_mut("environment").and_then(|e| e.get_mut(place)) else {
            continue;
        };
        for value in values.values_mut() {
            if matches!(value, Value::Number(_) | Value::Bool(_)) {
                *value = json!(value.to_string());
            }
        }
    }
    Ok(())
}

/// A scalar where version 4 wants a list: `port: 80`, `suffix: .jpg`, `image_pull_secrets: registry`.
fn lists(fields: &mut Map<String, Value>) {
    let wrap = |value: &mut Value| {
        if matches!(value, Value::String(_) | Value::Number(_)) {
            *value = json!([value.take()]);
        }
    };
    if let Some(value) = fields.get_mut("image_pull_secrets") {
        wrap(value);
    }
    for side in ["input", "output"] {
        let Some(Value::Array(places)) = fields.get_mut(side) else { continue };
        for place in places.iter_mut().filter_map(Value::as_object_mut) {
            ["suffix", "prefix"].iter().filter_map(|key| place.get_mut(*key).map(wrap)).for_each(drop);
        }
    }
    if let Some(Value::Object(expose)) = fields.get_mut("expose") {
        if let Some(port) = expose.remove("port") {
            expose.entry("api_port").or_insert(port);
        }
        for key in ["api_port", "nodeport"] {
            // A zero is version 3's word for none.
            if expose.get(key).is_some_and(|port| port == &json!(0)) {
                expose.remove(key);
            }
            if let Some(value) = expose.get_mut(key) {
                wrap(value);
            }
        }
    }
}

/// Version 3 wrote federation's fields at the top.
fn replicas(fields: &mut Map<String, Value>) {
    let Some(Value::Array(members)) = fields.remove("replicas") else { return };
    let delegation = fields.remove("delegation");
    let threshold = fields.remove("rescheduler_threshold");
    if members.is_empty() {
        return;
    }
    let mut federation =
        Map::from_iter([("topology".to_owned(), json!("none")), ("members".to_owned(), json!(members))]);
    federation.extend(delegation.map(|value| ("delegation".to_owned(), value)));
    federation.extend(threshold.map(|value| ("rescheduler_threshold".to_owned(), value)));
    fields.entry("federation").or_insert(Value::Object(federation));
}

/// serde's words with the place cut off: the field is said already.
fn plain(text: &str) -> String {
    text.split(" at line ").next().unwrap_or(text).to_owned()
}
