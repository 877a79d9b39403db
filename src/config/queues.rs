//! `[[queue]]`: where work waits that will become pods, and what the pod is that takes it.

use std::path::PathBuf;
use std::time::Duration;

use super::{BTreeMap, BTreeSet, ClusterSpec, ConfigError, Deserialize, Loaded, Machine, Millis, Role, Spanned};
use crate::model::node::Effect;
use crate::model::pod::Toleration;
use crate::model::queue::{Backlog, Unit};
use crate::model::resources::Resources;

/// What kind of queue it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueKind {
    /// Marea's own function gateway.
    Gateway,
    /// A Redis list.
    RedisList,
    /// A Redis stream and one of its groups.
    RedisStream,
    /// A stream of NATS JetStream, by the server's monitoring port.
    NatsJetstream,
    /// A queue of RabbitMQ, by its management port.
    Rabbitmq,
    /// A figure that Prometheus knows.
    Prometheus,
    /// Jobs that Kueue holds back.
    Kueue,
}

/// `[[queue]]` as it is written. Which keys a kind wants is checked by [`Loaded::queues`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueEntry {
    name: Spanned<String>,
    kind: QueueKind,
    url: Option<String>,
    key: Option<String>,
    group: Option<String>,
    stream: Option<String>,
    consumer: Option<String>,
    queue: Option<String>,
    vhost: Option<String>,
    query: Option<String>,
    namespace: Option<String>,
    ahead_of_quota: Option<bool>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    every: Option<Millis>,
    max_age: Option<Millis>,
    messages_per_pod: Option<u64>,
    limit: Option<u64>,
    pod_takes: Option<Takes>,
    pod: Option<PodEntry>,
}

/// What a pod that runs has done to the queue's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Takes {
    /// It took its messages from the queue and works on them: they are counted no more.
    Once,
    /// It takes one after the other: what waits is its work too.
    Continually,
}

/// `[queue.pod]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PodEntry {
    namespace: Option<String>,
    labels: BTreeMap<String, String>,
    requests: BTreeMap<String, String>,
    #[serde(default)]
    node_selector: BTreeMap<String, String>,
    #[serde(default)]
    tolerations: Vec<TolerationEntry>,
}

/// A toleration as Kubernetes writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TolerationEntry {
    #[serde(default)]
    key: String,
    #[serde(default)]
    operator: Operator,
    #[serde(default)]
    value: String,
    effect: Option<Effect>,
    #[serde(default, rename = "tolerationSeconds")]
    _seconds: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Operator {
    #[default]
    Equal,
    Exists,
}

impl From<TolerationEntry> for Toleration {
    fn from(entry: TolerationEntry) -> Self {
        let exists = entry.operator == Operator::Exists;
        Self { key: entry.key, exists, value: entry.value, effect: entry.effect }
    }
}

/// A queue to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Where and what it is.
    pub place: Place,
    /// How often it is read, where it cannot be watched.
    pub every: Duration,
    /// How old what was read may be and still wake a machine.
    pub max_age: Duration,
    /// What is known of its backlog beforehand: the unit and the limit. What is read is filled in.
    pub template: Backlog,
}

/// Where and what a queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the config's key of that name, and documented there")]
pub enum Place {
    Gateway { url: String, access: Access },
    RedisList { url: String, key: String, access: Access },
    RedisStream { url: String, key: String, group: String, access: Access },
    NatsJetstream { url: String, stream: String, consumer: Option<String>, access: Access },
    Rabbitmq { url: String, vhost: String, queue: String, access: Access },
    Prometheus { url: String, query: String, access: Access },
    Kueue { namespace: Option<String>, ahead_of_quota: bool },
}

