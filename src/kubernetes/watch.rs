//! The watch: streams of pods, nodes and the facts that scheduling asks for, which tell the core what there
//! is, from one list and then every change. It is either whole or lost: when one stream breaks, or the API
//! server stops answering, all are dropped, `WatchLost` is said once, and all begin again with a list. A
//! stream that resumed by itself would leave the core to guess what it missed.
//!
//! The facts are told first: pods are judged by them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::api::policy::v1 as policy;
use k8s_openapi::api::storage::v1 as storage;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;

use super::{client, convert, facts};
use crate::autoscaler::Event;
use crate::model::fact::{Fact, FactId, FactKind};
use crate::model::node::Node;
use crate::model::pod::{Pod, PodId};

/// How the watch behaves. The defaults notice a dead API server within about five seconds.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How often the API server is asked whether it is well while no change arrives.
    pub probe_every: Duration,
    /// How long it may take to answer.
    pub probe_limit: Duration,
    /// How long the two first lists may make no progress. A list whose answer was lost on the way waits for ever.
    pub list_limit: Duration,
    /// The first pause before the watch is begun again; it doubles up to `retry_most`.
    pub retry_first: Duration,
    /// The longest pause.
    pub retry_most: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            probe_every: Duration::from_secs(2),
            probe_limit: Duration::from_secs(3),
            list_limit: Duration::from_secs(10),
            retry_first: Duration::from_millis(250),
            retry_most: Duration::from_secs(5),
        }
    }
}

