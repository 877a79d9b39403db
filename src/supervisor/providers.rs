//! A provider: a store under the name that a function calls it by, such as `minio.default`. Its credentials are files
//! of a mounted Secret, or stand in the function's own description.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::event::Object;
use super::network;
use super::outcome::Failure;
use crate::s3::{Endpoint, Keys, Store};

/// What a function's description says of storage.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Description {
    input: Option<Vec<Place>>,
    output: Option<Vec<Place>>,
    storage_providers: Option<BTreeMap<String, Option<ById>>>,
    file_stage_in: Option<bool>,
}

/// Providers of one kind.
type ById = BTreeMap<String, Option<Listed>>;

/// One input or output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Place {
    /// `minio.default`, `minio`, `s3.mine`.
    pub storage_provider: String,
    /// `bucket/folder`.
    pub path: String,
    /// Names begin with one of these; none: with anything.
    pub prefix: Option<Vec<String>>,
    /// Names end with one of these; none: with anything.
    pub suffix: Option<Vec<String>>,
}

impl Place {
    /// Bucket and folder; the folder is empty or ends with `/`.
    pub fn parts(&self) -> (&str, String) {
        let path = self.path.trim_matches('/');
        let (bucket, folder) = path.split_once('/').unwrap_or((path, ""));
        (bucket, if folder.is_empty() { String::new() } else { format!("{folder}/") })
    }

    /// Is a file of this name meant?
    pub fn takes(&self, name: &str) -> bool {
        let any = |list: &Option<Vec<String>>, test: &dyn Fn(&str) -> bool| {
            list.as_ref().is_none_or(|l| l.is_empty() || l.iter().any(|w| test(w)))
        };
        any(&self.prefix, &|w| name.starts_with(w)) && any(&self.suffix, &|w| name.ends_with(w))
    }
}

/// A provider as a description lists it.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Listed {
    endpoint: Option<String>,
    region: Option<String>,
    access_key: Option<String>,
    secret_key: Option<String>,
    verify: Option<bool>,
}

impl std::fmt::Debug for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listed").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The function's storage.
#[derive(Debug)]
pub struct Config {
    inputs: Vec<Place>,
    /// Where results go.
    pub outputs: Vec<Place>,
    /// The script brings its input itself.
    pub stages_in_itself: bool,
    listed: BTreeMap<String, Listed>,
    secrets: PathBuf,
}

/// Stores by provider.
pub type Stores = BTreeMap<String, Store>;

impl Config {
    /// Reads a function's description; `secrets` has a folder for each provider whose keys are mounted.
    pub fn read(file: &Path, secrets: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(file).map_err(|e| Failure::config(format!("{}: {e}", file.display())))?;
        let description: Option<Description> = serde_saphyr::from_str(&text)
            .map_err(|e| Failure::config(format!("{}: {}", file.display(), first_line(&e.to_string()))))?;
        let description = description.unwrap_or_default();
        let mut listed = BTreeMap::new();
        for (kind, ids) in description.storage_providers.unwrap_or_default() {
            for (id, one) in ids.unwrap_or_default() {
                listed.insert(format!("{kind}.{id}"), one.unwrap_or_default());
            }
        }
        Ok(Self {
            inputs: description.input.unwrap_or_default(),
            outputs: description.output.unwrap_or_default(),
            stages_in_itself: description.file_stage_in.unwrap_or(false),
            listed,
            secrets: secrets.to_owned(),
        })
    }

    /// The stores of all outputs.
    pub fn stores(&self) -> Result<Stores, Failure> {
        let mut stores = Stores::new();
        for output in &self.outputs {
            if output.parts().0.is_empty() {
                return Err(Failure::config(format!("an output to `{}` has no path", output.storage_provider)));
            }
            self.store(&output.storage_provider, &mut stores)?;
        }
        Ok(stores)
    }

    /// The provider that holds an object: whom the sender names, else that of the input whose path it lies on, else
    /// the default one.
    pub fn provider_of(&self, object: &Object) -> String {
        if let Some(name) = &object.provider {
            return name.clone();
        }
        let path = format!("{}/{}", object.bucket, object.key);
        let on = |place: &&Place| {
            let (bucket, folder) = place.parts();
            path.starts_with(&format!("{bucket}/{folder}"))
        };
        let found = self.inputs.iter().filter(on).max_by_key(|p| p.path.len());
        found.map_or_else(|| format!("{}.default", object.kind), |p| p.storage_provider.clone())
    }

