//! The writing thread: gathers what has come while the last flush went on, writes it in one transaction, and
//! answers everybody when the flush is done. When the transaction fails, nobody is told yes.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use tokio::sync::mpsc;

use super::record::{self, State};
use super::{Accepted, Change, New, Order, StoreFault};

/// Orders in one transaction at most: enough to share a flush, few enough to answer soon.
const BATCH: usize = 2048;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS event (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, service TEXT NOT NULL, kind INTEGER NOT NULL,
        state INTEGER NOT NULL, attempt INTEGER NOT NULL, body BLOB, reason TEXT, exit INTEGER,
        accepted_at INTEGER NOT NULL, not_before INTEGER, made_at INTEGER, running_at INTEGER, finished_at INTEGER,
        hidden INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE IF NOT EXISTS place (
        seq INTEGER NOT NULL, attempt INTEGER NOT NULL, machine TEXT NOT NULL, PRIMARY KEY (seq, attempt)) WITHOUT ROWID;
    CREATE TRIGGER IF NOT EXISTS place_gone AFTER DELETE ON event BEGIN DELETE FROM place WHERE seq = OLD.seq; END;
    CREATE INDEX IF NOT EXISTS event_open ON event (seq) WHERE state IN (0, 1);
    CREATE INDEX IF NOT EXISTS event_dead ON event (seq) WHERE state = 3;
    CREATE INDEX IF NOT EXISTS event_done ON event (finished_at) WHERE state = 2;
    CREATE INDEX IF NOT EXISTS event_service ON event (service, seq);
";

pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(2))?;
    connection.execute_batch(&format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {SCHEMA}"))
}

pub(super) fn run(mut connection: Connection, mut orders: mpsc::Receiver<Order>, path: &Path) {
    let mut batch = Vec::new();
    while let Some(order) = orders.blocking_recv() {
        batch.push(order);
        while batch.len() < BATCH
            && let Ok(order) = orders.try_recv()
        {
            batch.push(order);
        }
        let written = commit(&mut connection, &batch);
        let fault = written.as_ref().err().map(|error| StoreFault { path: path.to_owned(), reason: error.to_string() });
        let mut accepted = written.unwrap_or_default().into_iter();
        for order in batch.drain(..) {
            // Whoever no longer waits for the answer has lost only the answer.
            match (order, &fault) {
                (Order::Accept(_, reply), None) => drop(reply.send(Ok(accepted.next().unwrap_or_default()))),
                (Order::Accept(_, reply), Some(fault)) => drop(reply.send(Err(fault.clone()))),
                (Order::Change(_, reply), None) => drop(reply.send(Ok(()))),
                (Order::Change(_, reply), Some(fault)) => drop(reply.send(Err(fault.clone()))),
            }
        }
    }
}

/// Writes a batch; the answers to its `Accept`s, in order.
fn commit(connection: &mut Connection, batch: &[Order]) -> rusqlite::Result<Vec<Vec<Accepted>>> {
    let transaction = connection.transaction()?;
    let mut answers = Vec::new();
    for order in batch {
        match order {
            Order::Accept(events, _) => {
                answers.push(events.iter().map(|event| accept(&transaction, event)).collect::<Result<_, _>>()?);
            }
            Order::Change(changes, _) => changes.iter().try_for_each(|change| apply(&transaction, change))?,
        }
    }
    transaction.commit()?;
    Ok(answers)
}

fn accept(transaction: &Transaction<'_>, event: &New) -> rusqlite::Result<Accepted> {
    let state = if event.dead.is_some() { State::Dead } else { State::Waiting };
    let at = event.at.as_millisecond();
    let finished = event.dead.as_ref().map(|_| at);
    let fresh: Option<i64> = transaction
        .prepare_cached(
            "INSERT INTO event (id, service, kind, state, attempt, body, reason, accepted_at, finished_at)
             VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING RETURNING seq",
        )?
        .query_row(
            params![
                event.id.0,
                event.service,
                event.kind.number(),
                state.number(),
                event.body,
                event.dead,
                at,
                finished
            ],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(seq) = fresh {
        return Ok(Accepted { seq, id: event.id, service: event.service.clone(), fresh: true, state, attempt: 1 });
    }
    let sql = format!("SELECT {} FROM event WHERE id = ?1", record::COLUMNS);
    let known = transaction.prepare_cached(&sql)?.query_row([event.id.0], record::of)?;
    Ok(Accepted {
        seq: known.seq,
        id: event.id,
        service: known.service,
        fresh: false,
        state: known.state,
        attempt: known.attempt,
    })
}

fn apply(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| transaction.prepare_cached(sql)?.execute(values);
    match change {
        Change::Placed { seq, attempt, machine: Some(machine) } => run(
            "INSERT OR REPLACE INTO place (seq, attempt, machine) VALUES (?1, ?2, ?3)",
            params![seq, attempt, machine],
        ),
        Change::Placed { seq, attempt, machine: None } => {
            run("DELETE FROM place WHERE seq = ?1 AND attempt = ?2", params![seq, attempt])
        }
        // The Job may be over before this is written: what is later never becomes what is earlier.
        Change::Made { seq, attempt, at } => run(
            "UPDATE event SET state = 1, made_at = ?2, running_at = NULL
             WHERE seq = ?1 AND state = 0 AND attempt = ?3",
            params![seq, at.as_millisecond(), attempt],
        ),
        Change::Running { seq, attempt, at } => run(
            "UPDATE event SET running_at = ?2 WHERE seq = ?1 AND state IN (0, 1) AND attempt = ?3",
            params![seq, at.as_millisecond(), attempt],
        ),
        Change::Done { seq, at } => run(
            "UPDATE event SET state = 2, finished_at = ?2, body = NULL, reason = NULL, exit = NULL
             WHERE seq = ?1 AND state IN (0, 1)",
            params![seq, at.as_millisecond()],
        ),
        Change::Retry { seq, attempt, not_before, reason, exit } => run(
            "UPDATE event SET state = 0, attempt = ?2, not_before = ?3, reason = ?4, exit = ?5, made_at = NULL,
             running_at = NULL WHERE seq = ?1 AND state IN (0, 1)",
            params![seq, attempt, not_before.as_millisecond(), reason, exit],
        ),
        Change::Dead { seq, at, reason, exit } => run(
            "UPDATE event SET state = 3, finished_at = ?2, reason = ?3, exit = ?4 WHERE seq = ?1 AND state IN (0, 1)",
            params![seq, at.as_millisecond(), reason, exit],
        ),
        Change::Replay { seq, service, attempt } => run(
            "UPDATE event SET state = 0, service = ?2, attempt = ?3, not_before = NULL, finished_at = NULL,
             made_at = NULL, running_at = NULL WHERE seq = ?1 AND state = 3",
            params![seq, service, attempt],
        ),
        Change::Hide { service, seq, all } => run(
            "UPDATE event SET hidden = 1 WHERE service = ?1
             AND (seq = ?2 OR (?2 IS NULL AND (state = 2 OR (?3 AND state = 3))))",
            params![service, seq, all],
        ),
        Change::Purge { seq } => run("DELETE FROM event WHERE seq = ?1 AND state = 3", params![seq]),
        Change::Forget { before, most } => run(
            "DELETE FROM event WHERE seq IN
             (SELECT seq FROM event WHERE state = 2 AND finished_at < ?1 ORDER BY finished_at LIMIT ?2)",
            params![before.as_millisecond(), most],
        ),
    }
    .map(drop)
}
