//! FDL: the YAML file in which users of SCAR and OSCAR write their functions. One file may hold functions for
//! several clusters and for AWS; those for clusters become services, those for AWS are named and left out.
//! Every mistake is told with its line. The script is a path here: whoever holds the file reads it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::service::{self, Refused, Service};

/// A mistake in the file, or something that is left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct Remark {
    /// Its line, from one.
    pub line: u64,
    /// Its column, from one.
    pub column: u64,
    /// What, and what to do.
    pub message: String,
}

/// The file, read.
#[derive(Debug, Clone, Default)]
pub struct Fdl {
    /// The functions for clusters, in the file's order.
    pub functions: Vec<Function>,
    /// Addresses of clusters.
    pub clusters: BTreeMap<String, Cluster>,
    /// What is left out.
    pub warnings: Vec<Remark>,
}

/// One function of the file.
#[derive(Debug, Clone)]
pub struct Function {
    /// The cluster it is for.
    pub cluster: String,
    /// Its name; empty when the file gives none.
    pub name: String,
    /// The script's path, relative to the file.
    pub script: String,
    /// Where the function stands.
    pub place: (u64, u64),
    fields: Map<String, Value>,
    places: BTreeMap<String, (u64, u64)>,
}

/// Where a cluster is and who may use it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Its URL.
    pub endpoint: String,
    /// A name.
    pub auth_user: String,
    /// Its password.
    pub auth_password: String,
    /// Whether its certificate is checked.
    #[serde(deserialize_with = "yes_unless_told")]
    pub ssl_verify: Option<bool>,
}

fn yes_unless_told<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Option::deserialize(deserializer)
}

type Fields = BTreeMap<String, Spanned<Value>>;

#[derive(Debug, Deserialize)]
struct File {
    functions: Option<Spanned<Kinds>>,
    #[serde(default)]
    storage_providers: Option<Spanned<Value>>,
    #[serde(default)]
    clusters: Option<BTreeMap<String, Cluster>>,
}

#[derive(Debug, Default, Deserialize)]
struct Kinds {
    #[serde(default)]
    oscar: Option<Vec<BTreeMap<String, Spanned<Fields>>>>,
    #[serde(default)]
    aws: Option<Vec<Spanned<Value>>>,
}

/// Reads a file. All mistakes that can be seen at once are told at once.
pub fn parse(text: &str) -> Result<Fdl, Vec<Remark>> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |l| (l.line(), l.column()));
        vec![Remark { line, column, message: first_line(&error.without_snippet().to_string()) }]
    })?;
    let Some(kinds) = file.functions else {
        let message = "there is no `functions:`; an FDL file holds `functions: {oscar: [{CLUSTER: {name: ...}}]}`";
        return Err(vec![Remark { line: 1, column: 1, message: message.to_owned() }]);
    };
    let start = (kinds.referenced.line(), kinds.referenced.column());
    let mut fdl = Fdl { clusters: file.clusters.unwrap_or_default(), ..Fdl::default() };
    let mut wrong = Vec::new();
    for entry in kinds.value.aws.unwrap_or_default() {
        let name = aws_name(&entry.value).unwrap_or("without a name").to_owned();
        fdl.warnings.push(Remark {
            line: entry.referenced.line(),
            column: entry.referenced.column(),
            message: format!("the AWS function {name} is skipped: it is for `scar`; nothing on premises runs it"),
        });
    }
    let providers = file.storage_providers.map(|p| p.value);
    let mut seen: BTreeMap<(String, String), u64> = BTreeMap::new();
    for entry in kinds.value.oscar.unwrap_or_default() {
        for (cluster, fields) in entry {
            let function = Function::of(cluster, fields, providers.as_ref());
            let (line, column) = function.place;
            if function.name.is_empty() {
                let message = "a function needs a `name`".to_owned();
                wrong.push(Remark { line, column, message });
            } else if let Some(first) = seen.insert((function.cluster.clone(), function.name.clone()), line) {
                let (name, at) = (&function.name, function.line_of("name"));
                let message = format!(
                    "the name {name} is used twice for the cluster {}, first on line {first}: give one another name",
                    function.cluster
                );
                wrong.push(Remark { line: at.0, column: at.1, message });
            }
            fdl.functions.push(function);
        }
    }
    if fdl.functions.is_empty() && fdl.warnings.is_empty() && wrong.is_empty() {
        let message = "`functions:` holds no function for a cluster: write `oscar: [{CLUSTER: {name: ...}}]`";
        wrong.push(Remark { line: start.0, column: start.1, message: message.to_owned() });
    }
    if wrong.is_empty() { Ok(fdl) } else { Err(wrong) }
}

