//! Queues: each source tells the core what waits in one queue outside of Kubernetes. A source is a stream of
//! readings and failures that goes on for ever; here is decided what of that the core is told, and when a queue
//! counts as lost. A source that fails costs nothing but its own queue.

mod access;
mod gateway;
mod jetstream;
mod kueue;
mod poll;
mod prometheus;
mod rabbitmq;
mod redis;

use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _};
use tokio::sync::mpsc;

use crate::autoscaler::Event;
use crate::clock;
use crate::config::queues::{Place, Source};
use crate::model::queue::Backlog;

/// Changes are told this far apart at least: each is a line in the journal.
const APART: Duration = Duration::from_millis(500);
/// An answer that takes longer than this is no answer.
const CALL: Duration = Duration::from_secs(5);
/// The longest pause before a stream that broke is begun again.
const PAUSE_MOST: Duration = Duration::from_secs(5);

/// What one look at a queue found.
type Reading = Result<Vec<Backlog>, QueueError>;

/// Why a queue could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Nobody answers, or not in time. It may pass.
    #[error("{place} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        place: String,
        /// Why.
        reason: String,
    },
    /// It does not let us in, or has no such queue. Somebody must change something.
    #[error("{place} refused: {reason}")]
    Refused {
        /// Where.
        place: String,
        /// Its answer.
        reason: String,
    },
    /// It answers what cannot be understood.
    #[error("{place} answered what is no depth of a queue: {reason}")]
    Nonsense {
        /// Where.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The secret cannot be read.
    #[error("its secret cannot be read: {reason}")]
    Secret {
        /// What is wrong.
        reason: String,
    },
}

/// Tells of a queue until nobody listens.
pub async fn watch(source: Source, client: kube::Client, events: mpsc::Sender<Event>) {
    let queue = source.name.clone();
    let max_age = source.max_age;
    let mut readings = readings(source, client);
    let mut told: Option<Vec<Backlog>> = None;
    let mut untold: Option<Vec<Backlog>> = None;
    let mut lost = false;
    let mut trouble: Option<QueueError> = None;
    let mut good = clock::monotonic();
    let mut said = None;
    loop {
        // Whichever comes first: a reading, the time to tell of one, or the age at which the last is too old.
        let too_old = if lost { Duration::MAX } else { max_age.saturating_sub(good.elapsed()) };
        let due = said.map_or(Duration::ZERO, |said: std::time::Instant| APART.saturating_sub(said.elapsed()));
        let wait = if untold.is_some() { due.min(too_old) } else { too_old };
        match tokio::time::timeout(wait.min(Duration::from_hours(1)), readings.next()).await {
            Ok(Some(Ok(services))) => {
                good = clock::monotonic();
                if lost || trouble.take().is_some() {
                    tracing::info!(queue, "the queue can be read again");
                }
                if lost || told.as_ref() != Some(&services) {
                    untold = Some(services);
                } else {
                    untold = None;
                }
            }
            Ok(Some(Err(error))) => {
                if trouble.as_ref() != Some(&error) {
                    tracing::warn!(queue, %error, "the queue cannot be read");
                    trouble = Some(error);
                }
            }
            Ok(None) => return,
            Err(_) => {}
        }
        if !lost && good.elapsed() >= max_age {
            let reason = trouble.as_ref().map_or_else(
                || format!("nothing was heard of it for {} s", max_age.as_secs()),
                std::string::ToString::to_string,
            );
            lost = true;
            untold = None;
            told = None;
            if events.send(Event::QueueLost { queue: queue.clone(), reason }).await.is_err() {
                return;
            }
        }
        let quiet = said.is_none_or(|said| said.elapsed() >= APART);
        if let Some(services) = untold.take_if(|_| quiet) {
            told = Some(services.clone());
            lost = false;
            said = Some(clock::monotonic());
            if events.send(Event::QueueSeen { queue: queue.clone(), services }).await.is_err() {
                return;
            }
        }
    }
}

fn readings(source: Source, kube: kube::Client) -> BoxStream<'static, Reading> {
    let http = |url, access| access::Http::new(url, access, kube.clone());
    let reader: Box<dyn poll::Read> = match source.place {
        Place::Gateway { url, access } => return gateway::readings(url, access, kube),
        Place::Kueue { namespace, ahead_of_quota } => return kueue::readings(kube, namespace, ahead_of_quota),
        Place::RedisList { url, key, access } => Box::new(redis::Reader::new(url, key, None, access, kube)),
        Place::RedisStream { url, key, group, access } => {
            Box::new(redis::Reader::new(url, key, Some(group), access, kube))
        }
        Place::NatsJetstream { url, stream, consumer, access } => {
            Box::new(jetstream::Reader { http: http(url, access), stream, consumer })
        }
        Place::Rabbitmq { url, vhost, queue, access } => {
            Box::new(rabbitmq::Reader { http: http(url, access), vhost, queue })
        }
        Place::Prometheus { url, query, access } => Box::new(prometheus::Reader { http: http(url, access), query }),
    };
    poll::polled(source.every, source.template, reader)
}
