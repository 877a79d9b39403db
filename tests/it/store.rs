//! The store: what is appended is there after any end, replays to the same bytes, and a full disk is told.

use std::process::Command;

use jiff::Timestamp;
use marea::autoscaler::{Action, Event, What};
use marea::store::StoreError;
use marea::store::journal::{Journal, LINES_PER_SNAPSHOT, Line};
use serde::{Deserialize, Serialize};

/// A core of a few lines that stands in for the real one: it counts, and orders something on every event.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Count {
    events: u64,
    last: Option<Timestamp>,
    /// What makes it large.
    ballast: String,
}

fn step(count: &mut Count, now: Timestamp, event: Event) -> Vec<Action> {
    count.events += 1;
    count.last = Some(now);
    let machine = match event {
        Event::NodeGone { name } => name,
        other => panic!("not used here: {other:?}"),
    };
    vec![Action { id: count.events, machine, what: What::Observe, reason: "test".to_owned() }]
}

fn lines(count: &mut Count, from: i64, to: i64) -> Vec<Line> {
    (from..to)
        .map(|index| {
            let at = Timestamp::from_millisecond(index).unwrap();
            let event = Event::NodeGone { name: format!("wn-{index}") };
            let actions = step(count, at, event.clone());
            Line { at, event, actions }
        })
        .collect()
}

#[test]
fn what_was_appended_replays_to_the_same_state() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = Count::default();
    let mut journal = Journal::open(directory.path()).unwrap();
    for batch in 0..30 {
        let batch = lines(&mut count, batch * 7, batch * 7 + 7);
        journal.append(&batch, &count).unwrap();
    }
    drop(journal);
    let replayed = Journal::open(directory.path()).unwrap().replay::<Count>(step).unwrap();
    assert_eq!((replayed.state, replayed.lines, replayed.parted), (count, 210, None));
}

#[test]
fn a_snapshot_shortens_the_replay_and_old_lines_go() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = Count::default();
    let mut journal = Journal::open(directory.path()).unwrap();
    let most = i64::try_from(LINES_PER_SNAPSHOT).unwrap();
    let mut at = 0;
    for _ in 0..3 {
        assert!(!journal.wants_snapshot());
        let batch = lines(&mut count, at, at + most);
        at += most;
        journal.append(&batch, &count).unwrap();
        assert!(journal.wants_snapshot());
        journal.snapshot(&count).unwrap();
    }
    let batch = lines(&mut count, at, at + 3);
    journal.append(&batch, &count).unwrap();
    drop(journal);
    let replayed = Journal::open(directory.path()).unwrap().replay::<Count>(step).unwrap();
    assert_eq!((replayed.state, replayed.lines), (count, 3));
    let rows: i64 = rusqlite::Connection::open(directory.path().join("journal.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM line", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, most + 3, "one snapshot's lines are kept for the curious");
    let journal = Journal::open(directory.path()).unwrap();
    let checked = journal.verify::<Count>(step).unwrap();
    assert_eq!((checked.lines, checked.snapshots, checked.parted), (LINES_PER_SNAPSHOT + 3, 1, None));
    let other = |count: &mut Count, now: Timestamp, event: Event| {
        let actions = step(count, now, event);
        // Decides the same and remembers something else: only the states differ.
        count.last = None;
        actions
    };
    assert!(journal.verify::<Count>(other).unwrap().parted.is_some());
}

