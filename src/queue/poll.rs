//! Polling: a queue that cannot be watched is read now and then.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::time::MissedTickBehavior;

use super::{QueueError, Reading};
use crate::model::queue::Backlog;

/// What was read of a queue of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Depth {
    /// Messages that nobody has taken.
    pub(super) waiting: u64,
    /// Messages that are being worked on, where the server knows.
    pub(super) in_flight: Option<u64>,
}

/// One that reads a queue's depth.
pub(super) trait Read: Send {
    /// Reads it now.
    fn read(&mut self) -> BoxFuture<'_, Result<Depth, QueueError>>;
}

/// Reads at this distance for ever; what is known beforehand is in the template.
pub(super) fn polled(every: Duration, template: Backlog, reader: Box<dyn Read>) -> BoxStream<'static, Reading> {
    let mut clock = tokio::time::interval(every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let start = (clock, template, reader);
    stream::unfold(start, async |(mut clock, template, mut reader)| {
        clock.tick().await;
        let reading = reader.read().await.map(|depth| {
            vec![Backlog {
                waiting: depth.waiting,
                in_flight: depth.in_flight.or(template.in_flight),
                ..template.clone()
            }]
        });
        Some((reading, (clock, template, reader)))
    })
    .boxed()
}
