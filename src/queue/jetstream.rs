//! NATS JetStream: a stream's messages, or what one of its consumers has still to get and has not acknowledged,
//! from the server's monitoring port (`/jsz`).

use futures::future::{BoxFuture, FutureExt as _};
use serde::Deserialize;

use super::QueueError;
use super::access::Http;
use super::poll::{Depth, Read};

/// Reads one stream.
pub(super) struct Reader {
    pub(super) http: Http,
    pub(super) stream: String,
    pub(super) consumer: Option<String>,
}

#[derive(Deserialize)]
struct Jsz {
    #[serde(default)]
    account_details: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    stream_detail: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    name: String,
    state: Messages,
    #[serde(default)]
    consumer_detail: Vec<Consumer>,
}

#[derive(Deserialize)]
struct Messages {
    messages: u64,
}

#[derive(Deserialize)]
struct Consumer {
    name: String,
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    num_ack_pending: u64,
}

const PATH: &str = "/jsz";

impl Reader {
    async fn depth(&mut self) -> Result<Depth, QueueError> {
        let query = [("accounts", "true"), ("streams", "true"), ("consumers", "true"), ("limit", "4096")];
        let jsz: Jsz = self.http.json(PATH, &query).await?;
        let mut streams = jsz.account_details.iter().flat_map(|account| &account.stream_detail);
        let Some(stream) = streams.find(|stream| stream.name == self.stream) else {
            return Err(self.http.missing(format!("there is no stream `{}`", self.stream)));
        };
        let Some(name) = &self.consumer else {
            // A message that is worked on is among them until it is acknowledged.
            return Ok(Depth { waiting: stream.state.messages, in_flight: Some(0) });
        };
        let consumer = stream.consumer_detail.iter().find(|consumer| consumer.name == *name);
        consumer
            .map(|consumer| Depth { waiting: consumer.num_pending, in_flight: Some(consumer.num_ack_pending) })
            .ok_or_else(|| self.http.missing(format!("stream `{}` has no consumer `{name}`", self.stream)))
    }
}

impl Read for Reader {
    fn read(&mut self) -> BoxFuture<'_, Result<Depth, QueueError>> {
        self.depth().boxed()
    }
}
