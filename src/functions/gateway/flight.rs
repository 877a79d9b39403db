//! A flight: one run of an event that was begun and is not judged yet, as the runner knows it.

use std::time::Instant;

use jiff::Timestamp;

use crate::functions::event::{EventId, job_name};
use crate::functions::queue::Ticket;
use crate::functions::store::{Kind, Record};

/// A run in flight.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) seq: i64,
    pub(super) service: String,
    pub(super) id: EventId,
    pub(super) attempt: u32,
    pub(super) kind: Kind,
    pub(super) accepted: Timestamp,
    /// The machine that it was given, when that is no node.
    pub(super) machine: Option<String>,
    pub(super) made: Option<Instant>,
    pub(super) running: bool,
    pub(super) judged: bool,
    pub(super) stuck: Option<(Timestamp, String)>,
}

impl Flight {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            seq: record.seq,
            service: record.service.clone(),
            id: record.id,
            attempt: record.attempt,
            kind: record.kind,
            accepted: record.accepted_at,
            machine: record.machine.clone(),
            made: None,
            running: record.running_at.is_some(),
            judged: false,
            stuck: None,
        }
    }

    pub(super) fn ticket(&self) -> Ticket {
        Ticket { seq: self.seq, attempt: self.attempt }
    }

    pub(super) fn job(&self) -> String {
        job_name(&self.service, self.id, self.attempt)
    }
}
