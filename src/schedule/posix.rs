//! POSIX cron fields, read by our own rules and handed to the `cron` crate as plain lists that it cannot
//! read otherwise: numbers for most fields, names for weekdays.

use std::str::FromStr;

use super::WindowError;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One field's rules.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, names: &[] },
    Field { name: "hour", low: 0, high: 23, names: &[] },
    Field { name: "day of month", low: 1, high: 31, names: &[] },
    Field { name: "month", low: 1, high: 12, names: &MONTHS },
    Field { name: "day of week", low: 0, high: 7, names: &DAYS },
];

/// The schedules that a POSIX cron text means; it fires when any of them does.
pub(super) fn schedules(text: &str) -> Result<Vec<cron::Schedule>, WindowError> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts[..] else {
        return Err(WindowError::Fields { text: text.to_owned(), found: parts.len() });
    };
    let read = |index: usize, part: &str| {
        let field = &FIELDS[index];
        values(field, part).map_err(|(part, reason)| WindowError::Field {
            text: text.to_owned(),
            field: field.name,
            part,
            reason,
        })
    };
    let (minutes, hours, months) = (numbers(&read(0, minute)?), numbers(&read(1, hour)?), numbers(&read(3, month)?));
    let days = numbers(&read(2, day)?);
    let mut numbers_of_week: Vec<u32> = read(4, weekday)?.iter().map(|number| number % 7).collect();
    numbers_of_week.sort_unstable();
    numbers_of_week.dedup();
    let weekdays: Vec<&str> = numbers_of_week.iter().filter_map(|number| DAYS.get(*number as usize).copied()).collect();
    let weekdays = weekdays.join(",");
    // POSIX: a field that is a star leaves the choice to the other one; two set fields mean either.
    let lines = if day == "*" || weekday == "*" {
        vec![format!("0 {minutes} {hours} {days} {months} {weekdays}")]
    } else {
        vec![format!("0 {minutes} {hours} {days} {months} *"), format!("0 {minutes} {hours} * {months} {weekdays}")]
    };
    lines
        .iter()
        .map(|line| {
            cron::Schedule::from_str(line).map_err(|error| WindowError::Field {
                text: text.to_owned(),
                field: "the whole",
                part: line.clone(),
                reason: error.to_string(),
            })
        })
        .collect()
}

fn numbers(values: &[u32]) -> String {
    values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// The numbers that a field means, in order; or the part that is wrong and why.
fn values(field: &Field, text: &str) -> Result<Vec<u32>, (String, String)> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let wrong = |reason: String| (part.to_owned(), reason);
        let (range, step) = match part.split_once('/') {
            None => (part, None),
            Some((range, step)) => match step.parse::<u32>() {
                Ok(step) if step > 0 && step <= field.high => (range, Some(step)),
                _ => return Err(wrong(format!("has a step that is not from 1 to {}", field.high))),
            },
        };
        let (first, last) = if range == "*" {
            // A whole week is 0 to 6: a step must not count Sunday twice.
            (field.low, if field.names.len() == 7 { 6 } else { field.high })
        } else if let Some((first, last)) = range.split_once('-') {
            let (first, last) = (number(field, first).map_err(wrong)?, number(field, last).map_err(wrong)?);
            // `fri-sun`: as the end of a range, Sunday is the seventh day.
            (first, if field.high == 7 && last == 0 && first > 0 { 7 } else { last })
        } else {
            let only = number(field, range).map_err(wrong)?;
            if step.is_some() {
                return Err(wrong("has a step but no range; write `*/STEP` or `FROM-TO/STEP`".to_owned()));
            }
            (only, only)
        };
        if first > last {
            return Err(wrong("is a range that ends before it begins".to_owned()));
        }
        all.extend((first..=last).step_by(step.unwrap_or(1) as usize));
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn number(field: &Field, text: &str) -> Result<u32, String> {
    if let Some(index) = field.names.iter().position(|name| text.eq_ignore_ascii_case(name)) {
        return Ok(u32::try_from(index).unwrap_or_default() + u32::from(field.low == 1));
    }
    let shown = if text.is_empty() { "nothing" } else { text };
    let value: u32 =
        if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }.ok_or_else(|| {
            format!("has `{shown}`, which is not a number{}", if field.names.is_empty() { "" } else { " or a name" })
        })?;
    if value < field.low || value > field.high {
        return Err(format!("has {value}, which is not from {} to {}", field.low, field.high));
    }
    Ok(value)
}
