//! The watch: services, Jobs and pods, each from one list and then every change. A stream that breaks begins
//! again with a list, so nothing is missed; what has gone meanwhile is missing in the list.

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::mpsc;

use super::cluster::Cluster;
use super::word::{Seen, ServiceFact, Word};
use crate::clock;
use crate::functions::objects::{self, facts};
use crate::kubernetes::client::chain;

/// A watch is asked to end after so many seconds, so that a dead connection is noticed by its silence.
const SECONDS: u32 = 25;

/// Follows all three until nobody listens.
pub(super) fn follow(cluster: &Cluster, words: &mpsc::Sender<Word>) {
    let config = |selector: &str| watcher::Config::default().labels(selector).timeout(SECONDS);
    let services = |object: &ConfigMap| ServiceFact {
        name: object.metadata.name.clone().unwrap_or_default(),
        entry: objects::entry(object).map(Box::new),
    };
    tokio::spawn(stream(cluster.api(), config(objects::SERVICES), services, Word::Services, words.clone()));
    tokio::spawn(stream(cluster.api::<Job>(), config(objects::RUNS), facts::job, Word::Jobs, words.clone()));
    tokio::spawn(stream(cluster.api::<Pod>(), config(objects::RUNS), facts::pod, Word::Pods, words.clone()));
}

async fn stream<K, T>(
    api: Api<K>,
    config: watcher::Config,
    read: impl Fn(&K) -> T,
    wrap: impl Fn(Seen<T>) -> Word,
    words: mpsc::Sender<Word>,
) where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
    let mut list = Vec::new();
    while let Some(event) = stream.next().await {
        let seen = match event {
            Ok(watcher::Event::Init) => {
                list.clear();
                Seen::Began(clock::monotonic())
            }
            Ok(watcher::Event::InitApply(object)) => {
                list.push(read(&object));
                continue;
            }
            Ok(watcher::Event::InitDone) => Seen::Listed(std::mem::take(&mut list)),
            Ok(watcher::Event::Apply(object)) => Seen::Applied(read(&object)),
            Ok(watcher::Event::Delete(object)) => Seen::Gone(read(&object)),
            Err(error) => Seen::Broken(chain(&error)),
        };
        if words.send(wrap(seen)).await.is_err() {
            return;
        }
    }
}
