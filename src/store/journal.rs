//! The journal: a SQLite file, in WAL mode and flushed to disk at each commit, that an operator can read
//! with `sqlite3`. One transaction holds one batch of lines. Now and then the state is written as a
//! snapshot, and lines older than the snapshot before it are dropped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::StoreError;
use crate::autoscaler::{Action, Event};

/// A snapshot is due after this many lines: replaying them takes a fraction of a second.
pub const LINES_PER_SNAPSHOT: u64 = 4096;
/// The state's hash is written with each line that completes this many: enough to find where a replay parts.
const LINES_PER_HASH: u64 = 64;
/// Snapshots and hashes cost what the state is large: of a large one both come the more seldom, at most so many bytes of
/// it for each line.
const BYTES_PER_LINE: u64 = 16 << 10;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS line (
        seq INTEGER PRIMARY KEY, at TEXT NOT NULL, event TEXT NOT NULL, actions TEXT NOT NULL, state_hash TEXT);
    CREATE TABLE IF NOT EXISTS snapshot (seq INTEGER PRIMARY KEY, state TEXT NOT NULL, hash TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS probe (id INTEGER PRIMARY KEY, at TEXT NOT NULL);
";

/// One event, when it was taken in, and what was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The time that the step was given.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
    /// What is to be done.
    pub actions: Vec<Action>,
}

/// What folding the journal gave.
#[derive(Debug)]
pub struct Replayed<S> {
    /// The state after the last line.
    pub state: S,
    /// How many lines were folded.
    pub lines: u64,
    /// How many snapshots were compared on the way.
    pub snapshots: u64,
    /// The first line at which the fold gave other bytes than were written, when there is one: the file
    /// was written by a program that decides differently, or is damaged.
    pub parted: Option<i64>,
}

/// A state, and the events after it.
pub type Recorded<S> = (Option<S>, Vec<(Timestamp, Event)>);

/// The open journal.
pub struct Journal {
    path: PathBuf,
    connection: Connection,
    next: i64,
    since_snapshot: u64,
    since_hash: u64,
    /// The bytes of the state when it was last written.
    weight: u64,
}

