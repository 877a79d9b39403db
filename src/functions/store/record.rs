//! A record: what the store knows of one event.

use jiff::Timestamp;
use serde::Serialize;

use crate::functions::event::EventId;

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It has no Job.
    Waiting,
    /// It has a Job.
    Running,
    /// It is over and well.
    Done,
    /// No further attempt will be made unless it is asked for.
    Dead,
}

impl State {
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Waiting => 0,
            Self::Running => 1,
            Self::Done => 2,
            Self::Dead => 3,
        }
    }

    pub(super) fn of(number: i64) -> Self {
        match number {
            0 => Self::Waiting,
            1 => Self::Running,
            2 => Self::Done,
            _ => Self::Dead,
        }
    }
}

/// How an event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// From the store.
    Object,
    /// By /job.
    Job,
    /// By /run: somebody waits for the result, so it is tried once.
    Run,
}

impl Kind {
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Object => 0,
            Self::Job => 1,
            Self::Run => 2,
        }
    }

    fn of(number: i64) -> Self {
        match number {
            0 => Self::Object,
            2 => Self::Run,
            _ => Self::Job,
        }
    }
}

/// What is known of one event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// Its number: later events have higher ones.
    pub seq: i64,
    /// Its identity.
    #[serde(serialize_with = "shown")]
    pub id: EventId,
    /// Its function.
    pub service: String,
    /// How it came.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// Its next, current or last attempt.
    pub attempt: u32,
    /// Why the last attempt failed.
    pub reason: Option<String>,
    /// The exit code of the last attempt that failed.
    pub exit: Option<i32>,
    /// When it was taken in.
    pub accepted_at: Timestamp,
    /// The next attempt is not before this.
    pub not_before: Option<Timestamp>,
    /// When its Job was made.
    pub made_at: Option<Timestamp>,
    /// When its container began.
    pub running_at: Option<Timestamp>,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
    /// The machine that the attempt was given, when it is no node of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

fn shown<S: serde::Serializer>(id: &EventId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

pub(super) const COLUMNS: &str = "seq, id, service, kind, state, attempt, reason, exit, accepted_at, not_before, made_at, running_at, finished_at, \
     (SELECT machine FROM place WHERE place.seq = event.seq AND place.attempt = event.attempt) AS machine";

pub(super) fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Record> {
    let time = |column: &str| -> rusqlite::Result<Option<Timestamp>> {
        let millis: Option<i64> = row.get(column)?;
        Ok(millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()))
    };
    Ok(Record {
        seq: row.get("seq")?,
        id: EventId(row.get("id")?),
        service: row.get("service")?,
        kind: Kind::of(row.get("kind")?),
        state: State::of(row.get("state")?),
        attempt: row.get("attempt")?,
        reason: row.get("reason")?,
        exit: row.get("exit")?,
        accepted_at: time("accepted_at")?.unwrap_or_default(),
        not_before: time("not_before")?,
        made_at: time("made_at")?,
        running_at: time("running_at")?,
        finished_at: time("finished_at")?,
        machine: row.get("machine")?,
    })
}