/// Watches until the receiver of the events is dropped.
pub async fn watch(client: Client, events: mpsc::Sender<Event>, timing: Timing) {
    let mut pause = timing.retry_first;
    let mut said = false;
    loop {
        let mut was_fresh = false;
        let reason = match session(&client, &events, timing, &mut was_fresh).await {
            Ended::Lost(reason) => reason,
            Ended::NobodyListens => return,
        };
        if was_fresh {
            pause = timing.retry_first;
            said = false;
        }
        if !said {
            tracing::warn!(%reason, "the watch is lost: nothing is powered off until it is back");
            if events.send(Event::WatchLost { reason }).await.is_err() {
                return;
            }
            said = true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(timing.retry_most);
    }
}

enum Ended {
    Lost(String),
    NobodyListens,
}

/// What one of the merged streams has to say.
enum Word {
    Pods(watcher::Event<Arc<Pod>>),
    Nodes(watcher::Event<Arc<Node>>),
    Facts(FactKind, watcher::Event<Arc<Fact>>),
    Alive,
    Lost(String),
}

/// What a session has been told so far.
#[derive(Default)]
struct Told {
    pods: Listing<PodId, Pod>,
    nodes: Listing<String, Node>,
    facts: BTreeMap<FactKind, Listing<FactId, Fact>>,
    /// The facts of the first lists, until there are all of them, and what has to wait for them.
    gathered: BTreeMap<FactId, Fact>,
    held: Vec<Event>,
}

impl Told {
    fn has_facts(&self) -> bool {
        self.facts.values().filter(|listing| listing.listed).count() == KINDS
    }

    fn is_whole(&self) -> bool {
        self.pods.listed && self.nodes.listed && self.has_facts()
    }

    /// The events that this word makes, in order.
    fn fold(&mut self, word: Word) -> Vec<Event> {
        let had_facts = self.has_facts();
        let event = match word {
            Word::Lost(_) | Word::Alive => None,
            Word::Pods(event) => self.pods.fold(event, |pod| pod.id.clone()).map(|news| match news {
                News::Listed(pods) => Event::PodsListed { pods },
                News::Applied(pod) => Event::PodApplied { pod },
                News::Gone(id) => Event::PodGone { id },
            }),
            Word::Nodes(event) => self.nodes.fold(event, |node| node.name.clone()).map(|news| match news {
                News::Listed(nodes) => Event::NodesListed { nodes },
                News::Applied(node) => Event::NodeApplied { node },
                News::Gone(name) => Event::NodeGone { name },
            }),
            Word::Facts(kind, event) => match self.facts.entry(kind).or_default().fold(event, Fact::id) {
                Some(News::Applied(fact)) if had_facts => Some(Event::FactApplied { fact }),
                Some(News::Gone(id)) if had_facts => Some(Event::FactGone { id }),
                Some(News::Listed(list)) => {
                    self.gathered.extend(list.into_iter().map(|fact| (fact.id(), fact)));
                    None
                }
                Some(News::Applied(fact)) => {
                    self.gathered.insert(fact.id(), fact);
                    None
                }
                Some(News::Gone(id)) => {
                    self.gathered.remove(&id);
                    None
                }
                None => None,
            },
        };
        if !self.has_facts() {
            self.held.extend(event);
            return Vec::new();
        }
        if had_facts {
            return event.into_iter().collect();
        }
        let facts = std::mem::take(&mut self.gathered).into_values().collect();
        let mut events = vec![Event::FactsListed { facts }];
        events.append(&mut self.held);
        events.extend(event);
        events
    }
}

async fn session(client: &Client, events: &mpsc::Sender<Event>, timing: Timing, was_fresh: &mut bool) -> Ended {
    let busy = Arc::new(AtomicBool::new(false));
    let mut streams = vec![pods(client), nodes(client), probes(client, timing, busy.clone())];
    streams.extend(all_facts(client));
    let mut words = futures::stream::select_all(streams);
    let mut told = Told::default();
    let mut silence = Duration::ZERO;
    while let Some(word) = words.next().await {
        match &word {
            Word::Lost(reason) => return Ended::Lost(reason.clone()),
            Word::Alive => {
                // A server that is well and yet never finishes its lists is a lost watch too.
                silence += timing.probe_every;
                if !told.is_whole() && silence > timing.list_limit {
                    return Ended::Lost(format!("the lists made no progress for {} s", timing.list_limit.as_secs()));
                }
            }
            Word::Pods(_) | Word::Nodes(_) | Word::Facts(..) => {
                silence = Duration::ZERO;
                busy.store(true, Ordering::Relaxed);
            }
        }
        let news = told.fold(word);
        *was_fresh = told.is_whole();
        for event in news {
            if events.send(event).await.is_err() {
                return Ended::NobodyListens;
            }
        }
    }
    Ended::Lost("the watch streams ended".to_owned())
}

/// How many kinds of facts there are.
const KINDS: usize = 9;

fn all_facts(client: &Client) -> [BoxStream<'static, Word>; KINDS] {
    [
        facts::<api::Namespace>(client, "namespaces", FactKind::Namespace, facts::namespace),
        facts::<api::PersistentVolumeClaim>(client, "claims", FactKind::Claim, facts::claim),
        facts::<api::PersistentVolume>(client, "volumes", FactKind::Volume, facts::volume),
        facts::<storage::StorageClass>(client, "storage classes", FactKind::Class, facts::class),
        facts::<storage::CSIDriver>(client, "CSI drivers", FactKind::Driver, facts::driver),
        facts::<storage::CSINode>(client, "CSI nodes", FactKind::NodeDrivers, facts::node_drivers),
        facts::<storage::CSIStorageCapacity>(client, "storage capacities", FactKind::Capacity, facts::capacity),
        facts::<storage::VolumeAttachment>(client, "volume attachments", FactKind::Attachment, facts::attachment),
        facts::<policy::PodDisruptionBudget>(client, "disruption budgets", FactKind::Budget, facts::budget),
    ]
}

fn facts<K>(client: &Client, what: &'static str, kind: FactKind, convert: fn(&K) -> Fact) -> BoxStream<'static, Word>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    K: serde::de::DeserializeOwned,
{
    let stream = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff();
    let wrap = move |event| Word::Facts(kind, event);
    stream.map(move |result| word(what, result, |object| Arc::new(convert(&object)), wrap)).boxed()
}

fn pods(client: &Client) -> BoxStream<'static, Word> {
    // Finished pods hold nothing. One that finishes leaves the selection and is reported as deleted.
    let config = watcher::Config::default().fields("status.phase!=Succeeded,status.phase!=Failed");
    let stream = watcher(Api::<api::Pod>::all(client.clone()), config).default_backoff();
    stream.map(|result| word("pods", result, |pod| Arc::new(convert::pod(&pod)), Word::Pods)).boxed()
}

fn nodes(client: &Client) -> BoxStream<'static, Word> {
    let stream = watcher(Api::<api::Node>::all(client.clone()), watcher::Config::default()).default_backoff();
    stream.map(|result| word("nodes", result, |node| Arc::new(convert::node(&node)), Word::Nodes)).boxed()
}

/// Asks for the server's health, but only in the pauses between changes: a change is proof enough.
fn probes(client: &Client, timing: Timing, busy: Arc<AtomicBool>) -> BoxStream<'static, Word> {
    futures::stream::unfold((client.clone(), busy, 0_u32), move |(client, busy, failures)| async move {
        tokio::time::sleep(timing.probe_every).await;
        if busy.swap(false, Ordering::Relaxed) {
            return Some((Word::Alive, (client, busy, 0)));
        }
        match client::probe(&client, timing.probe_limit).await {
            Ok(()) => Some((Word::Alive, (client, busy, 0))),
            // One failure may be a hiccup; the streams themselves tell of a connection that was cut.
            Err(_) if failures == 0 => Some((Word::Alive, (client, busy, 1))),
            Err(error) => Some((Word::Lost(error.to_string()), (client, busy, failures + 1))),
        }
    })
    .boxed()
}

