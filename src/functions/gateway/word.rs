//! The words that the runner is told: what was seen, what was taken in, what came of what it began, and what
//! clients ask of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::functions::event::{EventId, Routes};
use crate::functions::machine::Heard;
use crate::functions::objects::Entry;
use crate::functions::objects::facts::{JobFact, PodFact};
use crate::functions::queue::{Depth, Ticket, Verdict};
use crate::functions::store::{Accepted, Record};

/// What a stream of the watch tells.
#[derive(Debug)]
pub(super) enum Seen<T> {
    /// A list is about to be asked for: what was made before this moment is in it.
    Began(Instant),
    /// All there is.
    Listed(Vec<T>),
    /// One is new or changed.
    Applied(T),
    /// One is gone.
    Gone(T),
    /// The stream broke; it begins again by itself.
    Broken(String),
}

/// A service as it was seen: its object may be damaged.
#[derive(Debug)]
pub(super) struct ServiceFact {
    /// Its name.
    pub(super) name: String,
    /// What it is, or what is wrong with it.
    pub(super) entry: Result<Box<Entry>, String>,
}

/// One word.
#[derive(Debug)]
pub(super) enum Word {
    /// Of services.
    Services(Seen<ServiceFact>),
    /// Of Jobs.
    Jobs(Seen<JobFact>),
    /// Of pods.
    Pods(Seen<PodFact>),
    /// Of a machine that is no node.
    Machine(String, Heard),
    /// Events are on disk. Whoever waits for their end is told.
    Accepted(Vec<Accepted>, Option<oneshot::Sender<Ended>>),
    /// The Job of this attempt was to be made. The attempt may be over by now: its pod may be seen, and judged,
    /// before the API server's answer.
    Made(Ticket, Made),
    /// This attempt was judged, and the verdict is on disk.
    Judged(Ticket, Verdict),
    /// A client wants a run to end, and to be seen no more.
    Cancel(Box<Record>, oneshot::Sender<()>),
    /// A service was deleted: its events and Jobs go.
    Drop(String, oneshot::Sender<()>),
    /// Dead letters are to be tried again; it is on disk.
    Replayed(Vec<Accepted>),
}

/// What came of making a Job.
#[derive(Debug)]
pub(super) enum Made {
    /// It is there.
    There,
    /// It could not be made now, for this reason.
    Later(String),
    /// This service may have no more now: a quota.
    Full(String),
    /// It can never be made.
    Never(String),
}

/// How a run ended, for whoever waits.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    /// The event.
    pub(super) id: EventId,
    /// Nothing when it was well; else why not.
    pub(super) failure: Option<String>,
}

/// What the handlers know of the services: the runner's last word.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// The services.
    pub(super) services: BTreeMap<String, Arc<Entry>>,
    /// Which objects are for which of them.
    pub(super) routes: Routes,
    /// Why the gateway cannot serve yet.
    pub(super) not_ready: Option<String>,
}

/// What each service has in the queue.
pub(super) type Depths = BTreeMap<String, Depth>;
