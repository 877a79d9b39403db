//! Check: what is filled in where a client said nothing, and what is refused because it could not run, each
//! with the field and what to write instead. A refusal comes before anything is made.

use super::{ADMIN, ATTEMPTS, LIMIT, Place, Refused, Service};
use crate::model::machine::{RUNTIME, UDOCKER};
use crate::model::resources::quantity_milli;

/// OSCAR's defaults.
const MEMORY: &str = "256Mi";
const CPU: &str = "0.2";
/// OSCAR's bound on a name.
const LONGEST_NAME: usize = 39;

/// Fills in defaults and writes every path with its bucket.
pub fn complete(service: &mut Service) {
    let fill = |field: &mut String, usual: &str| {
        if field.trim().is_empty() {
            usual.clone_into(field);
        }
    };
    fill(&mut service.memory, MEMORY);
    fill(&mut service.cpu, CPU);
    fill(&mut service.log_level, "INFO");
    fill(&mut service.owner, ADMIN);
    fill(&mut service.visibility, "private");
    fill(&mut service.isolation_level, "SERVICE");
    let name = service.name.clone();
    for place in service.input.iter_mut().chain(&mut service.output) {
        let path = place.path.trim_matches([' ', '/']);
        let has_buckets = matches!(place.provider().0, "minio" | "s3");
        // A path of one element is a folder in a bucket of the service's own name.
        let path = if has_buckets && !path.is_empty() && !path.contains('/') {
            format!("{name}/{path}")
        } else {
            path.to_owned()
        };
        place.path = path;
    }
}

/// Refuses what could not run.
pub fn check(service: &Service) -> Result<(), Refused> {
    name("name", &service.name)?;
    if service.image.trim().is_empty() {
        return Err(Refused::new("image", "is required: the container image that the script runs in"));
    }
    if service.script.trim().is_empty() {
        return Err(Refused::new("script", "is required: the text of the script, not a path"));
    }
    for (field, value) in [("cpu", &service.cpu), ("memory", &service.memory)] {
        if quantity_milli(value).is_none_or(|amount| amount == 0) {
            let like = if field == "cpu" { "0.5 or 500m" } else { "256Mi or 2Gi" };
            return Err(Refused::new(field, format!("{value:?} is no quantity: write it like {like}")));
        }
    }
    let optional = [
        ("total_cpu", &service.total_cpu),
        ("total_memory", &service.total_memory),
        ("ephemeral_storage_request", &service.ephemeral_storage_request),
    ];
    for (field, value) in optional {
        if !value.is_empty() && quantity_milli(value).is_none() {
            return Err(Refused::new(field, format!("{value:?} is no quantity: write it like 500m, 256Mi or 2Gi")));
        }
    }
    for key in [LIMIT, ATTEMPTS] {
        if let Some(text) = service.annotations.get(key)
            && !text.parse::<u32>().is_ok_and(|n| n > 0)
        {
            return Err(Refused::new(format!("annotations.{key}"), format!("{text:?} is no number above zero")));
        }
    }
    places(service)?;
    variables(service)?;
    runtime(service)?;
    not_here(service)
}

/// What cannot be had where runs are run by udocker is refused, and so is a runtime that nobody knows.
fn runtime(service: &Service) -> Result<(), Refused> {
    let field = format!("annotations.{RUNTIME}");
    match service.annotations.get(RUNTIME).map(String::as_str) {
        None | Some("kubernetes") => return Ok(()),
        Some(UDOCKER) => {}
        Some(other) => return Err(Refused::new(field, format!("{other:?} is neither kubernetes nor {UDOCKER}"))),
    }
    let no = |field: &str, what: &str| Err(Refused::new(field, format!("udocker {what}; leave it out")));
    if service.enable_gpu || service.enable_sgx {
        return no("enable_gpu, enable_sgx", "is given no devices here");
    }
    if !service.image_pull_secrets.is_empty() {
        return no("image_pull_secrets", "knows no Secrets of Kubernetes");
    }
    let environment = &service.environment;
    let odd = |name: &&String| name.contains(['-', '.']);
    match environment.variables.keys().chain(environment.secrets.keys()).find(odd) {
        Some(name) => no("environment", &format!("sets variables by a shell, which takes no {name:?}")),
        None => Ok(()),
    }
}