/// How one proves who one is. The secret itself is read when it is needed, so that it can be replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The user; without one, the secret is a bearer token (or Redis' default user's password).
    pub username: Option<String>,
    /// Where the secret is.
    pub secret: Option<Secret>,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// In a file, line end cut off.
    File(PathBuf),
    /// In a variable of the environment.
    Env(String),
    /// In a Secret of the cluster.
    Kubernetes {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key in it.
        key: String,
    },
}

/// The name of the gateway's queue, and the recipe that brings the gateway.
const GATEWAY: &str = "gateway";
const FUNCTIONS: &str = "functions";
/// What is watched speaks every few seconds when nothing changes.
const HEARTBEATS: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(2);
const MAX_AGE: Duration = Duration::from_secs(30);

impl Source {
    /// The gateway that bootstrap put on the front-end at this address, by its node port.
    pub fn gateway(front_end: &str, port: &str) -> Self {
        let host = if front_end.contains(':') { format!("[{front_end}]") } else { front_end.to_owned() };
        Self {
            name: GATEWAY.to_owned(),
            place: Place::Gateway { url: format!("http://{host}:{port}"), access: daemon_token() },
            every: EVERY,
            max_age: MAX_AGE,
            template: Backlog::default(),
        }
    }
}

/// What the recipe `functions` makes for the daemon.
fn daemon_token() -> Access {
    let (namespace, name, key) = ("marea-functions".to_owned(), "daemon".to_owned(), "token".to_owned());
    Access { username: None, secret: Some(Secret::Kubernetes { namespace, name, key }) }
}