impl Journal {
    /// Reads what a journal's file holds without touching it: the state that its oldest snapshot has, and the events after
    /// that.
    pub fn record<S: DeserializeOwned>(path: &Path) -> Result<Recorded<S>, StoreError> {
        let fault = |source| StoreError::Database { path: path.to_owned(), source };
        let damaged = |seq: i64, reason: String| StoreError::Damaged { path: path.to_owned(), seq, reason };
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(fault)?;
        let first: Option<i64> =
            connection.query_row("SELECT min(seq) FROM line", [], |row| row.get(0)).map_err(fault)?;
        let snapshot: Option<Snapshot> = connection
            .query_row("SELECT seq, state, hash FROM snapshot ORDER BY seq LIMIT 1", [], snapshot_of)
            .optional()
            .map_err(fault)?
            // The lines go back to the very beginning: they say all that it does.
            .filter(|_| first != Some(1));
        let from = snapshot.as_ref().map_or(0, |(seq, ..)| *seq);
        let state = snapshot.map(|(seq, state, _)| {
            serde_json::from_str(&state).map_err(|error| damaged(seq, format!("snapshot: {error}")))
        });
        let mut statement =
            connection.prepare("SELECT seq, at, event FROM line WHERE seq > ?1 ORDER BY seq").map_err(fault)?;
        let mut rows = statement.query([from]).map_err(fault)?;
        let mut events = Vec::new();
        while let Some(row) = rows.next().map_err(fault)? {
            let (seq, at, event): (i64, String, String) =
                (|| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))().map_err(fault)?;
            let at = at.parse().map_err(|error| damaged(seq, format!("time: {error}")))?;
            events.push((at, serde_json::from_str(&event).map_err(|error| damaged(seq, format!("event: {error}")))?));
        }
        Ok((state.transpose()?, events))
    }

    /// Opens `journal.db` in the directory, making it when there is none.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("journal.db");
        let fault = |source| StoreError::Database { path: path.clone(), source };
        let connection = Connection::open(&path).map_err(fault)?;
        connection.busy_timeout(Duration::from_millis(500)).map_err(fault)?;
        connection
            .execute_batch(&format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {SCHEMA}"))
            .map_err(fault)?;
        let (next, since_snapshot): (i64, i64) = connection
            .query_row(
                "SELECT max(ifnull((SELECT max(seq) FROM line), 0), ifnull((SELECT max(seq) FROM snapshot), 0)) + 1,
                        (SELECT count(*) FROM line WHERE seq > ifnull((SELECT max(seq) FROM snapshot), 0))",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .map_err(fault)?;
        let since_snapshot = u64::try_from(since_snapshot).unwrap_or_default();
        Ok(Self { path, connection, next, since_snapshot, since_hash: 0, weight: 0 })
    }

    /// Folds the lines since the last snapshot with `step`.
    pub fn replay<S: Serialize + DeserializeOwned + Default>(
        &self,
        step: impl Fn(&mut S, Timestamp, Event) -> Vec<Action>,
    ) -> Result<Replayed<S>, StoreError> {
        let snapshot: Option<Snapshot> = self
            .connection
            .query_row("SELECT seq, state, hash FROM snapshot ORDER BY seq DESC LIMIT 1", [], snapshot_of)
            .optional()
            .map_err(|source| self.fault(source))?;
        let mut replayed = Replayed { state: S::default(), lines: 0, snapshots: 0, parted: None };
        let from = match snapshot {
            Some(snapshot) => self.restore(&mut replayed, &snapshot)?,
            None => 0,
        };
        self.fold(&mut replayed, from, i64::MAX, &step)?;
        Ok(replayed)
    }

    /// Folds every line that is kept, from the oldest snapshot on, and compares each later snapshot too.
    pub fn verify<S: Serialize + DeserializeOwned + Default>(
        &self,
        step: impl Fn(&mut S, Timestamp, Event) -> Vec<Action>,
    ) -> Result<Replayed<S>, StoreError> {
        let mut replayed = Replayed { state: S::default(), lines: 0, snapshots: 0, parted: None };
        let snapshots: Vec<Snapshot> = (|| {
            let mut statement = self.connection.prepare("SELECT seq, state, hash FROM snapshot ORDER BY seq")?;
            statement.query_map([], snapshot_of)?.collect::<rusqlite::Result<Vec<_>>>()
        })()
        .map_err(|source| self.fault(source))?;
        let first_line: Option<i64> = self
            .connection
            .query_row("SELECT min(seq) FROM line", [], |row| row.get(0))
            .map_err(|source| self.fault(source))?;
        let mut from = 0;
        for snapshot in &snapshots {
            // The oldest is what all else stands on, unless the lines go back to the very beginning.
            if from == 0 && first_line != Some(1) {
                from = self.restore(&mut replayed, snapshot)?;
                continue;
            }
            self.fold(&mut replayed, from, snapshot.0, &step)?;
            if json(&replayed.state) != snapshot.1 && replayed.parted.is_none() {
                replayed.parted = Some(snapshot.0);
            }
            replayed.snapshots += 1;
            from = snapshot.0;
        }
        self.fold(&mut replayed, from, i64::MAX, &step)?;
        Ok(replayed)
    }

    /// Takes the state out of a snapshot and answers with the line it stands after.
    fn restore<S: DeserializeOwned>(
        &self,
        replayed: &mut Replayed<S>,
        (seq, state, hash): &Snapshot,
    ) -> Result<i64, StoreError> {
        if hash_of(state) != *hash {
            return Err(self.damaged(*seq, "the snapshot does not have its hash".to_owned()));
        }
        replayed.state =
            serde_json::from_str(state).map_err(|error| self.damaged(*seq, format!("snapshot: {error}")))?;
        Ok(*seq)
    }

    /// Folds the lines after `from` up to `to`.
    fn fold<S: Serialize>(
        &self,
        replayed: &mut Replayed<S>,
        from: i64,
        to: i64,
        step: &impl Fn(&mut S, Timestamp, Event) -> Vec<Action>,
    ) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT seq, at, event, actions, state_hash FROM line WHERE seq > ?1 AND seq <= ?2 ORDER BY seq")
            .map_err(|source| self.fault(source))?;
        let mut rows = statement.query([from, to]).map_err(|source| self.fault(source))?;
        while let Some(row) = rows.next().map_err(|source| self.fault(source))? {
            let (seq, at, event, actions, hash): (i64, String, String, String, Option<String>) =
                (|| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))()
                    .map_err(|source| self.fault(source))?;
            let at: Timestamp = at.parse().map_err(|error| self.damaged(seq, format!("time: {error}")))?;
            let event: Event =
                serde_json::from_str(&event).map_err(|error| self.damaged(seq, format!("event: {error}")))?;
            let now = json(&step(&mut replayed.state, at, event));
            let same = now == actions && hash.is_none_or(|hash| hash == hash_of(&json(&replayed.state)));
            if !same && replayed.parted.is_none() {
                replayed.parted = Some(seq);
            }
            replayed.lines += 1;
        }
        Ok(())
    }

    /// Writes a batch of lines, all or none, and returns once they are on disk. `state` is the state after them.
    pub fn append<S: Serialize>(&mut self, lines: &[Line], state: &S) -> Result<(), StoreError> {
        let Some(last) = lines.len().checked_sub(1) else { return Ok(()) };
        let count = lines.len() as u64;
        let hash = (self.since_hash + count >= self.spaced(LINES_PER_HASH)).then(|| {
            let state = json(state);
            self.weight = state.len() as u64;
            hash_of(&state)
        });
        let first = self.next;
        let mut seq = first;
        let written: rusqlite::Result<()> = (|| {
            let transaction = self.connection.transaction()?;
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO line (seq, at, event, actions, state_hash) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?;
                for (index, line) in lines.iter().enumerate() {
                    let hash = hash.as_deref().filter(|_| index == last);
                    insert.execute(params![seq, line.at.to_string(), json(&line.event), json(&line.actions), hash])?;
                    seq += 1;
                }
            }
            transaction.commit()
        })();
        written.map_err(|source| self.fault(source))?;
        self.next = seq;
        self.since_snapshot += count;
        self.since_hash = if hash.is_some() { 0 } else { self.since_hash + count };
        Ok(())
    }

    /// True when enough lines have gathered that a snapshot is worth its size.
    pub fn wants_snapshot(&self) -> bool {
        self.since_snapshot >= self.spaced(LINES_PER_SNAPSHOT)
    }

    /// So many lines, or more when the state is large.
    fn spaced(&self, lines: u64) -> u64 {
        lines.max(self.weight / BYTES_PER_LINE)
    }

    /// Writes the state, which must be that after the last line. The last lines stay, as many as lie between
    /// two snapshots, with a snapshot that they stand on: for whoever wants to know what happened.
    pub fn snapshot<S: Serialize>(&mut self, state: &S) -> Result<(), StoreError> {
        let seq = self.next - 1;
        let state = json(state);
        self.weight = state.len() as u64;
        let hash = hash_of(&state);
        let written: rusqlite::Result<()> = (|| {
            let transaction = self.connection.transaction()?;
            transaction.execute(
                "INSERT OR REPLACE INTO snapshot (seq, state, hash) VALUES (?1, ?2, ?3)",
                params![seq, state, hash],
            )?;
            let before: i64 = transaction.query_row(
                "SELECT ifnull((SELECT max(seq) FROM snapshot WHERE seq <= ?1), 0)",
                [seq - i64::try_from(LINES_PER_SNAPSHOT).unwrap_or_default()],
                |row| row.get(0),
            )?;
            transaction.execute("DELETE FROM snapshot WHERE seq < ?1", [before])?;
            transaction.execute("DELETE FROM line WHERE seq <= ?1", [before])?;
            transaction.commit()
        })();
        written.map_err(|source| self.fault(source))?;
        self.since_snapshot = 0;
        Ok(())
    }

    /// Tries whether a line could be written now.
    pub fn probe(&mut self, at: Timestamp) -> Result<(), StoreError> {
        // A page of its own, so that a disk which takes this takes a line too.
        let padding = " ".repeat(4096);
        self.connection
            .execute("INSERT OR REPLACE INTO probe (id, at) VALUES (1, ?1)", [format!("{at}{padding}")])
            .map(drop)
            .map_err(|source| self.fault(source))
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the file grow to so many pages and no further: the full disk of the tests.
    #[doc(hidden)]
    pub fn fake_full_disk(&self, pages: Option<u32>) -> Result<(), StoreError> {
        let used: u32 = self
            .connection
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .map_err(|source| self.fault(source))?;
        let most = pages.map_or(u32::MAX - 1, |pages| used + pages);
        self.connection
            .query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))
            .map_err(|source| self.fault(source))
    }

    fn fault(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), source }
    }

    fn damaged(&self, seq: i64, reason: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), seq, reason }
    }
}

/// A snapshot's line, state and hash.
type Snapshot = (i64, String, String);

fn snapshot_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Snapshot> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// What is written: serde's field order is the struct's and maps are BTreeMaps, so equal values are equal bytes.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn hash_of(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