fn word<K, T>(
    what: &str,
    result: Result<watcher::Event<K>, watcher::Error>,
    convert: impl Fn(K) -> T,
    wrap: impl Fn(watcher::Event<T>) -> Word,
) -> Word {
    match result {
        Ok(watcher::Event::Apply(object)) => wrap(watcher::Event::Apply(convert(object))),
        Ok(watcher::Event::Delete(object)) => wrap(watcher::Event::Delete(convert(object))),
        Ok(watcher::Event::Init) => wrap(watcher::Event::Init),
        Ok(watcher::Event::InitApply(object)) => wrap(watcher::Event::InitApply(convert(object))),
        Ok(watcher::Event::InitDone) => wrap(watcher::Event::InitDone),
        Err(error) => Word::Lost(format!("watch of {what}: {}", client::chain(&error))),
    }
}

/// One stream's list in the making, and a fingerprint of each object as the core last heard of it: most
/// updates of a pod or node touch nothing that decides, and those need neither a step nor a journal line.
struct Listing<K, T> {
    listed: bool,
    gathering: Vec<Arc<T>>,
    prints: BTreeMap<K, u64>,
}

impl<K, T> Default for Listing<K, T> {
    fn default() -> Self {
        Self { listed: false, gathering: Vec::new(), prints: BTreeMap::new() }
    }
}

enum News<K, T> {
    Listed(Vec<T>),
    Applied(T),
    Gone(K),
}

impl<K: Ord, T: Clone + serde::Serialize> Listing<K, T> {
    fn fold(&mut self, event: watcher::Event<Arc<T>>, key: impl Fn(&T) -> K) -> Option<News<K, T>> {
        match event {
            watcher::Event::Init => {
                self.gathering.clear();
                None
            }
            watcher::Event::InitApply(object) => {
                self.gathering.push(object);
                None
            }
            watcher::Event::InitDone => {
                let list: Vec<T> = std::mem::take(&mut self.gathering).into_iter().map(Arc::unwrap_or_clone).collect();
                self.prints = list.iter().map(|object| (key(object), print_of(object))).collect();
                self.listed = true;
                Some(News::Listed(list))
            }
            watcher::Event::Apply(object) => {
                let print = print_of(object.as_ref());
                if self.prints.insert(key(&object), print) == Some(print) {
                    return None;
                }
                Some(News::Applied(Arc::unwrap_or_clone(object)))
            }
            watcher::Event::Delete(object) => {
                let key = key(&object);
                self.prints.remove(&key);
                Some(News::Gone(key))
            }
        }
    }
}

fn print_of<T: serde::Serialize>(object: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_vec(object).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::Resource;

    use super::*;

    #[test]
    fn the_daemon_may_watch_all_that_it_watches() {
        let rights = include_str!("../../recipes/daemon-rights.yaml");
        let facts: [(&str, &str); KINDS] = [
            (api::Namespace::GROUP, "namespaces"),
            (api::PersistentVolumeClaim::GROUP, "persistentvolumeclaims"),
            (api::PersistentVolume::GROUP, "persistentvolumes"),
            (storage::StorageClass::GROUP, "storageclasses"),
            (storage::CSIDriver::GROUP, "csidrivers"),
            (storage::CSINode::GROUP, "csinodes"),
            (storage::CSIStorageCapacity::GROUP, "csistoragecapacities"),
            (storage::VolumeAttachment::GROUP, "volumeattachments"),
            (policy::PodDisruptionBudget::GROUP, "poddisruptionbudgets"),
        ];
        let group = |group: &str| if group.is_empty() { "\"\"".to_owned() } else { group.to_owned() };
        for (of, resource) in facts.into_iter().chain([("", "pods"), ("", "nodes")]) {
            // A rule is on one line, or its three parts are on one each.
            let mut rules = rights.split("- {apiGroups").flat_map(|part| part.split("- apiGroups"));
            let found = rules.find(|rule| rule.contains(resource)).unwrap_or_else(|| panic!("no rule for {resource}"));
            assert!(found.starts_with(&format!(": [{}]", group(of))) && found.contains("watch"), "{resource}: {found}");
        }
    }
}
