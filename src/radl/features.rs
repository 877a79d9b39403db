//! Features put together: what an aspect says of each property once all of its constraints are taken at
//! the same time. Numbers narrow to a range, texts must agree, `contains` collects elements by name, and
//! `soft` is added where it does not contradict.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::report::Report;
use super::syntax::{Comparator, Feature, Name, Number, Text, Value};
use super::unit::{self, Fault, Nano, ONE};
use crate::diagnostic::Span;

/// What is known of one property.
#[derive(Debug, Clone)]
pub(super) enum Property<'a> {
    /// A number.
    Number(Range<'a>),
    /// A text, or `random(N)`.
    Text(Comparator, Text<'a>),
    /// A list of texts.
    List(Vec<Text<'a>>),
    /// Elements in the order of their first mention, with their names.
    Elements(Vec<(Text<'a>, Features<'a>)>),
}

/// The numbers that a property may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range<'a> {
    /// The least, and whether it is itself left out.
    pub(super) low: Option<(Nano, bool)>,
    /// The greatest, likewise.
    pub(super) high: Option<(Nano, bool)>,
    /// A number that was written for it.
    pub(super) written: Number<'a>,
}

impl Range<'_> {
    fn empty(&self) -> bool {
        match (self.low, self.high) {
            (Some((low, out_low)), Some((high, out_high))) => low > high || low == high && (out_low || out_high),
            _ => false,
        }
    }

    /// The number that is meant: the least that fits, else the greatest.
    pub(super) fn chosen(&self) -> Nano {
        match (self.low, self.high) {
            (Some((low, false)), _) => low,
            // More than a number: the next whole one.
            (Some((low, true)), _) => (low / ONE + 1) * ONE,
            (None, Some((high, false))) => high,
            (None, Some((high, true))) => (high.div_ceil(ONE).max(1) - 1) * ONE,
            (None, None) => 0,
        }
    }
}

/// What is known of all properties, and where each was last said.
#[derive(Debug, Clone, Default)]
pub(super) struct Features<'a> {
    pub(super) properties: BTreeMap<&'a str, (Property<'a>, Span)>,
}

