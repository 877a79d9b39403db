//! The clock: the only place that reads the time. Everything that decides is handed the time instead.

use std::time::Instant;

use jiff::Timestamp;

/// The wall-clock time, cut to milliseconds: what the journal can write down exactly.
#[expect(clippy::disallowed_methods, reason = "the one reader of wall-clock time")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// A time that never goes back, for measuring how long something took.
#[expect(clippy::disallowed_methods, reason = "the one reader of monotonic time")]
pub fn monotonic() -> Instant {
    Instant::now()
}
