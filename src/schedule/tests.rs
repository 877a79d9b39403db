//! Windows by direct calls at their edges, and cron against another implementation of it.

use std::str::FromStr;

use super::*;

const MINUTE: i64 = 60_000;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn window(cron: &str, zone: &str, minutes: i64) -> Window {
    Window::parse(cron, zone, minutes * MINUTE).unwrap()
}

#[test]
fn a_window_opens_and_closes_to_the_moment() {
    let window = window("30 8 * * 1-5", "Europe/Madrid", 90);
    // A Monday in winter: Madrid is an hour ahead.
    for (now, active, change) in [
        ("2026-01-05T07:29:59.999Z", false, "2026-01-05T07:30:00Z"),
        ("2026-01-05T07:30:00Z", true, "2026-01-05T09:00:00Z"),
        ("2026-01-05T08:59:59.999Z", true, "2026-01-05T09:00:00Z"),
        ("2026-01-05T09:00:00Z", false, "2026-01-06T07:30:00Z"),
        // Friday's is over: Monday's is next.
        ("2026-01-09T12:00:00Z", false, "2026-01-12T07:30:00Z"),
        // In summer it opens an hour earlier by UTC.
        ("2026-07-06T06:30:00Z", true, "2026-07-06T08:00:00Z"),
    ] {
        assert_eq!(window.is_active(at(now)), active, "{now}");
        assert_eq!(window.next_change(at(now)), Some(at(change)), "{now}");
    }
}

#[test]
fn windows_that_touch_are_one() {
    let always = window("0 * * * *", "UTC", 60);
    let now = at("2026-03-01T10:20:00Z");
    assert!(always.is_active(now));
    assert!(always.next_change(now).unwrap() > at("2027-03-01T00:00:00Z"), "no change for a year");
    let overlapping = window("0,30 9 * * *", "UTC", 60);
    assert_eq!(overlapping.next_change(at("2026-03-01T09:10:00Z")), Some(at("2026-03-01T10:30:00Z")));
}

#[test]
fn a_day_that_never_comes() {
    let never = window("0 0 30 2 *", "UTC", 10);
    assert!(!never.is_active(at("2026-03-01T00:00:00Z")));
    assert_eq!(never.next_change(at("2026-03-01T00:00:00Z")), None);
}

#[test]
fn clear_errors() {
    for (cron, zone, duration, says) in [
        ("* * * *", "UTC", 60_000, "has 4 fields; write five"),
        ("0 * * * * *", "UTC", 60_000, "has 6 fields"),
        ("60 * * * *", "UTC", 60_000, "minute `60` has 60, which is not from 0 to 59"),
        ("* 24 * * *", "UTC", 60_000, "hour `24`"),
        ("* * 0 * *", "UTC", 60_000, "day of month `0`"),
        ("* * * 13 *", "UTC", 60_000, "month `13`"),
        ("* * * * 8", "UTC", 60_000, "day of week `8`"),
        ("* * * * mon-", "UTC", 60_000, "has `nothing`, which is not a number or a name"),
        ("5-1 * * * *", "UTC", 60_000, "ends before it begins"),
        ("*/0 * * * *", "UTC", 60_000, "has a step"),
        ("5/2 * * * *", "UTC", 60_000, "has a step but no range"),
        ("-5 * * * *", "UTC", 60_000, "minute `-5`"),
        ("a * * * *", "UTC", 60_000, "has `a`"),
        ("* * * * *", "Europe/Atlantis", 60_000, "no time zone `Europe/Atlantis`"),
        ("* * * * *", "UTC", 0, "not 0 ms"),
    ] {
        let error = Window::parse(cron, zone, duration).unwrap_err().to_string();
        assert!(error.contains(says), "`{cron}`: {error}");
    }
}

/// Every kind of field, in every kind of company, fires when croner says so.
#[test]
fn agrees_with_another_cron() {
    let minutes = ["0", "*/7", "1-50/13", "5,6,59"];
    let hours = ["*", "0", "22-23", "*/5"];
    let days = ["*", "1", "31", "10-20/3", "29,30"];
    let months = ["*", "2", "jan,JUN", "6-8"];
    let weekdays = ["*", "0", "7", "1-5", "sun", "Fri,Sat", "5-7", "1-6/2", "*/2"];
    let start: DateTime<Utc> = DateTime::from_timestamp(1_767_571_200, 0).unwrap();
    let mut compared = 0;
    let mut which = 0usize;
    for day in days {
        for month in months {
            for weekday in weekdays {
                which += 1;
                let text = format!("{} {} {day} {month} {weekday}", minutes[which % 4], hours[which / 4 % 4]);
                let oracle = croner::Cron::from_str(&text).unwrap();
                let window = window(&text, "UTC", 1);
                let mut now = start;
                for _ in 0..6 {
                    let expected = oracle.find_next_occurrence(&now, false).ok();
                    assert_eq!(window.next_opening(now), expected, "`{text}` after {now}");
                    let Some(next) = expected else { break };
                    now = next;
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 500, "{compared}");
}
