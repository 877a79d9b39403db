//! The store against a real file.

use super::*;

fn new(id: u8, body: &str) -> New {
    let at = Timestamp::from_second(100).unwrap();
    New { id: EventId([id; 16]), service: "f".to_owned(), kind: Kind::Job, body: body.into(), at, dead: None }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn open(store: &Store) -> Vec<(i64, State, u32)> {
    let mut found = Vec::new();
    store.each_open(|record| found.push((record.seq, record.state, record.attempt))).unwrap();
    found
}

#[tokio::test]
async fn an_event_is_written_once_and_found_again_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let first = store.accept(vec![new(1, "a"), new(2, "b"), new(1, "again")]).await.unwrap();
    assert_eq!(first.iter().map(|a| (a.seq, a.fresh)).collect::<Vec<_>>(), [(1, true), (2, true), (1, false)]);
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert!(!store.accept(vec![new(2, "b")]).await.unwrap()[0].fresh);
    assert_eq!(open(&store), [(1, State::Waiting, 1), (2, State::Waiting, 1)]);
    assert_eq!(store.take(1).unwrap().unwrap().1, b"a");
}

#[tokio::test]
async fn a_life_goes_forward_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.accept(vec![new(1, "a")]).await.unwrap();
    store
        .change(vec![Change::Done { seq: 1, at: at(9) }, Change::Made { seq: 1, attempt: 1, at: at(8) }])
        .await
        .unwrap();
    let (record, body) = store.take(1).unwrap().unwrap();
    assert_eq!((record.state, body.len()), (State::Done, 0), "a late `Made` changes nothing");
    let late = Change::Dead { seq: 1, at: at(10), reason: String::new(), exit: None };
    store.change(vec![late]).await.unwrap();
    assert_eq!(store.find(EventId([1; 16])).unwrap().unwrap().state, State::Done);
}

#[tokio::test]
async fn what_is_told_of_an_attempt_after_its_verdict_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.accept(vec![new(1, "a")]).await.unwrap();
    let retry = Change::Retry { seq: 1, attempt: 2, not_before: at(9), reason: String::new(), exit: None };
    store.change(vec![retry]).await.unwrap();
    let late = vec![Change::Made { seq: 1, attempt: 1, at: at(8) }, Change::Running { seq: 1, attempt: 1, at: at(8) }];
    store.change(late).await.unwrap();
    let record = store.find(EventId([1; 16])).unwrap().unwrap();
    assert_eq!((record.state, record.attempt, record.running_at), (State::Waiting, 2, None));
    store.change(vec![Change::Made { seq: 1, attempt: 2, at: at(10) }]).await.unwrap();
    assert_eq!(store.find(EventId([1; 16])).unwrap().unwrap().state, State::Running);
}

#[tokio::test]
async fn dead_letters_keep_their_text_and_can_be_tried_again_or_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.accept(vec![new(1, "a"), new(2, "b")]).await.unwrap();
    let dead = |seq| Change::Dead { seq, at: at(5), reason: "exit 3".to_owned(), exit: Some(3) };
    store.change(vec![dead(1), dead(2)]).await.unwrap();
    assert_eq!(store.list(None, Some(State::Dead), i64::MAX, 10).unwrap().len(), 2);
    let replay = Change::Replay { seq: 1, service: "g".to_owned(), attempt: 2 };
    store.change(vec![replay, Change::Purge { seq: 2 }]).await.unwrap();
    let (record, body) = store.take(1).unwrap().unwrap();
    assert_eq!((record.service.as_str(), record.attempt, body.as_slice()), ("g", 2, b"a".as_slice()));
    assert_eq!(open(&store), [(1, State::Waiting, 2)]);
    assert_eq!(store.take(2).unwrap(), None);
    store.change(vec![Change::Done { seq: 1, at: at(5) }, Change::Forget { before: at(6), most: 9 }]).await.unwrap();
    assert_eq!(store.take(1).unwrap(), None);
    assert_eq!(store.accept(vec![new(3, "c")]).await.unwrap()[0].seq, 3, "a number is never used again");
}

#[tokio::test]
async fn many_callers_share_a_flush_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let tasks: Vec<_> = (0..200_u8)
        .map(|n| {
            tokio::spawn({
                let store = store.clone();
                async move { store.accept(vec![new(n, "x")]).await.unwrap() }
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap()[0].fresh);
    }
    assert_eq!(open(&store).len(), 200);
}
