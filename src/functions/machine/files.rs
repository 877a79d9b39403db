//! The files of a run, as a machine gets them: what a pod finds in mounted ConfigMaps and Secrets, below one folder,
//! and what the machine itself must know of it. The last of them makes the others whole.

use std::collections::BTreeMap;

use serde_json::json;

use crate::functions::event::EventId;
use crate::functions::objects::job::is_variable;
use crate::functions::places::Wanted;
use crate::functions::service::{MinioProvider, Service};

/// What a run is made of.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The function.
    pub service: &'a Service,
    /// Its secret variables.
    pub secrets: &'a BTreeMap<String, String>,
    /// The event.
    pub id: EventId,
    /// Its text.
    pub body: &'a [u8],
    /// Which attempt it is.
    pub attempt: u32,
    /// Somebody waits for the result.
    pub sync: bool,
    /// The machine.
    pub machine: &'a str,
    /// What it asks for.
    pub wanted: &'a Wanted,
    /// The cluster's own store, as machines outside reach it.
    pub store: Option<&'a MinioProvider>,
}

/// Where the run's folder is seen in its container.
const ROOT: &str = "/marea";

impl Run<'_> {
    /// All of them, as a tar.
    pub fn tar(&self) -> Result<Vec<u8>, String> {
        let service = self.service;
        let config = serde_saphyr::to_string(&service.without_secrets()).map_err(|error| error.to_string())?;
        let mut files: Vec<(String, Vec<u8>)> = vec![
            ("oscar/config/function_config.yaml".to_owned(), config.into_bytes()),
            ("oscar/config/script.sh".to_owned(), service.script.clone().into_bytes()),
            ("marea/event/event".to_owned(), self.body.to_vec()),
        ];
        if let Some(store) = self.store {
            let parts = [
                ("endpoint", &store.endpoint),
                ("accessKey", &store.access_key),
                ("secretKey", &store.secret_key),
                ("region", &store.region),
                ("verify", &store.verify.to_string()),
            ];
            let place = "var/run/secrets/providers/minio.default";
            files.extend(parts.map(|(name, text)| (format!("{place}/{name}"), text.clone().into_bytes())));
        }
        let spec = json!({
            "service": service.name,
            "event": self.id.to_string(),
            "attempt": self.attempt,
            "image": service.image,
            "environment": self.environment(),
            "cpu_milli": self.wanted.requests.cpu_milli,
            "memory": self.wanted.requests.memory,
        });
        let mut files: Vec<(String, Vec<u8>)> =
            files.into_iter().map(|(name, bytes)| (format!("root/{name}"), bytes)).collect();
        files.push(("spec.json".to_owned(), spec.to_string().into_bytes()));
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            tar.append_data(&mut header, name, bytes.as_slice()).map_err(|error| error.to_string())?;
        }
        tar.into_inner().map_err(|error| error.to_string())
    }

    /// What a pod would have as variables.
    fn environment(&self) -> BTreeMap<String, String> {
        let service = self.service;
        let mut variables = service.environment.variables.clone();
        variables.extend(self.secrets.clone());
        if let Some(text) = is_variable(self.body) {
            variables.insert("EVENT".to_owned(), text.to_owned());
        }
        let own = [
            ("JOB_UUID", self.id.to_string()),
            ("RESOURCE_ID", self.machine.to_owned()),
            ("OSCAR_SERVICE_NAME", service.name.clone()),
            ("MAREA_ROOT", ROOT.to_owned()),
        ];
        variables.extend(own.map(|(name, value)| (name.to_owned(), value)));
        if self.sync {
            variables.insert("MAREA_SYNC".to_owned(), "1".to_owned());
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_files_hold_what_a_pod_would_find_and_the_last_makes_them_whole() {
        let value = json!({ "name": "cow", "image": "i", "script": "s", "environment": { "variables": { "A": "1" } } });
        let service = crate::functions::service::read(value).unwrap();
        let secrets = BTreeMap::from([("KEY".to_owned(), "deep".to_owned())]);
        let store = MinioProvider { endpoint: "http://m".to_owned(), ..MinioProvider::default() };
        let id = EventId([1; 16]);
        let wanted = Wanted::default();
        let run = Run {
            service: &service,
            secrets: &secrets,
            id,
            body: b"moo",
            attempt: 2,
            sync: true,
            machine: "desk",
            wanted: &wanted,
            store: Some(&store),
        };
        let tar = run.tar().unwrap();
        let mut names = Vec::new();
        let mut last = String::new();
        for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            names.push(entry.path().unwrap().display().to_string());
            last.clear();
            entry.read_to_string(&mut last).unwrap();
        }
        assert_eq!(names.last().map(String::as_str), Some("spec.json"));
        assert!(names.contains(&"root/var/run/secrets/providers/minio.default/endpoint".to_owned()), "{names:?}");
        let spec: serde_json::Value = serde_json::from_str(&last).unwrap();
        assert_eq!(spec["attempt"], 2);
        for (name, value) in
            [("A", "1"), ("KEY", "deep"), ("EVENT", "moo"), ("MAREA_SYNC", "1"), ("RESOURCE_ID", "desk")]
        {
            assert_eq!(spec["environment"][name], value, "{name}");
        }
    }
}