impl Function {
    fn of(cluster: String, fields: Spanned<Fields>, providers: Option<&Value>) -> Self {
        let place = (fields.referenced.line(), fields.referenced.column());
        let mut places = BTreeMap::new();
        let mut values = Map::new();
        for (key, value) in fields.value {
            places.insert(key.to_lowercase(), (value.referenced.line(), value.referenced.column()));
            values.insert(key, value.value);
        }
        let text = |key: &str| values.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, script) = (text("name"), text("script"));
        values.insert("cluster_id".to_owned(), Value::String(cluster.clone()));
        if let Some(providers) = providers {
            values.entry("storage_providers").or_insert_with(|| providers.clone());
        }
        Self { cluster, name, script, place, fields: values, places }
    }

    /// Where a cluster is that the function itself names, as SCAR's files may.
    pub fn own_cluster(&self) -> Option<Cluster> {
        let endpoint = self.fields.get("endpoint")?.as_str().filter(|e| !e.is_empty())?;
        let text = |key: &str| self.fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Cluster {
            endpoint: endpoint.to_owned(),
            auth_user: text("auth_user"),
            auth_password: text("auth_password"),
            ssl_verify: self.fields.get("ssl_verify").and_then(Value::as_bool),
        })
    }

    /// The service, with the script's text in the place of its path. A refusal stands on the field's line.
    pub fn service(&self, script: &str) -> Result<Service, Remark> {
        let mut fields = self.fields.clone();
        // Who may use the cluster is nothing of the service's.
        for key in ["endpoint", "auth_user", "auth_password", "ssl_verify"] {
            fields.remove(key);
        }
        fields.insert("script".to_owned(), Value::String(script.to_owned()));
        service::read(Value::Object(fields)).map_err(|refused| self.remark(&refused))
    }

    fn remark(&self, refused: &Refused) -> Remark {
        let top = refused.field.split(['.', '[']).next().unwrap_or_default();
        let (line, column) = self.line_of(top);
        Remark { line, column, message: format!("{}: {refused}", self.name) }
    }

    /// Where a field stands, or the function when it has none.
    pub fn line_of(&self, field: &str) -> (u64, u64) {
        self.places.get(field).copied().unwrap_or(self.place)
    }
}

fn aws_name(entry: &Value) -> Option<&str> {
    entry.get("lambda").unwrap_or(entry).get("name")?.as_str()
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or(text);
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "functions:\n  oscar:\n  - lab:\n      name: cow\n      image: i\n      script: cow.sh\n      cpu: 1.5\n\
                        \x20     endpoint: http://lab\n      auth_password: deep\n  aws:\n  - lambda: {name: far}\n\
                        clusters:\n  lab: {endpoint: 'http://x', ssl_verify: false}\n";

    #[test]
    fn functions_for_clusters_are_read_and_those_for_aws_are_named() {
        let fdl = parse(TEXT).unwrap();
        let function = &fdl.functions[0];
        assert_eq!((function.cluster.as_str(), function.script.as_str()), ("lab", "cow.sh"));
        let service = function.service("#!/bin/sh\n").unwrap();
        assert_eq!(
            (service.cpu.as_str(), service.script.as_str(), service.cluster_id.as_str()),
            ("1.5", "#!/bin/sh\n", "lab")
        );
        assert!(!serde_json::to_string(&service).unwrap().contains("deep"));
        assert_eq!(function.own_cluster().unwrap().endpoint, "http://lab");
        assert_eq!(fdl.clusters["lab"].ssl_verify, Some(false));
        assert_eq!((fdl.warnings.len(), fdl.warnings[0].line), (1, 11));
        assert!(fdl.warnings[0].message.contains("far is skipped"));
    }

    #[test]
    fn a_field_that_is_wrong_is_told_on_its_line() {
        let fdl = parse(&TEXT.replace("cpu: 1.5", "cpu: fast")).unwrap();
        let remark = fdl.functions[0].service("s").unwrap_err();
        assert_eq!((remark.line, remark.column), (7, 12));
        assert!(remark.message.starts_with("cow: cpu: \"fast\" is no quantity"), "{remark}");
    }
}