impl<'a> Features<'a> {
    /// Puts features together, reporting what contradicts.
    pub(super) fn of(features: &[Feature<'a>], report: &mut Report) -> Self {
        let mut all = Self::default();
        let mut wishes = Vec::new();
        all.take(features, &mut wishes, report);
        // The most wished for first; among equals, the order of the text.
        wishes.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        for (_, wished) in wishes {
            let mut undo = Vec::new();
            if !all.wish(wished, &mut undo) {
                for (name, before) in undo.into_iter().rev() {
                    match before {
                        Some(before) => all.properties.insert(name, before),
                        None => all.properties.remove(name),
                    };
                }
            }
        }
        all
    }

    fn take<'f>(
        &mut self,
        features: &'f [Feature<'a>],
        wishes: &mut Vec<(Nano, &'f [Feature<'a>])>,
        report: &mut Report,
    ) {
        for feature in features {
            match feature {
                Feature::Constraint { name, comparator, value, span } => {
                    if let Some(property) = read(*name, *comparator, value, *span, report) {
                        self.add(*name, property, *span, Some(&mut *report));
                    }
                }
                Feature::Contains { name, features } => {
                    let inner = Self::of(features, report);
                    match inner.element_name() {
                        Some(key) => {
                            let element = Property::Elements(vec![(key, inner)]);
                            self.add(*name, element, name.span, Some(&mut *report));
                        }
                        None if features.iter().any(is_name) => {}
                        None => report.error(
                            "R0054",
                            name.span,
                            "what it contains has no name",
                            "one of its elements",
                            format!("write `{} contains ( name = '...' )`", name.text),
                        ),
                    }
                }
                Feature::Soft { weight, features } => {
                    if let Some(weight) = amount(weight, report) {
                        // What is wrong in itself is wrong although it is only wished for.
                        let mut nested = Vec::new();
                        Self::default().take(features, &mut nested, report);
                        wishes.push((weight, features));
                    }
                }
            }
        }
    }

    /// Adds a wish. False as soon as it contradicts; `undo` says what to put back.
    fn wish(&mut self, features: &[Feature<'a>], undo: &mut Vec<(&'a str, Option<(Property<'a>, Span)>)>) -> bool {
        let mut silent = Report::default();
        features.iter().all(|feature| {
            let (name, property, span) = match feature {
                Feature::Constraint { name, comparator, value, span } => {
                    (*name, read(*name, *comparator, value, *span, &mut silent), *span)
                }
                Feature::Contains { name, features } => {
                    let inner = Self::of(features, &mut silent);
                    (*name, inner.element_name().map(|key| Property::Elements(vec![(key, inner)])), name.span)
                }
                Feature::Soft { .. } => return true,
            };
            let Some(property) = property else { return false };
            undo.push((name.text, self.properties.get(name.text).cloned()));
            self.add(name, property, span, None)
        })
    }

    fn element_name(&self) -> Option<Text<'a>> {
        self.text("name").map(|(text, _)| text).filter(|text| !text.raw.is_empty())
    }

    /// Adds what is known of a property. False when it contradicts, which is reported.
    fn add(&mut self, name: Name<'a>, property: Property<'a>, span: Span, report: Option<&mut Report>) -> bool {
        let Some((known, known_span)) = self.properties.get_mut(name.text) else {
            self.properties.insert(name.text, (property, span));
            return true;
        };
        let (code, message, label, help) = match (&mut *known, property) {
            (Property::Number(before), Property::Number(now)) => {
                let both = Range {
                    low: later(before.low, now.low),
                    high: sooner(before.high, now.high),
                    written: now.written,
                };
                if !both.empty() {
                    *before = both;
                    return true;
                }
                let message = format!("no number fits all that is said of `{}`", name.text);
                (
                    "R0046",
                    message,
                    "leaves nothing of what was said before",
                    "take one of the constraints away, or let them overlap",
                )
            }
            (Property::Text(how, before), Property::Text(_, now)) => {
                if *how != Comparator::Equal {
                    return true;
                }
                if before.raw == now.raw {
                    if let Some(report) = report {
                        report.warning(
                            "R0049",
                            span,
                            format!("`{}` is said twice", name.text),
                            "the same again",
                            "take one of the two away",
                        );
                    }
                    return true;
                }
                let message = format!("`{}` is said to be '{}' and '{}'", name.text, short(before.raw), short(now.raw));
                ("R0047", message, "contradicts what was said before", "keep one of the two")
            }
            (Property::List(before), Property::List(now)) => {
                if before.iter().map(|text| text.raw).eq(now.iter().map(|text| text.raw)) {
                    return true;
                }
                let message = format!("`{}` has two lists", name.text);
                ("R0047", message, "contradicts what was said before", "write all of it in one list")
            }
            (Property::Elements(before), Property::Elements(now)) => {
                *known_span = span;
                return join(before, now, report);
            }
            (Property::Number(_) | Property::Text(..) | Property::List(_) | Property::Elements(_), _) => {
                let message = format!("`{}` is said to be of two kinds", name.text);
                (
                    "R0048",
                    message,
                    "another kind than before",
                    "a property is a number, a text, a list, or contains elements: choose one",
                )
            }
        };
        if let Some(report) = report {
            report.error(code, span, message, label, help);
        }
        false
    }

    /// A property that is a text, and where it was said.
    pub(super) fn text(&self, name: &str) -> Option<(Text<'a>, Comparator)> {
        match &self.properties.get(name)?.0 {
            Property::Text(comparator, text) => Some((*text, *comparator)),
            Property::Number(_) | Property::List(_) | Property::Elements(_) => None,
        }
    }

    /// A property that is a number, and where it was said.
    pub(super) fn number(&self, name: &str) -> Option<(Range<'a>, Span)> {
        match self.properties.get(name)? {
            (Property::Number(range), span) => Some((*range, *span)),
            (Property::Text(..) | Property::List(_) | Property::Elements(_), _) => None,
        }
    }

    /// The elements that a property contains.
    pub(super) fn elements(&self, name: &str) -> &[(Text<'a>, Self)] {
        match self.properties.get(name) {
            Some((Property::Elements(elements), _)) => elements,
            Some((Property::Number(_) | Property::Text(..) | Property::List(_), _)) | None => &[],
        }
    }

    /// A property as one text, for a recipe's parameter.
    pub(super) fn written(property: &Property<'a>) -> Option<Cow<'a, str>> {
        match property {
            Property::Text(_, text) => Some(text.meaning()),
            Property::Number(range) => {
                let Number { digits, unit, .. } = range.written;
                Some(unit.map_or(Cow::Borrowed(digits), |unit| Cow::Owned(format!("{digits}{}", unit.text))))
            }
            Property::List(items) => Some(Cow::Owned(items.iter().map(Text::meaning).collect::<Vec<_>>().join(","))),
            Property::Elements(_) => None,
        }
    }
}

fn is_name(feature: &Feature<'_>) -> bool {
    match feature {
        Feature::Constraint { name, value, .. } => {
            name.text == "name" && !matches!(value, Value::Text(text) if text.raw.is_empty())
        }
        Feature::Contains { .. } | Feature::Soft { .. } => false,
    }
}

/// Joins elements by their names.
fn join<'a>(
    before: &mut Vec<(Text<'a>, Features<'a>)>,
    now: Vec<(Text<'a>, Features<'a>)>,
    mut report: Option<&mut Report>,
) -> bool {
    let mut fine = true;
    for (key, features) in now {
        match before.iter_mut().find(|(known, _)| known.raw == key.raw) {
            None => before.push((key, features)),
            Some((_, known)) => {
                for (name, (property, span)) in features.properties {
                    if name != "name" {
                        fine &= known.add(Name { text: name, span }, property, span, report.as_deref_mut());
                    }
                }
            }
        }
    }
    fine
}

fn later(left: Option<(Nano, bool)>, right: Option<(Nano, bool)>) -> Option<(Nano, bool)> {
    left.max(right)
}

fn sooner(left: Option<(Nano, bool)>, right: Option<(Nano, bool)>) -> Option<(Nano, bool)> {
    match (left, right) {
        (Some((a, out_a)), Some((b, out_b))) if a == b => Some((a, out_a || out_b)),
        (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
        (one, other) => one.or(other),
    }
}

/// What a value says of its property; nothing when it is faulty, which is reported.
fn read<'a>(
    name: Name<'a>,
    comparator: Comparator,
    value: &Value<'a>,
    span: Span,
    report: &mut Report,
) -> Option<Property<'a>> {
    match value {
        Value::Number(number) => {
            let amount = amount(number, report)?;
            let (low, high) = match comparator {
                Comparator::Equal => (Some((amount, false)), Some((amount, false))),
                Comparator::Less => (None, Some((amount, true))),
                Comparator::AtMost => (None, Some((amount, false))),
                Comparator::Greater => (Some((amount, true)), None),
                Comparator::AtLeast => (Some((amount, false)), None),
                // EC3's, and gone before a document is checked.
                Comparator::Contains => return None,
            };
            Some(Property::Number(Range { low, high, written: *number }))
        }
        Value::Text(text) | Value::Random(text) => {
            if comparator != Comparator::Equal && !name.text.contains("version") {
                report.error(
                    "R0050",
                    span,
                    format!("texts have no order: `{}` can only be `=` to one", name.text),
                    "a text",
                    "write `=`, or a number; only versions may be compared as texts",
                );
                return None;
            }
            Some(Property::Text(comparator, *text))
        }
        Value::List(items) => {
            if comparator == Comparator::Equal {
                return Some(Property::List(items.clone()));
            }
            report.error(
                "R0050",
                span,
                format!("lists have no order: `{}` can only be `=` to one", name.text),
                "a list",
                "write `=`",
            );
            None
        }
        Value::Reference(_) | Value::Missing => None,
    }
}

