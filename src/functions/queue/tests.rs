//! The queue by direct calls, and by chance against what it promises.

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn ticket(seq: i64) -> Ticket {
    Ticket { seq, attempt: 1 }
}

fn started(queue: &mut Queue, now: Timestamp) -> Vec<(String, i64)> {
    std::iter::from_fn(|| queue.start(now)).map(|(service, ticket)| (service, ticket.seq)).collect()
}

#[test]
fn bounds_hold_per_service_and_in_all() {
    let mut queue = Queue::new(3);
    queue.limit("a", 2);
    queue.limit("b", 5);
    for seq in 0..10 {
        queue.accept("a", ticket(seq));
    }
    assert_eq!(started(&mut queue, at(0)).len(), 2, "the service's bound");
    for seq in 10..20 {
        queue.accept("b", ticket(seq));
    }
    assert_eq!(started(&mut queue, at(0)), [("b".to_owned(), 10)], "the bound of all");
    queue.release("a", 0);
    queue.release("a", 0);
    assert_eq!(started(&mut queue, at(0)).len(), 1, "releasing twice frees one place");
}

#[test]
fn a_flood_does_not_starve_another_service() {
    let mut queue = Queue::new(4);
    queue.limit("flood", 100);
    queue.limit("one", 100);
    (0..1000).for_each(|seq| queue.accept("flood", ticket(seq)));
    started(&mut queue, at(0));
    queue.accept("one", ticket(5000));
    queue.accept("one", ticket(5001));
    queue.release("flood", 0);
    queue.release("flood", 1);
    let next = started(&mut queue, at(0));
    assert_eq!(next, [("one".to_owned(), 5000), ("one".to_owned(), 5001)]);
}

#[test]
fn services_with_equally_many_take_turns() {
    let mut queue = Queue::new(1);
    for name in ["a", "b", "c"] {
        queue.limit(name, 1);
        (0..3).for_each(|n| queue.accept(name, ticket(n + i64::from(name.as_bytes()[0]) * 100)));
    }
    let mut order = String::new();
    while let Some((service, ticket)) = queue.start(at(0)) {
        order.push_str(&service);
        queue.release(&service, ticket.seq);
    }
    assert_eq!(order, "abcabcabc");
}

#[test]
fn a_pause_is_kept_and_told() {
    let mut queue = Queue::new(9);
    queue.limit("a", 9);
    queue.accept_later("a", Ticket { seq: 7, attempt: 2 }, at(30));
    assert_eq!(queue.next_wakeup(), Some(at(30)));
    assert_eq!(queue.start(at(29)), None);
    assert!(queue.depths()["a"].held.as_ref().unwrap().contains("pauses"));
    assert_eq!(queue.start(at(30)), Some(("a".to_owned(), Ticket { seq: 7, attempt: 2 })));
    queue.hold_all("the API server does not answer".to_owned(), at(60));
    queue.accept("a", ticket(8));
    assert_eq!((queue.start(at(59)), queue.next_wakeup()), (None, Some(at(60))));
    assert!(queue.start(at(60)).is_some());
}

#[test]
fn a_service_that_is_not_known_runs_nothing_and_a_closed_one_gives_back_all() {
    let mut queue = Queue::new(9);
    queue.accept("a", ticket(1));
    assert_eq!(queue.start(at(0)), None);
    queue.limit("a", 1);
    queue.accept_later("a", ticket(2), at(9));
    queue.accept("a", ticket(3));
    assert!(queue.start(at(0)).is_some());
    assert_eq!(queue.close("a"), [ticket(3), ticket(2)]);
    assert_eq!(queue.depths()["a"].in_flight, 1);
    queue.release("a", 1);
    assert_eq!(queue.start(at(99)), None);
}

#[test]
fn failures_are_tried_again_with_longer_pauses_and_then_are_dead() {
    let patience = Patience { attempts: 4, first: SignedDuration::from_secs(5), most: SignedDuration::from_secs(12) };
    let failed = |exit| Outcome::Failed { exit, reason: "exit".to_owned() };
    let pause = |attempt| match verdict(&failed(Some(1)), attempt, patience, at(0)) {
        Verdict::Retry { at, .. } => at.as_second(),
        other @ (Verdict::Done | Verdict::Dead { .. }) => panic!("{other:?}"),
    };
    assert_eq!([pause(1), pause(2), pause(3)], [5, 10, 12]);
    let dead = |outcome: &Outcome, attempt| matches!(verdict(outcome, attempt, patience, at(0)), Verdict::Dead { .. });
    assert!(dead(&failed(Some(1)), 4));
    assert!(dead(&failed(Some(66)), 1) && dead(&failed(Some(78)), 1), "what no attempt can mend");
    assert!(!dead(&failed(Some(74)), 1) && !dead(&Outcome::Vanished, 1));
    assert!(dead(&Outcome::Refused { reason: String::new() }, 1));
    assert_eq!(verdict(&Outcome::Succeeded, 9, patience, at(0)), Verdict::Done);
}

proptest! {
    /// Whatever happens, each event is in one place, bounds hold, and all are started in the end.
    #[test]
    fn nothing_is_lost_or_doubled(deeds in proptest::collection::vec((0..4_u8, 0..3_usize, 0..40_i64), 0..300)) {
        let names = ["a", "b", "c"];
        let mut queue = Queue::new(5);
        names.iter().enumerate().for_each(|(n, name)| queue.limit(name, n + 1));
        let (mut made, mut running, mut done, mut now) = (0_i64, Vec::new(), 0_i64, 0);
        for (deed, service, number) in deeds {
            match deed {
                0 => { queue.accept(names[service], ticket(made)); made += 1; }
                1 => { queue.accept_later(names[service], ticket(made), at(now + number)); made += 1; }
                2 => now += number,
                _ => if !running.is_empty() {
                    let (service, ticket): (String, Ticket) = running.swap_remove(usize::try_from(number).unwrap() % running.len());
                    queue.release(&service, ticket.seq);
                    done += 1;
                }
            }
            running.extend(std::iter::from_fn(|| queue.start(at(now))));
            prop_assert!(running.len() <= 5);
            for (n, name) in names.iter().enumerate() {
                prop_assert!(running.iter().filter(|(s, _)| s == name).count() <= n + 1);
            }
            let waiting: usize = queue.depths().values().map(|d| d.waiting).sum();
            prop_assert_eq!(i64::try_from(waiting + running.len()).unwrap() + done, made);
        }
        while !running.is_empty() || queue.depths().values().any(|d| d.waiting > 0) {
            running.drain(..).for_each(|(service, ticket)| { queue.release(&service, ticket.seq); done += 1; });
            now += 100;
            running.extend(std::iter::from_fn(|| queue.start(at(now))));
        }
        prop_assert_eq!(done, made);
    }
}
