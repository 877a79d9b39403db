//! Numbers as the old parsers hold them: whole ones exactly, others as floating point, and units of their dialect.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::radl::dialect::Dialect;

/// A number.
#[derive(Debug, Clone, Copy)]
pub(in crate::radl) enum Num {
    Whole(i128),
    Float(f64),
}

impl PartialEq for Num {
    fn eq(&self, other: &Self) -> bool {
        self.compare(*other) == Ordering::Equal
    }
}

impl Eq for Num {}

impl Num {
    /// The number that digits say; one with a point is no whole one.
    pub(in crate::radl) fn of(digits: &str) -> Self {
        match digits.parse() {
            Ok(whole) if !digits.contains('.') => Self::Whole(whole),
            _ => Self::Float(digits.parse().unwrap_or(f64::INFINITY)),
        }
    }

    pub(in crate::radl) fn or_zero(digits: Option<&str>) -> Self {
        digits.map_or(Self::Whole(0), Self::of)
    }

    #[expect(clippy::cast_precision_loss, reason = "as the old parsers do")]
    pub(in crate::radl) fn float(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Float(float) => float,
        }
    }

    pub(in crate::radl) fn is_zero(self) -> bool {
        self.compare(Self::Whole(0)) == Ordering::Equal
    }

    fn times(self, factor: i128) -> Self {
        match self {
            Self::Whole(whole) => whole.checked_mul(factor).map_or(Self::Float(f64::INFINITY), Self::Whole),
            #[expect(clippy::cast_precision_loss, reason = "powers of two and ten below 2^53")]
            Self::Float(float) => Self::Float(float * factor as f64),
        }
    }

    pub(in crate::radl) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => left.cmp(&right),
            _ => self.float().total_cmp(&other.float()),
        }
    }

    pub(in crate::radl) fn json(self) -> serde_json::Value {
        match self {
            Self::Whole(whole) => match (u64::try_from(whole), i64::try_from(whole)) {
                (Ok(whole), _) => whole.into(),
                (_, Ok(whole)) => whole.into(),
                _ => self.float().into(),
            },
            Self::Float(float) => float.into(),
        }
    }

    /// As Python prints it.
    pub(in crate::radl) fn show(self) -> String {
        match self {
            Self::Whole(whole) => whole.to_string(),
            Self::Float(float) => format!("{float:?}"),
        }
    }
}

/// A number with its unit, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::radl) struct Amount<'a> {
    pub(in crate::radl) digits: Cow<'a, str>,
    /// Empty when there is none.
    pub(in crate::radl) unit: Cow<'a, str>,
}

impl Amount<'_> {
    /// What it amounts to; nothing when its unit is none of EC3's.
    pub(in crate::radl) fn value(&self, dialect: Dialect) -> Option<Num> {
        if self.unit.is_empty() {
            return Some(self.number());
        }
        Some(self.number().times(factor(&self.unit, dialect)?))
    }

    pub(in crate::radl) fn number(&self) -> Num {
        Num::of(&self.digits)
    }
}

/// What a unit multiplies by. In IM's dialect a unit that nobody knows counts as one.
fn factor(unit: &str, dialect: Dialect) -> Option<i128> {
    let upper = unit.to_uppercase();
    if dialect == Dialect::Im {
        return Some(match upper.strip_suffix('B').unwrap_or(&upper) {
            "K" => 1000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "KI" => 1 << 10,
            "MI" => 1 << 20,
            "GI" => 1 << 30,
            "TI" => 1 << 40,
            _ => 1,
        });
    }
    if ["ECU", "GCEU", "HRZ"].contains(&upper.as_str()) {
        return Some(1);
    }
    match upper.chars().next() {
        Some('K') => Some(1 << 10),
        Some('M') => Some(1 << 20),
        Some('G') => Some(1 << 30),
        _ => None,
    }
}
