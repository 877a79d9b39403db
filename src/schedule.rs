//! A schedule: windows of time that open by POSIX cron and stay open for a while. The only user of the
//! `cron` crate, whose weekdays are Quartz's and which knows no OR of the two day fields: both are put
//! right here.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use jiff::Timestamp;

mod posix;

/// A window of time that opens again and again.
#[derive(Debug, Clone)]
pub struct Window {
    /// Opens when any of these fires: two when both day fields are set, since POSIX then takes either.
    opens: Vec<cron::Schedule>,
    zone: Tz,
    duration: TimeDelta,
}

/// What is wrong with a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not five fields.
    #[error("cron `{text}` has {found} fields; write five: minute hour day-of-month month day-of-week")]
    Fields {
        /// What was written.
        text: String,
        /// How many fields it has.
        found: usize,
    },
    /// A field is wrong.
    #[error("cron `{text}`: {field} `{part}` {reason}")]
    Field {
        /// What was written.
        text: String,
        /// Which field.
        field: &'static str,
        /// The part of it that is wrong.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such time zone.
    #[error("there is no time zone `{0}`; write a name such as `Europe/Madrid` or `UTC`")]
    Zone(String),
    /// It is open for no time at all, or for too long.
    #[error("a window must be open for at least a second and at most 366 days, not {0} ms")]
    Duration(i64),
}

impl Window {
    /// Reads five fields of POSIX cron (`*`, lists, ranges, steps, names of months and weekdays, 0 and 7 for
    /// Sunday), a time zone by name, and how long the window stays open.
    pub fn parse(cron: &str, timezone: &str, duration_ms: i64) -> Result<Self, WindowError> {
        let opens = posix::schedules(cron)?;
        let zone = timezone.parse().map_err(|_| WindowError::Zone(timezone.to_owned()))?;
        if !(1_000..=366 * 86_400_000).contains(&duration_ms) {
            return Err(WindowError::Duration(duration_ms));
        }
        Ok(Self { opens, zone, duration: TimeDelta::milliseconds(duration_ms) })
    }

    /// True when the window is open: it opened at most its duration ago.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.opened(now).is_some()
    }

    /// When `is_active` next changes, or `None` when it never does (a 30th of February).
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let Some(mut opened) = self.opened(now) else {
            return self.next_opening(to_chrono(now)?).and_then(to_jiff);
        };
        // It closes once no later opening has prolonged it; one that always does is open for good, which
        // a year of openings is proof enough of.
        let horizon = opened.checked_add_signed(TimeDelta::days(400))?;
        while let Some(next) = self.next_opening(opened) {
            if next > opened + self.duration {
                break;
            }
            if next > horizon {
                return to_jiff(next);
            }
            opened = next;
        }
        to_jiff(opened + self.duration)
    }

    /// The latest opening that the window is still open from.
    fn opened(&self, now: Timestamp) -> Option<DateTime<Utc>> {
        let now = to_chrono(now)?;
        let mut opening = self.next_opening(now.checked_sub_signed(self.duration)?)?;
        if opening > now {
            return None;
        }
        // Any opening will do for the answer; for the closing time the search goes on from it.
        if let Some(later) = self.next_opening(opening).filter(|later| *later <= now) {
            opening = later;
        }
        Some(opening)
    }

    /// The first opening after `from`.
    fn next_opening(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let from = from.with_timezone(&self.zone);
        self.opens.iter().filter_map(|opens| opens.after(&from).next()).map(|at| at.with_timezone(&Utc)).min()
    }
}

fn to_chrono(time: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(time.as_millisecond())
}

fn to_jiff(time: DateTime<Utc>) -> Option<Timestamp> {
    Timestamp::from_millisecond(time.timestamp_millis()).ok()
}

/// The time zone where none is said.
pub(crate) fn utc() -> String {
    "UTC".to_owned()
}

#[cfg(test)]
mod tests;