/// What a number amounts to; nothing when it is faulty, which is reported.
pub(super) fn amount(number: &Number<'_>, report: &mut Report) -> Option<Nano> {
    match unit::amount(number) {
        Ok(amount) => Some(amount),
        Err(Fault::Range) => {
            report.error(
                "R0029",
                number.span,
                "this number is out of range",
                "too large, or too many decimals",
                "stay below 2^64, with nine decimals at most",
            );
            None
        }
        Err(Fault::Unit) => {
            let (text, span) = number.unit.map_or(("", number.span), |unit| (unit.text, unit.span));
            let exponent = text.len() > 1
                && text.starts_with(['e', 'E'])
                && text.bytes().skip(1).all(|byte| byte.is_ascii_digit());
            let help = if exponent {
                "write the number out: RADL has no exponents"
            } else if text.starts_with('.') {
                "a number has one point at most; a version is a text: '1.2.3'"
            } else {
                "units are B, K M G T (1000), Ki Mi Gi Ti (1024), each with or without a final B; a name is missing an `and` before it"
            };
            report.error("R0030", span, format!("`{}` is no unit", short(text)), "unknown unit", help);
            None
        }
    }
}

/// The start of a text, for a message.
pub(super) fn short(text: &str) -> String {
    if text.chars().nth(40).is_none() && !text.contains('\n') {
        return text.to_owned();
    }
    let start: String = text.lines().next().unwrap_or("").chars().take(40).collect();
    format!("{start}...")
}