/// A DNS label that OSCAR's clients may use as a name.
pub fn name(field: &str, name: &str) -> Result<(), Refused> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() {
        return Err(Refused::new(field, "is required"));
    }
    if name.len() > LONGEST_NAME {
        return Err(Refused::new(field, format!("{name:?} has {} characters, {LONGEST_NAME} at most", name.len())));
    }
    let right = name.chars().all(|c| edge(c) || c == '-') && name.starts_with(edge) && name.ends_with(edge);
    if right { Ok(()) } else { Err(Refused::new(field, format!("{name:?}: only a-z, 0-9 and inner hyphens"))) }
}

fn places(service: &Service) -> Result<(), Refused> {
    let sides = [("input", &service.input), ("output", &service.output)];
    for (side, places) in sides {
        for (index, place) in places.iter().enumerate() {
            let field = |part: &str| format!("{side}[{index}].{part}");
            let (kind, provider) = place.provider();
            if place.path.is_empty() {
                return Err(Refused::new(field("path"), format!("{side} path cannot be empty: write BUCKET/FOLDER")));
            }
            if side == "input" && (kind, provider) != ("minio", "default") {
                return Err(Refused::new(
                    field("storage_provider"),
                    format!(
                        "unrecognized input (valid inputs are MinIO): events come from this cluster's own store \
                         alone, so write minio.default, not {:?}",
                        place.storage_provider
                    ),
                ));
            }
            let defined = match kind {
                "minio" => provider == "default" || service.storage_providers.minio.contains_key(provider),
                "s3" => service.storage_providers.s3.contains_key(provider),
                _ => {
                    return Err(Refused::new(
                        field("storage_provider"),
                        format!(
                            "{:?}: results can go to minio.NAME and s3.NAME; {kind} is not offered",
                            place.storage_provider
                        ),
                    ));
                }
            };
            if !defined {
                return Err(Refused::new(
                    field("storage_provider"),
                    format!("the StorageProvider \"{kind}.{provider}\" is not defined: add it to storage_providers"),
                ));
            }
            bucket(&field("path"), place)?;
        }
    }
    // A result that lands where events come from would run the function on its own results, for ever.
    for (index, output) in service.output.iter().enumerate() {
        let loops = service.input.iter().any(|input| feeds(output, input));
        if loops {
            return Err(Refused::new(
                format!("output[{index}].path"),
                format!("{} lies in an input of this service: every result would be its next event", output.path),
            ));
        }
    }
    Ok(())
}

/// True when results put into `output` are events of `input`, for all that the filters tell.
fn feeds(output: &Place, input: &Place) -> bool {
    let ((from, folder), (to, inner)) = (input.bucket_and_folder(), output.bucket_and_folder());
    let same = output.provider() == input.provider() && from == to && inner.starts_with(&folder);
    same && input.prefix.is_empty() && input.suffix.is_empty()
}

fn bucket(field: &str, place: &Place) -> Result<(), Refused> {
    let (bucket, _) = place.bucket_and_folder();
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let right = (3..=63).contains(&bucket.len())
        && bucket.chars().all(|c| edge(c) || c == '-' || c == '.')
        && bucket.starts_with(edge)
        && bucket.ends_with(edge);
    if right {
        return Ok(());
    }
    Err(Refused::new(field, format!("{bucket:?} is no name of a bucket: 3 to 63 of a-z, 0-9, dots and inner hyphens")))
}

fn variables(service: &Service) -> Result<(), Refused> {
    let environment = &service.environment;
    let all = environment.variables.keys().map(|key| ("variables", key));
    for (part, key) in all.chain(environment.secrets.keys().map(|key| ("secrets", key))) {
        let right = !key.is_empty()
            && !key.starts_with(|c: char| c.is_ascii_digit())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if !right {
            return Err(Refused::new(
                format!("environment.{part}"),
                format!("{key:?} is no name of a variable: letters, digits and _, no digit first"),
            ));
        }
    }
    Ok(())
}

/// What OSCAR has and this does not: taking it in silence would make a service that does something else.
fn not_here(service: &Service) -> Result<(), Refused> {
    let no = |field: &str, what: &str| Err(Refused::new(field, format!("{what}; leave it out")));
    if !service.expose.api_port.is_empty() || !service.expose.node_port.is_empty() {
        return no("expose", "exposed services are not offered here");
    }
    if service.kserve.is_some() {
        return no("kserve", "KServe is not offered here");
    }
    if service.volume.is_some() {
        return no("volume", "managed volumes are not offered here");
    }
    if !service.mount.storage_provider.is_empty() || !service.mount.path.is_empty() {
        return no("mount", "mounted buckets are not offered here");
    }
    if !service.interlink_node_name.is_empty() {
        return no("interlink_node_name", "interLink is not offered here");
    }
    Ok(())
}
