//! The store of events: a SQLite file, in WAL mode and flushed to disk at each commit. One thread writes it.
//! Whoever has something to write hands it over and waits; all that has gathered meanwhile goes into one
//! transaction, so that hundreds of callers share one flush. An event is acknowledged only after its commit,
//! and a change counts only after its commit: kill the process at any point, and the file says where to go on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use tokio::sync::{mpsc, oneshot};

use super::event::EventId;

pub mod record;
mod write;

pub use record::{Kind, Record, State};

/// An event to be written.
#[derive(Debug, Clone)]
pub struct New {
    /// Its identity.
    pub id: EventId,
    /// Its function; empty for one that no function takes.
    pub service: String,
    /// How it came.
    pub kind: Kind,
    /// Its text.
    pub body: Vec<u8>,
    /// When it came.
    pub at: Timestamp,
    /// Goes to the dead letters at once, for this reason.
    pub dead: Option<String>,
}

/// An event that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its number.
    pub seq: i64,
    /// Its identity.
    pub id: EventId,
    /// Its function.
    pub service: String,
    /// False when it was there already.
    pub fresh: bool,
    /// Where it stands.
    pub state: State,
    /// Its next or current attempt.
    pub attempt: u32,
}

/// A step in the life of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Its current attempt is to run on this machine, which is no node, and on no other.
    Placed {
        /// The event.
        seq: i64,
        /// The attempt.
        attempt: u32,
        /// The machine; none: it was not started there after all.
        machine: Option<String>,
    },
    /// Its Job is made.
    Made {
        /// The event.
        seq: i64,
        /// Of which attempt: the word may come after that attempt's verdict.
        attempt: u32,
        /// When.
        at: Timestamp,
    },
    /// Its pod runs.
    Running {
        /// The event.
        seq: i64,
        /// In which attempt.
        attempt: u32,
        /// Since when.
        at: Timestamp,
    },
    /// It is over and well.
    Done {
        /// The event.
        seq: i64,
        /// When.
        at: Timestamp,
    },
    /// It waits for another attempt.
    Retry {
        /// The event.
        seq: i64,
        /// The attempt that comes.
        attempt: u32,
        /// Not before.
        not_before: Timestamp,
        /// Why.
        reason: String,
        /// The exit code of the last.
        exit: Option<i32>,
    },
    /// It is a dead letter.
    Dead {
        /// The event.
        seq: i64,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
        /// The exit code of the last attempt.
        exit: Option<i32>,
    },
    /// A dead letter is to be tried again, for this function.
    Replay {
        /// The event.
        seq: i64,
        /// The function.
        service: String,
        /// The attempt that comes.
        attempt: u32,
    },
    /// A client does not want to see a finished event of a service any more; without a number, none of them.
    Hide {
        /// The service.
        service: String,
        /// The event.
        seq: Option<i64>,
        /// Those that failed too.
        all: bool,
    },
    /// A dead letter is thrown away.
    Purge {
        /// The event.
        seq: i64,
    },
    /// What was done before this time is forgotten, so many at most.
    Forget {
        /// The time.
        before: Timestamp,
        /// How many at most.
        most: u32,
    },
}

/// The file cannot be read or written: a full disk, a broken one. It may pass.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the queue {path}: {reason}")]
pub struct StoreFault {
    /// The file.
    pub path: PathBuf,
    /// What SQLite says.
    pub reason: String,
}

/// What the writing thread is handed.
enum Order {
    Accept(Vec<New>, oneshot::Sender<Result<Vec<Accepted>, StoreFault>>),
    Change(Vec<Change>, oneshot::Sender<Result<(), StoreFault>>),
}

/// The open store. Cloning shares it.
#[derive(Clone)]
pub struct Store {
    path: PathBuf,
    orders: mpsc::Sender<Order>,
    reader: Arc<Mutex<Connection>>,
}

/// Orders that may wait for the thread: beyond them, callers wait.
const ORDERS: usize = 8192;

impl Store {
    /// Opens `queue.db` in the folder, making it when there is none, and starts its thread.
    pub fn open(folder: &Path) -> Result<Self, StoreFault> {
        let path = folder.join("queue.db");
        let fault = |error: &dyn std::fmt::Display| StoreFault { path: path.clone(), reason: error.to_string() };
        let mut writer = Connection::open(&path).map_err(|e| fault(&e))?;
        write::prepare(&mut writer).map_err(|e| fault(&e))?;
        let reader = Connection::open(&path).map_err(|e| fault(&e))?;
        reader.busy_timeout(Duration::from_secs(2)).map_err(|e| fault(&e))?;
        let (orders, inbox) = mpsc::channel(ORDERS);
        let thread_path = path.clone();
        std::thread::Builder::new()
            .name("queue-writer".to_owned())
            .spawn(move || write::run(writer, inbox, &thread_path))
            .map_err(|e| fault(&e))?;
        Ok(Self { path, orders, reader: Arc::new(Mutex::new(reader)) })
    }