    /// The store of a provider, made when it is first asked for.
    pub fn store(&self, name: &str, stores: &mut Stores) -> Result<Store, Failure> {
        let name = if name.contains('.') { name.to_owned() } else { format!("{name}.default") };
        if let Some(store) = stores.get(&name) {
            return Ok(store.clone());
        }
        let kind = name.split('.').next().unwrap_or_default();
        if !matches!(kind, "minio" | "s3") {
            return Err(Failure::config(format!("storage provider `{name}`: only minio and s3 are known here")));
        }
        let one = self.listed.get(&name).cloned().unwrap_or_default();
        let file = |what: &str| {
            let text = fs::read_to_string(self.secrets.join(&name).join(what)).ok()?;
            Some(text.trim_end_matches('\n').to_owned()).filter(|t| !t.is_empty())
        };
        let full = |value: Option<String>| value.filter(|v| !v.is_empty());
        let region = file("region").or(full(one.region)).unwrap_or_else(|| "us-east-1".to_owned());
        let url = match file("endpoint").or(full(one.endpoint)) {
            Some(url) => url,
            None if kind == "s3" => format!("https://s3.{region}.amazonaws.com"),
            None => return Err(Failure::config(format!("storage provider `{name}`: no endpoint is known"))),
        };
        let keys = match (file("accessKey").or(full(one.access_key)), file("secretKey").or(full(one.secret_key))) {
            (Some(access), Some(secret)) => Some(Keys { access, secret }),
            (None, None) if kind == "s3" => None,
            _ => return Err(Failure::config(format!("storage provider `{name}`: no keys are known"))),
        };
        let verify = file("verify").map_or(one.verify.unwrap_or(true), |v| v != "false");
        let endpoint = Endpoint { url, region, verify };
        let store = Store::with(&endpoint, keys, network::client())
            .map_err(|e| Failure::config(format!("storage provider `{name}`: {e}")))?;
        stores.insert(name, store.clone());
        Ok(store)
    }
}

/// What is wrong with a text, without the text: it may hold keys.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("function_config.yaml");
        fs::write(&file, text).unwrap();
        Config::read(&file, folder.path()).unwrap()
    }

    fn object(kind: &'static str, key: &str) -> Object {
        let (provider, time, text) = (None, String::new(), String::new());
        Object { kind, provider, bucket: "b".into(), key: key.into(), time, text }
    }

    #[test]
    fn names_are_filtered_by_any_prefix_and_any_suffix() {
        let place = |prefix: &[&str], suffix: &[&str]| Place {
            prefix: Some(prefix.iter().map(|w| (*w).to_owned()).collect()),
            suffix: Some(suffix.iter().map(|w| (*w).to_owned()).collect()),
            ..Place::default()
        };
        assert!(Place::default().takes("x") && place(&[], &[]).takes("x"));
        let both = place(&["a", "b/"], &[".txt", ".md"]);
        assert!(both.takes("a.txt") && both.takes("b/x.md"));
        assert!(!both.takes("c.txt") && !both.takes("a.jpg"));
    }

    #[test]
    fn an_object_belongs_to_the_input_whose_path_it_lies_on() {
        let config = config(
            "input:\n- {storage_provider: minio.default, path: b/in}\n- {storage_provider: minio.far, path: b/in/deep}\n",
        );
        assert_eq!(config.provider_of(&object("minio", "in/x")), "minio.default");
        assert_eq!(config.provider_of(&object("s3", "in/deep/x")), "minio.far");
        assert_eq!(config.provider_of(&object("s3", "inside")), "s3.default");
        assert_eq!(config.provider_of(&Object { provider: Some("minio.k".into()), ..object("s3", "in/x") }), "minio.k");
    }

    #[test]
    fn a_place_without_a_folder_is_the_buckets_top() {
        let place = |path: &str| Place { path: path.into(), ..Place::default() };
        assert_eq!(place("b").parts(), ("b", String::new()));
        assert_eq!(place("/b/in/deep/").parts(), ("b", "in/deep/".to_owned()));
    }

    #[test]
    fn what_cannot_be_a_store_is_said_before_anything_runs() {
        for (output, part) in [
            ("{storage_provider: webdav.x, path: a/b}", "only minio and s3"),
            ("{storage_provider: minio.x, path: a/b}", "no endpoint"),
            ("{storage_provider: minio.y, path: a/b}", "no keys"),
            ("{storage_provider: minio.y}", "has no path"),
        ] {
            let config = config(&format!(
                "output: [{output}]\nstorage_providers: {{minio: {{y: {{endpoint: 'http://h'}}}}, webdav: }}\n"
            ));
            let failure = config.stores().unwrap_err();
            assert!(failure.code == 78 && failure.reason.contains(part), "{failure}");
        }
        let error = Config::read(Path::new("/nowhere/config"), Path::new("/")).unwrap_err();
        assert!(error.code == 78 && error.reason.contains("/nowhere/config"), "{error}");
    }
}