impl QueueEntry {
    /// The keys that are set, of those that only some kinds take.
    fn given(&self) -> BTreeSet<&'static str> {
        [
            ("url", self.url.is_some()),
            ("key", self.key.is_some()),
            ("group", self.group.is_some()),
            ("stream", self.stream.is_some()),
            ("consumer", self.consumer.is_some()),
            ("queue", self.queue.is_some()),
            ("vhost", self.vhost.is_some()),
            ("query", self.query.is_some()),
            ("namespace", self.namespace.is_some()),
            ("ahead_of_quota", self.ahead_of_quota.is_some()),
            ("username", self.username.is_some()),
            ("password_file", self.password_file.is_some()),
            ("password_env", self.password_env.is_some()),
            ("token_file", self.token_file.is_some()),
            ("token_env", self.token_env.is_some()),
            ("every", self.every.is_some()),
            ("messages_per_pod", self.messages_per_pod.is_some()),
            ("limit", self.limit.is_some()),
            ("pod_takes", self.pod_takes.is_some()),
            ("pod", self.pod.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, set)| set.then_some(key))
        .collect()
    }

    /// The keys that its kind must have, and those that it may have besides.
    fn keys(&self) -> (&'static [&'static str], &'static [&'static str]) {
        const LOGIN: [&str; 7] =
            ["username", "password_file", "password_env", "every", "messages_per_pod", "limit", "pod_takes"];
        // What some have is at the ends.
        const HTTP: [&str; 10] = [
            "consumer",
            "username",
            "password_file",
            "password_env",
            "token_file",
            "token_env",
            "every",
            "messages_per_pod",
            "limit",
            "pod_takes",
        ];
        match self.kind {
            QueueKind::Gateway => (&["url"], &HTTP[1..6]),
            QueueKind::RedisList => (&["url", "key", "pod"], &LOGIN),
            QueueKind::RedisStream => (&["url", "key", "group", "pod"], &LOGIN[..6]),
            QueueKind::NatsJetstream => (&["url", "stream", "pod"], &HTTP[..9]),
            QueueKind::Rabbitmq => (
                &["url", "queue", "username", "pod"],
                &["vhost", "password_file", "password_env", "every", "messages_per_pod", "limit"],
            ),
            QueueKind::Prometheus => (&["url", "query", "pod"], &HTTP[1..]),
            QueueKind::Kueue => (&[], &["namespace", "ahead_of_quota"]),
        }
    }

    fn source(&self) -> Result<Source, String> {
        let (must, may) = self.keys();
        let given = self.given();
        if let Some(missing) = must.iter().find(|key| !given.contains(*key)) {
            return Err(format!("`{missing}` is missing; this kind wants {}", must.join(", ")));
        }
        if let Some(odd) = given.iter().find(|key| !must.contains(key) && !may.contains(key)) {
            let all: Vec<&str> = must.iter().chain(may).copied().collect();
            return Err(format!("`{odd}` is no key of this kind; its keys are {}", all.join(", ")));
        }
        let millis = |key: &str, value: Option<Millis>, usual: Duration| match value {
            None => Ok(usual),
            Some(Millis(value)) => match u64::try_from(value) {
                Ok(value) if value >= 100 => Ok(Duration::from_millis(value)),
                Ok(_) | Err(_) => Err(format!("`{key}` is {value} ms; at least 100ms")),
            },
        };
        let every = millis("every", self.every, EVERY)?;
        let max_age = millis("max_age", self.max_age, MAX_AGE.max(every.saturating_mul(3)))?;
        let watched = matches!(self.kind, QueueKind::Gateway | QueueKind::Kueue);
        if watched && max_age < HEARTBEATS {
            return Err(format!(
                "`max_age` must be at least {} s: so long it may have nothing to say",
                HEARTBEATS.as_secs()
            ));
        }
        if max_age <= every {
            return Err("`max_age` must be longer than `every`, or each reading is too old at once".to_owned());
        }
        for (key, value) in [("messages_per_pod", self.messages_per_pod), ("limit", self.limit)] {
            if value == Some(0) {
                return Err(format!("`{key}` is 0; it must be at least 1"));
            }
        }
        Ok(Source {
            name: self.name.get_ref().clone(),
            place: self.place()?,
            every,
            max_age,
            template: Backlog {
                service: self.name.get_ref().clone(),
                limit: self.limit,
                in_flight: if self.pod_takes == Some(Takes::Continually) { Some(0) } else { None },
                unit: self.unit()?,
                ..Backlog::default()
            },
        })
    }

    fn place(&self) -> Result<Place, String> {
        let access = self.access()?;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let http = || self.address(&["http://", "https://"]);
        Ok(match self.kind {
            // Without a secret of its own it is the one that the recipe made.
            QueueKind::Gateway => {
                Place::Gateway { url: http()?, access: if access.secret.is_some() { access } else { daemon_token() } }
            }
            QueueKind::RedisList => Place::RedisList { url: self.redis()?, key: text(&self.key), access },
            QueueKind::RedisStream => {
                Place::RedisStream { url: self.redis()?, key: text(&self.key), group: text(&self.group), access }
            }
            QueueKind::NatsJetstream => Place::NatsJetstream {
                url: http()?,
                stream: text(&self.stream),
                consumer: self.consumer.clone(),
                access,
            },
            QueueKind::Rabbitmq => Place::Rabbitmq {
                url: http()?,
                vhost: self.vhost.clone().unwrap_or_else(|| "/".to_owned()),
                queue: text(&self.queue),
                access,
            },
            QueueKind::Prometheus => Place::Prometheus { url: http()?, query: text(&self.query), access },
            QueueKind::Kueue => Place::Kueue {
                namespace: self.namespace.clone(),
                ahead_of_quota: self.ahead_of_quota.unwrap_or_default(),
            },
        })
    }

    fn redis(&self) -> Result<String, String> {
        self.address(&["redis://", "rediss://", "unix://"])
    }

    /// Its address, which must hold no secret: it is shown in errors.
    fn address(&self, schemes: &[&str]) -> Result<String, String> {
        let url = self.url.clone().unwrap_or_default();
        let Some(rest) = schemes.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
            return Err(format!("`url` must begin with {}", schemes.join(" or ")));
        };
        let host = rest.split('/').next().unwrap_or_default();
        if host.contains('@') {
            return Err("`url` holds a user or password; use `username` and `password_file`".to_owned());
        }
        if host.is_empty() && !url.starts_with("unix://") {
            return Err("`url` has no host".to_owned());
        }
        Ok(url.trim_end_matches('/').to_owned())
    }

    fn access(&self) -> Result<Access, String> {
        let secrets = [
            self.password_file.clone().map(Secret::File),
            self.token_file.clone().map(Secret::File),
            self.password_env.clone().map(Secret::Env),
            self.token_env.clone().map(Secret::Env),
        ];
        let mut secrets = secrets.into_iter().flatten();
        let secret = secrets.next();
        if secrets.next().is_some() {
            return Err("only one of password_file, password_env, token_file and token_env may be set".to_owned());
        }
        let token = self.token_file.is_some() || self.token_env.is_some();
        match (&self.username, &secret) {
            (Some(_), None) => Err("`username` wants `password_file` or `password_env`".to_owned()),
            (Some(_), Some(_)) if token => Err("a token has no `username`".to_owned()),
            (_, Some(Secret::File(path))) if std::fs::metadata(path).is_err() => {
                Err(format!("there is no file {}", path.display()))
            }
            (_, Some(Secret::Env(name))) if std::env::var_os(name).is_none() => {
                Err(format!("the environment has no {name}"))
            }
            _ => Ok(Access { username: self.username.clone(), secret }),
        }
    }

    fn unit(&self) -> Result<Unit, String> {
        let Some(pod) = &self.pod else { return Ok(Unit::default()) };
        if pod.labels.is_empty() {
            return Err(
                "[queue.pod] `labels` is empty: by them it is known which pods already take messages".to_owned()
            );
        }
        if pod.requests.is_empty() {
            return Err(
                "[queue.pod] `requests` is empty: what its pods ask for decides how many machines it needs".to_owned()
            );
        }
        let requests = Resources::of_pod(&pod.requests).map_err(|error| format!("[queue.pod] `requests`: {error}"))?;
        Ok(Unit {
            messages: self.messages_per_pod.unwrap_or(1),
            namespace: pod.namespace.clone(),
            labels: pod.labels.clone(),
            requests,
            node_selector: pod.node_selector.clone(),
            tolerations: pod.tolerations.iter().cloned().map(Toleration::from).collect(),
        })
    }
}

