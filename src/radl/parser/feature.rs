//! Features: what stands in an aspect's parentheses, joined by `and`.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a parser names the tokens that it can use; every other is a finding"
)]

use super::Parser;
use crate::radl::dialect::Dialect;
use crate::radl::lexer::{Kind, Token};
use crate::radl::syntax::{AspectKind, Comparator, Feature, Name, Number, Reference, Text, Value};

/// Parentheses in parentheses beyond this are reported and passed over: no RADL needs more than three,
/// and the stack is not endless.
const DEEPEST: usize = 16;

impl<'a> Parser<'a, '_> {
    /// `( features )`.
    pub(super) fn parenthesis(&mut self) -> Vec<Feature<'a>> {
        self.features(0).0
    }

    /// Reads from `(` to its `)`. False when the `)` is missing, which was reported.
    fn features(&mut self, depth: usize) -> (Vec<Feature<'a>>, bool) {
        let open = self.bump();
        let mut features = Vec::new();
        if depth >= DEEPEST {
            let span = self.span_of(open);
            self.broken = true;
            self.report.error(
                "R0018",
                span,
                format!("parentheses stand more than {DEEPEST} deep"),
                "one too many",
                "no RADL needs that: is a `)` missing further up?",
            );
            return (features, self.pass_over());
        }
        let mut wants_more = None;
        // Something stood here, even if it could not be read.
        let mut any = false;
        loop {
            match self.token.kind {
                Kind::Close => {
                    if let Some(and) = wants_more {
                        self.dangling(and);
                    }
                    self.bump();
                    return (features, true);
                }
                Kind::And => {
                    let and = self.bump();
                    if !any || wants_more.is_some() {
                        self.dangling(and);
                    }
                    wants_more = Some(and);
                    continue;
                }
                Kind::End => {
                    self.unclosed(open);
                    return (features, false);
                }
                _ if self.at_sentence() => {
                    self.unclosed(open);
                    return (features, false);
                }
                _ => {}
            }
            if any && wants_more.is_none() {
                let seen = self.seen();
                let help = if self.token.kind == Kind::Comma {
                    "write `and` for the comma"
                } else {
                    "put `and` between two features"
                };
                self.fault(
                    "R0016",
                    format!("expected `and` or `)`, found {seen}"),
                    "features are joined by `and`",
                    help,
                );
                if self.token.kind == Kind::Comma {
                    self.bump();
                    wants_more = None;
                    if !matches!(self.token.kind, Kind::Word | Kind::Soft) {
                        continue;
                    }
                }
            }
            wants_more = None;
            any = true;
            let (feature, closed) = self.feature(depth);
            features.extend(feature);
            if !closed {
                return (features, false);
            }
        }
    }

    fn dangling(&mut self, and: Token) {
        let span = self.span_of(and);
        self.report.error(
            "R0017",
            span,
            "`and` joins two features",
            "one of them is missing",
            "take this `and` away, or write the feature that it should join",
        );
    }

    /// Passes over everything up to the `)` of a `(` that was read, without recursion.
    fn pass_over(&mut self) -> bool {
        let mut depth = 1_usize;
        loop {
            match self.token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth -= 1,
                Kind::End => return false,
                _ if self.at_sentence() => return false,
                _ => {}
            }
            self.bump();
            if depth == 0 {
                return true;
            }
        }
    }

    /// One feature; nothing when none can be made out. False when a `(` in it is never closed.
    fn feature(&mut self, depth: usize) -> (Option<Feature<'a>>, bool) {
        if self.token.kind == Kind::Soft {
            self.bump();
            let weight = if self.token.kind == Kind::Number {
                self.number()
            } else {
                let seen = self.seen();
                self.fault(
                    "R0032",
                    format!("expected the weight of `soft`, found {seen}"),
                    "not a number",
                    "write `soft 10 ( ... )`",
                );
                Number { digits: "0", unit: None, span: self.span_of(self.token) }
            };
            if self.token.kind != Kind::Open {
                self.no_open("soft 10");
                return (None, self.resync());
            }
            let (features, closed) = self.features(depth + 1);
            return (Some(Feature::Soft { weight, features }), closed);
        }
        let Some(name) = self.name("a feature") else { return (None, self.resync()) };
        if self.token.kind == Kind::Contains {
            return self.contains(name, depth);
        }
        let Some(comparator) = self.comparator(name) else { return (None, self.resync()) };
        let (value, start) = self.value(name, comparator);
        let span = self.lexer.span(start, self.previous_end.max(start));
        let whole = !matches!(value, Some(Value::Missing) | None);
        let feature = Feature::Constraint {
            name,
            comparator: comparator.unwrap_or(Comparator::Equal),
            value: value.unwrap_or(Value::Missing),
            span,
        };
        let fine = whole || self.resync();
        (Some(feature), fine)
    }

    fn contains(&mut self, name: Name<'a>, depth: usize) -> (Option<Feature<'a>>, bool) {
        self.bump();
        match self.token.kind {
            Kind::Open => {
                let (features, closed) = self.features(depth + 1);
                (Some(Feature::Contains { name, features }), closed)
            }
            _ if self.dialect == Dialect::Ec3 && self.contained() => {
                let comparator = Comparator::Contains;
                let (value, start) = self.value(name, Some(comparator));
                let span = self.lexer.span(start, self.previous_end.max(start));
                (value.map(|value| Feature::Constraint { name, comparator, value, span }), true)
            }
            Kind::Text => {
                self.fault(
                    "R0027",
                    "`contains 'text'` belongs to EC3's dialect of RADL",
                    "EC3 only",
                    format!(
                        "write a list, `{} = ['a', 'b']`, or `contains ( name = 'a' )`, or read the file with --dialect ec3",
                        name.text
                    ),
                );
                self.bump();
                (None, true)
            }
            _ => {
                self.no_open(&format!("{} contains", name.text));
                (None, self.resync())
            }
        }
    }

    /// Whether `contains` is followed by a value that EC3's dialect takes there: a text, or another aspect.
    fn contained(&self) -> bool {
        matches!(self.token.kind, Kind::Text | Kind::System) || self.class_here().is_some()
    }

    fn no_open(&mut self, before: &str) {
        let seen = self.seen();
        self.fault(
            "R0028",
            format!("expected `(`, found {seen}"),
            "features belong here",
            format!("write `{before} ( name = 'value' )`"),
        );
    }

    /// The comparator: `None` when there is none, `Some(None)` when it is one of another language.
    #[expect(clippy::option_option, reason = "both are faults, and only the first leaves the value unread")]
    pub(super) fn comparator(&mut self, name: Name<'a>) -> Option<Option<Comparator>> {
        let comparator = match self.token.kind {
            Kind::Equal => Comparator::Equal,
            Kind::Less => Comparator::Less,
            Kind::AtMost => Comparator::AtMost,
            Kind::Greater => Comparator::Greater,
            Kind::AtLeast => Comparator::AtLeast,
            Kind::Foreign => {
                let (code, help) = match self.slice(self.token.start, self.token.end) {
                    "==" => ("R0019", "write `=`"),
                    "=<" => ("R0019", "write `<=`"),
                    "=>" => ("R0019", "write `>=`"),
                    _ => ("R0003", "say what the value is: RADL can only narrow a property down, with = < <= > >="),
                };
                let seen = self.seen();
                self.fault(code, format!("{seen} is no comparator of RADL"), "not known here", help);
                self.bump();
                return Some(None);
            }
            _ => {
                let seen = self.seen();
                self.fault(
                    "R0014",
                    format!("expected a comparator after `{}`, found {seen}", name.text),
                    "no comparator",
                    "a feature is NAME = VALUE, with = < <= > >=, or NAME contains ( ... )",
                );
                return None;
            }
        };
        self.bump();
        Some(Some(comparator))
    }

    /// A value, and where it starts. Nothing when there is none.
    fn value(&mut self, name: Name<'a>, comparator: Option<Comparator>) -> (Option<Value<'a>>, usize) {
        let start = self.token.start;
        let value = match self.token.kind {
            Kind::Number => {
                let mut number = self.number();
                let unsigned = self.slice(start, start + 1) != "-";
                if self.token.kind == Kind::Word {
                    let unit = self.bump();
                    number.unit = Some(Name { text: self.slice(unit.start, unit.end), span: self.span_of(unit) });
                }
                if unsigned { Value::Number(number) } else { return (Some(self.lost()), start) }
            }
            Kind::Text => {
                let unfilled = self.slice(start, start + 1) == "@";
                let text = self.string();
                if unfilled {
                    return (Some(self.lost()), start);
                }
                if self.dialect == Dialect::Im && is_random(text) { Value::Random(text) } else { Value::Text(text) }
            }
            Kind::ListOpen if self.dialect == Dialect::Ec3 => {
                self.fault(
                    "R0078",
                    "a list belongs to IM's dialect of RADL",
                    "IM only",
                    format!(
                        "write `{0} contains 'a' and {0} contains 'b'`, or read the file with --dialect im",
                        name.text
                    ),
                );
                self.list();
                return (Some(Value::Missing), start);
            }
            Kind::ListOpen => self.list(),
            Kind::System | Kind::Word if self.dialect == Dialect::Ec3 && self.reference_here().is_some() => {
                let kind = self.reference_here().unwrap_or(AspectKind::System);
                self.bump();
                let Some(id) = self.name("an id") else { return (Some(self.lost()), start) };
                Value::Reference(Reference { kind, id })
            }
            Kind::System if self.dialect == Dialect::Im => {
                self.fault(
                    "R0027",
                    "a system as a value belongs to EC3's dialect of RADL",
                    "EC3 only",
                    "repeat the features of that system here, or read the file with --dialect ec3",
                );
                self.bump();
                if self.token.kind == Kind::Word {
                    self.bump();
                }
                return (Some(Value::Missing), start);
            }
            _ => {
                let seen = self.seen();
                let help = if self.token.kind == Kind::Word {
                    format!(
                        "a text stands between single quotes: {} = '{}'",
                        name.text,
                        self.slice(start, self.token.end)
                    )
                } else {
                    "a value is a number with or without a unit, a 'text', or a list of texts".to_owned()
                };
                self.fault("R0015", format!("expected a value for `{}`, found {seen}", name.text), "no value", help);
                return (None, start);
            }
        };
        if comparator.is_none() { (Some(Value::Missing), start) } else { (Some(value), start) }
    }

    /// The class of an aspect that stands here as a value.
    fn reference_here(&self) -> Option<AspectKind> {
        if self.token.kind == Kind::System { Some(AspectKind::System) } else { self.class_here() }
    }

    /// A value that was read, reported and is of no use.
    fn lost(&mut self) -> Value<'a> {
        self.broken = true;
        Value::Missing
    }

    fn list(&mut self) -> Value<'a> {
        let open = self.bump();
        let mut items = Vec::new();
        loop {
            match self.token.kind {
                Kind::Text => items.push(self.string()),
                Kind::ListClose if items.is_empty() => {
                    self.bump();
                    return Value::List(items);
                }
                _ => {
                    let seen = self.seen();
                    self.fault(
                        "R0020",
                        format!("expected a 'text', found {seen}"),
                        "a list holds texts",
                        "write ['a', 'b']",
                    );
                    self.leave_list();
                    return Value::Missing;
                }
            }
            if self.eat(Kind::ListClose) {
                return Value::List(items);
            }
            if !self.eat(Kind::Comma) {
                let seen = self.seen();
                let span = self.span_of(open);
                self.broken = true;
                self.report.error(
                    "R0020",
                    span,
                    "this list is never closed",
                    "opened here",
                    format!("put `]` or `,` before {seen}"),
                );
                self.leave_list();
                return Value::Missing;
            }
        }
    }

    fn leave_list(&mut self) {
        while matches!(self.token.kind, Kind::Text | Kind::Number | Kind::Comma | Kind::Word | Kind::ListOpen) {
            self.bump();
        }
        self.eat(Kind::ListClose);
    }

    /// Passes over the rest of a feature: up to `and` or the `)` of its list. False at the text's end or a sentence.
    fn resync(&mut self) -> bool {
        let mut depth = 0_usize;
        loop {
            match self.token.kind {
                Kind::And | Kind::Close if depth == 0 => return true,
                Kind::Close => depth -= 1,
                Kind::Open => depth += 1,
                // The caller's loop reports the `(` that is still open.
                Kind::End => return true,
                _ if self.at_sentence() => return true,
                _ => {}
            }
            self.bump();
        }
    }
}

/// `random(N)` and nothing else.
fn is_random(text: Text<'_>) -> bool {
    let digits = text.raw.strip_prefix("random(").and_then(|rest| rest.strip_suffix(')'));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}
