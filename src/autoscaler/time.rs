//! Time: the arithmetic of it that the core needs, which never overflows, and spans of it as people say them.

use jiff::{SignedDuration, Timestamp};

/// The time that a rate is counted over.
pub(super) const MINUTE_MS: i64 = 60_000;

/// The time `ms` milliseconds after `time`, or the last time there is.
pub(super) fn after(time: Timestamp, ms: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_millis(ms)).unwrap_or(Timestamp::MAX)
}

/// `base` doubled for each time after the first, up to `most`.
pub(super) fn doubled(base: i64, times: u32, most: i64) -> i64 {
    let factor = 1i64.checked_shl(times.saturating_sub(1).min(40)).unwrap_or(i64::MAX);
    base.saturating_mul(factor).min(most)
}

/// A span of time as people say it, from milliseconds.
pub(super) fn span(ms: i64) -> String {
    let seconds = ms.max(0).saturating_add(999) / 1000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How long until then.
pub(super) fn until(then: Timestamp, now: Timestamp) -> String {
    span(then.as_millisecond().saturating_sub(now.as_millisecond()))
}