impl Loaded {
    /// The queues to be read: those of the config, and the gateway where the cluster has one.
    pub fn queues(&self, spec: &ClusterSpec, machines: &[Machine]) -> Result<Vec<Source>, ConfigError> {
        let mut sources = self.declared_queues()?;
        let named = sources.iter().any(|one| matches!(one.place, Place::Gateway { .. }) || one.name == GATEWAY);
        let front_end = machines.iter().find(|machine| machine.role == Role::FrontEnd);
        let recipe = spec.front_end.recipes.iter().find(|recipe| recipe.name == FUNCTIONS);
        if let (false, Some(recipe), Some(front_end)) = (named, recipe, front_end) {
            let port = recipe.parameters.get("node_port").map_or("30301", String::as_str);
            sources.push(Source::gateway(&front_end.address, port));
        }
        Ok(sources)
    }

    /// Those of the config, each checked.
    pub fn declared_queues(&self) -> Result<Vec<Source>, ConfigError> {
        let mut sources: Vec<Source> = Vec::new();
        for entry in &self.config.queues {
            let name = entry.name.get_ref();
            let fail = |reason: String| self.error(entry.name.span(), format!("[[queue]] `{name}`: {reason}"));
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || !name.chars().all(plain) {
                return Err(fail("a name is letters, digits, `-`, `_` and `.`".to_owned()));
            }
            if sources.iter().any(|source| source.name == *name) {
                return Err(fail("there are two of this name".to_owned()));
            }
            sources.push(entry.source().map_err(fail)?);
        }
        Ok(sources)
    }
}

#[cfg(test)]
mod tests;