    /// Writes events; answers once they are on disk.
    pub async fn accept(&self, events: Vec<New>) -> Result<Vec<Accepted>, StoreFault> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order::Accept(events, reply)).await.map_err(|_| self.ended())?;
        answer.await.map_err(|_| self.ended())?
    }

    /// Writes changes, all or none; answers once they are on disk.
    pub async fn change(&self, changes: Vec<Change>) -> Result<(), StoreFault> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order::Change(changes, reply)).await.map_err(|_| self.ended())?;
        answer.await.map_err(|_| self.ended())?
    }

    /// Goes through the events that are not over, in the order in which they came, without their texts.
    pub fn each_open(&self, mut visit: impl FnMut(Record)) -> Result<(), StoreFault> {
        self.read(|connection| {
            let sql = format!("SELECT {} FROM event WHERE state IN (0, 1) ORDER BY seq", record::COLUMNS);
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                visit(record::of(row)?);
            }
            Ok(())
        })
    }

    /// An event and its text. A text is dropped once its event is done.
    pub fn take(&self, seq: i64) -> Result<Option<(Record, Vec<u8>)>, StoreFault> {
        self.read(|connection| {
            let sql = format!("SELECT {}, body FROM event WHERE seq = ?1", record::COLUMNS);
            let whole = |row: &rusqlite::Row<'_>| {
                Ok((record::of(row)?, row.get::<_, Option<Vec<u8>>>("body")?.unwrap_or_default()))
            };
            connection.prepare_cached(&sql)?.query_row([seq], whole).optional()
        })
    }

    /// The machine that an attempt was given, when that was no node.
    pub fn machine_of(&self, seq: i64, attempt: u32) -> Result<Option<String>, StoreFault> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT machine FROM place WHERE seq = ?1 AND attempt = ?2")?
                .query_row((seq, attempt), |row| row.get(0))
                .optional()
        })
    }

    /// The event of an identity.
    pub fn find(&self, id: EventId) -> Result<Option<Record>, StoreFault> {
        self.read(|connection| {
            let sql = format!("SELECT {} FROM event WHERE id = ?1", record::COLUMNS);
            connection.prepare_cached(&sql)?.query_row([id.0], record::of).optional()
        })
    }

    /// A service's events as its clients see them, the newest first, that came before `before`.
    pub fn shown(&self, service: &str, before: i64, most: u32) -> Result<Vec<Record>, StoreFault> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {} FROM event WHERE service = ?1 AND seq < ?2 AND hidden = 0 ORDER BY seq DESC LIMIT ?3",
                record::COLUMNS
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map((service, before, most), record::of)?;
            rows.collect()
        })
    }

    /// Events, the newest first, that came before `before`: of a service, of a state, or of both.
    pub fn list(
        &self,
        service: Option<&str>,
        state: Option<State>,
        before: i64,
        most: u32,
    ) -> Result<Vec<Record>, StoreFault> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {} FROM event WHERE seq < ?1 AND (?2 IS NULL OR service = ?2) AND (?3 IS NULL OR state = ?3)
                 ORDER BY seq DESC LIMIT ?4",
                record::COLUMNS
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map((before, service, state.map(State::number), most), record::of)?;
            rows.collect()
        })
    }

    /// How many of a service came before `before`.
    pub fn count(&self, service: &str, before: i64) -> Result<i64, StoreFault> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT count(*) FROM event WHERE service = ?1 AND seq < ?2 AND hidden = 0")?
                .query_row((service, before), |row| row.get(0))
        })
    }

    /// How many are in each state.
    pub fn totals(&self) -> Result<std::collections::BTreeMap<State, i64>, StoreFault> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT state, count(*) FROM event GROUP BY state")?;
            let rows = statement.query_map([], |row| Ok((State::of(row.get(0)?), row.get(1)?)))?;
            rows.collect()
        })
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreFault> {
        let reader = self.reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        work(&reader).map_err(|error| StoreFault { path: self.path.clone(), reason: error.to_string() })
    }

    fn ended(&self) -> StoreFault {
        StoreFault { path: self.path.clone(), reason: "its writer has ended".to_owned() }
    }
}

#[cfg(test)]
mod tests;
