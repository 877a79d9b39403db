//! RabbitMQ: a queue's messages that are ready and that are not acknowledged, from the management port. RabbitMQ
//! itself counts them anew every five seconds.

use futures::future::{BoxFuture, FutureExt as _};
use serde::Deserialize;

use super::QueueError;
use super::access::Http;
use super::poll::{Depth, Read};

/// Reads one queue.
pub(super) struct Reader {
    pub(super) http: Http,
    pub(super) vhost: String,
    pub(super) queue: String,
}

#[derive(Deserialize)]
struct Queue {
    messages_ready: Option<u64>,
    messages_unacknowledged: Option<u64>,
}

/// A name as one segment of a path.
fn segment(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

impl Reader {
    async fn depth(&mut self) -> Result<Depth, QueueError> {
        let path = format!("/api/queues/{}/{}", segment(&self.vhost), segment(&self.queue));
        let queue: Queue = self.http.json(&path, &[]).await?;
        match queue.messages_ready {
            Some(waiting) => Ok(Depth { waiting, in_flight: queue.messages_unacknowledged }),
            // Declared, and not counted yet.
            None => Err(self.http.nonsense(&path, "its messages have not been counted yet")),
        }
    }
}

impl Read for Reader {
    fn read(&mut self) -> BoxFuture<'_, Result<Depth, QueueError>> {
        self.depth().boxed()
    }
}
