//! The new cluster, asked through its front-end: are the nodes Ready, what are they, and who may do what.
//! kubectl on the front-end does the talking, because at this time nothing outside has credentials yet.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::plan::script::quote;
use super::progress::Progress;
use crate::model::machine::Machine;
use crate::model::node::{Effect, Shape, Taint};
use crate::model::resources::{Resources, quantity, quantity_milli};
use crate::remote::{Connection, RemoteError};

/// How long nodes may take from the end of their steps to Ready.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// The daemon's rights: exactly what it does, and nothing that reads a secret.
const DAEMON: &str = include_str!("../../recipes/daemon-rights.yaml");

/// The API of a new cluster.
pub struct Api<'a> {
    /// The way there.
    pub front_end: &'a Connection,
    /// The front-end's address, for kubeconfigs.
    pub address: String,
}

/// Why the cluster could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No connection.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// kubectl said no.
    #[error("{what} failed: {output}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// The last lines of its output.
        output: String,
    },
}

/// What became of the nodes that were waited for.
#[derive(Debug, Default)]
pub struct Nodes {
    /// Shapes of those that are Ready.
    pub shapes: BTreeMap<String, Shape>,
    /// Why the others are not, in kubelet's words.
    pub missing: BTreeMap<String, String>,
}

impl Api<'_> {
    async fn kubectl(&self, what: &'static str, script: &str) -> Result<String, ClusterError> {
        let text = format!(
            "{{\nset -eu\nexport PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin KUBECONFIG=/etc/kubernetes/admin.conf\n{script}\n}} </dev/null\n"
        );
        let outcome = self.front_end.run(&text, Duration::from_secs(60)).await?;
        if outcome.code == 0 {
            Ok(outcome.stdout)
        } else {
            Err(ClusterError::Refused { what, output: outcome.stderr.trim().to_owned() })
        }
    }

    /// The administrator's kubeconfig.
    pub async fn admin_kubeconfig(&self) -> Result<String, ClusterError> {
        self.kubectl("reading the administrator's kubeconfig", "cat /etc/kubernetes/admin.conf").await
    }

    /// Makes the daemon's account with its rights, and its kubeconfig.
    pub async fn daemon_kubeconfig(&self) -> Result<String, ClusterError> {
        let script = format!(
            "kubectl apply -f - >/dev/null <<'RIGHTS'\n{DAEMON}\nRIGHTS\n\
             for try in $(seq 100); do\n\
             \x20 token=$(kubectl -n marea get secret marea-daemon-token -o 'jsonpath={{.data.token}}' | base64 -d)\n\
             \x20 if [ -n \"$token\" ]; then break; fi; sleep 0.1\n\
             done\n\
             [ -n \"$token\" ]\necho \"$token\"\nbase64 -w0 < /etc/kubernetes/pki/ca.crt; echo\n\
             kubectl config view --minify -o 'jsonpath={{.clusters[0].cluster.server}}'\n"
        );
        let answer = self.kubectl("making the daemon's account", &script).await?;
        let mut lines = answer.lines();
        let [token, ca, server] = std::array::from_fn(|_| lines.next().unwrap_or_default());
        let cluster = cluster_of(&self.address, server);
        Ok(format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: marea\nclusters:\n- name: marea\n  cluster:\n{cluster}    certificate-authority-data: {ca}\nusers:\n- name: marea\n  user:\n    token: {token}\ncontexts:\n- name: marea\n  context:\n    cluster: marea\n    user: marea\n"
        ))
    }

    /// The administrator of the function gateway: name and password.
    pub async fn gateway_password(&self) -> Result<(String, String), ClusterError> {
        let script = "for key in username password; do\n\
             kubectl -n marea-functions get secret gateway -o \"jsonpath={.data.$key}\" | base64 -d; echo\ndone\n";
        let answer = self.kubectl("reading the function gateway's password", script).await?;
        let mut lines = answer.lines().map(str::to_owned);
        Ok((lines.next().unwrap_or_default(), lines.next().unwrap_or_default()))
    }

    /// Waits until the nodes of `machines` are Ready, and tells what they are.
    pub async fn wait_ready(&self, machines: &[&Machine], progress: &Progress) -> Result<Nodes, ClusterError> {
        let began = crate::clock::monotonic();
        let mut found = Nodes::default();
        loop {
            let list: Value = serde_json::from_str(&self.kubectl("listing nodes", "kubectl get nodes -o json").await?)
                .unwrap_or_default();
            let nodes: BTreeMap<&str, &Value> = list["items"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|n| Some((n["metadata"]["name"].as_str()?, n)))
                .collect();
            found.missing.clear();
            for machine in machines {
                let name = &machine.name;
                match nodes.get(name.as_str()) {
                    Some(node) if ready(node) => {
                        if found.shapes.insert(name.clone(), shape(node)).is_none() {
                            progress.say(name, "Ready");
                        }
                    }
                    node => drop(found.missing.insert(name.clone(), why(node.copied()))),
                }
            }
            if found.missing.is_empty() || began.elapsed() > READY_LIMIT {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Deletes Node objects; those that are gone already are no error.
    pub async fn delete_nodes(&self, names: &[String]) -> Result<(), ClusterError> {
        let words: Vec<String> = names.iter().map(|n| quote(n)).collect();
        self.kubectl("deleting nodes", &format!("kubectl delete node --ignore-not-found {}", words.join(" ")))
            .await
            .map(drop)
    }
}

/// Where the API server is reached, and the name that is in its certificate, where that is another: a cluster that somebody
/// else made may not know itself by the address that leads to it from here.
fn cluster_of(address: &str, server: &str) -> String {
    let place = server.trim().trim_start_matches("https://").trim_end_matches('/');
    let (name, port) = place.rsplit_once(':').unwrap_or((place, "6443"));
    let name =
        if name == address || name.is_empty() { String::new() } else { format!("    tls-server-name: {name}\n") };
    format!("    server: https://{address}:{port}\n{name}")
}

fn condition(node: &Value) -> Option<&Value> {
    node["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == "Ready")
}

fn ready(node: &Value) -> bool {
    condition(node).is_some_and(|c| c["status"] == "True")
}

fn why(node: Option<&Value>) -> String {
    let message = node.and_then(condition).and_then(|c| c["message"].as_str());
    message.unwrap_or("its kubelet never registered").to_owned()
}

/// A node's shape, without the taints that Kubernetes puts on it for a time.
fn shape(node: &Value) -> Shape {
    let mut allocatable = Resources::default();
    for (name, amount) in node["status"]["allocatable"].as_object().into_iter().flatten() {
        let amount = amount.as_str().unwrap_or_default();
        let whole = quantity(amount).unwrap_or_default();
        match name.as_str() {
            "cpu" => allocatable.cpu_milli = quantity_milli(amount).unwrap_or_default(),
            "memory" => allocatable.memory = whole,
            "ephemeral-storage" => allocatable.ephemeral = whole,
            "pods" => allocatable.pods = whole,
            other => drop(allocatable.extended.insert(other.to_owned(), whole)),
        }
    }
    allocatable.extended.retain(|_, amount| *amount > 0);
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let labels = labels.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect();
    let taints = node["spec"]["taints"].as_array().into_iter().flatten().filter_map(taint).collect();
    Shape { allocatable, labels, taints, seen: true, ..Shape::default() }
}

fn taint(taint: &Value) -> Option<Taint> {
    let key = taint["key"].as_str()?;
    if key.starts_with("node.kubernetes.io/") || key.starts_with("node.cloudprovider.kubernetes.io/") {
        return None;
    }
    let effect: Effect = serde_json::from_value(taint["effect"].clone()).ok()?;
    Some(Taint { key: key.to_owned(), value: taint["value"].as_str().unwrap_or_default().to_owned(), effect })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_is_known_by_the_name_in_its_certificate() {
        let own = "    server: https://10.0.0.1:6443\n";
        assert_eq!(cluster_of("10.0.0.1", "https://10.0.0.1:6443"), own);
        assert_eq!(cluster_of("10.0.0.1", ""), own);
        let other = "    server: https://192.0.2.7:8443\n    tls-server-name: kubeserver\n";
        assert_eq!(cluster_of("192.0.2.7", "https://kubeserver:8443\n"), other);
    }
}