#[test]
fn a_large_state_is_hashed_the_more_seldom() {
    let hashes = |ballast: usize| {
        let directory = tempfile::tempdir().unwrap();
        let mut count = Count { ballast: "x".repeat(ballast), ..Count::default() };
        let mut journal = Journal::open(directory.path()).unwrap();
        for batch in 0..9 {
            let batch = lines(&mut count, batch * 64, batch * 64 + 64);
            journal.append(&batch, &count).unwrap();
        }
        let database = rusqlite::Connection::open(directory.path().join("journal.db")).unwrap();
        let with = "SELECT count(*) FROM line WHERE state_hash IS NOT NULL";
        database.query_row(with, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(hashes(0), 9, "each 64 lines");
    // The first shows how large it is; then each 256 lines, for it has 256 times 16 KiB.
    assert_eq!(hashes(4 << 20), 3);
}

#[test]
fn a_line_that_was_changed_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = Count::default();
    let mut journal = Journal::open(directory.path()).unwrap();
    let batch = lines(&mut count, 0, 10);
    journal.append(&batch, &count).unwrap();
    drop(journal);
    let database = rusqlite::Connection::open(directory.path().join("journal.db")).unwrap();
    database.execute("UPDATE line SET event = replace(event, 'wn-4', 'wn-x') WHERE seq = 5", []).unwrap();
    let replayed = Journal::open(directory.path()).unwrap().replay::<Count>(step).unwrap();
    assert_eq!(replayed.parted, Some(5));
    database.execute("UPDATE line SET event = '{' WHERE seq = 7", []).unwrap();
    let error = Journal::open(directory.path()).unwrap().replay::<Count>(step).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { seq: 7, .. }), "{error}");
}

/// The full disk is FAKE: SQLite is told that its file may not grow, which is the same error.
#[test]
fn a_full_disk_refuses_the_whole_batch_and_what_was_there_stays() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = Count::default();
    let mut journal = Journal::open(directory.path()).unwrap();
    let batch = lines(&mut count, 0, 10);
    journal.append(&batch, &count).unwrap();
    let before = count.clone();
    journal.fake_full_disk(Some(0)).unwrap();
    let batch = lines(&mut count, 10, 3000);
    let error = journal.append(&batch, &count).unwrap_err();
    assert!(error.to_string().contains("full"), "{error}");
    assert!(journal.probe(Timestamp::UNIX_EPOCH).is_err());
    assert_eq!(journal.replay::<Count>(step).unwrap().state, before);

    journal.fake_full_disk(None).unwrap();
    journal.probe(Timestamp::UNIX_EPOCH).unwrap();
    journal.append(&batch, &count).unwrap();
    assert_eq!(journal.replay::<Count>(step).unwrap().state, count);
}

/// Run by the test below in a process of its own: appends for ever and says how far it came.
#[test]
fn writer() {
    use std::io::Write as _;
    let Ok(directory) = std::env::var("MAREA_TEST_JOURNAL") else { return };
    let mut journal = Journal::open(directory.as_ref()).unwrap();
    let mut count = journal.replay::<Count>(step).unwrap().state;
    for index in 0.. {
        let batch = lines(&mut count, index * 3, index * 3 + 3);
        journal.append(&batch, &count).unwrap();
        if index % 50 == 49 {
            journal.snapshot(&count).unwrap();
        }
        writeln!(std::io::stderr(), "events {}", count.events).unwrap();
    }
}

#[test]
fn every_line_that_was_reported_survives_kill_9() {
    use std::io::BufRead as _;
    let directory = tempfile::tempdir().unwrap();
    let mut reported = 0;
    for round in 1..=4_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::writer", "--nocapture"])
            .env("MAREA_TEST_JOURNAL", directory.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        // Another number of batches each round, so that the kill falls elsewhere.
        for line in output.by_ref().map_while(Result::ok).filter(|line| line.starts_with("events")).take(40 * round + 7)
        {
            reported = line.trim_start_matches("events ").parse().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let journal = Journal::open(directory.path()).unwrap();
        let replayed = journal.replay::<Count>(step).unwrap();
        assert_eq!(replayed.parted, None);
        assert!(replayed.state.events >= reported, "{} of {reported}", replayed.state.events);
        assert_eq!(replayed.state.events % 3, 0, "a batch is there as a whole or not at all");
    }
    assert!(reported > 0);
}
