//! A report: the diagnostics found so far. It stops keeping them after a while, so that a megabyte of
//! rubbish costs no more memory than a page of it.

use crate::diagnostic::{Diagnostic, Severity, Span};

/// Findings beyond this many are counted, not kept.
const MOST: usize = 500;

/// Diagnostics in the order they were found.
#[derive(Debug, Default)]
pub(super) struct Report {
    found: Vec<Diagnostic>,
    dropped: usize,
    /// Nothing is kept: only the reading counts.
    silent: bool,
    /// What was dropped may be no errors: they were softened.
    softened: bool,
    /// Where the last dropped finding was.
    last: Option<Span>,
}

impl Report {
    /// One that keeps nothing.
    pub(super) fn silent() -> Self {
        Self { silent: true, ..Self::default() }
    }

    pub(super) fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        label: &str,
        help: impl Into<String>,
    ) {
        self.add(code, Severity::Error, span, message.into(), label, help.into());
    }

    pub(super) fn warning(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        label: &str,
        help: impl Into<String>,
    ) {
        self.add(code, Severity::Warning, span, message.into(), label, help.into());
    }

    fn add(&mut self, code: &'static str, severity: Severity, span: Span, message: String, label: &str, help: String) {
        if self.silent {
            return;
        }
        if self.found.len() >= MOST {
            self.dropped += 1;
            self.last = Some(span);
            return;
        }
        self.found.push(Diagnostic { code, severity, span, message, label: label.to_owned(), help });
    }

    /// How much was found so far.
    pub(super) fn mark(&self) -> usize {
        self.found.len()
    }

    /// Whether an error was found since a mark.
    pub(super) fn failed_since(&self, mark: usize) -> bool {
        self.found.get(mark..).unwrap_or(&[]).iter().any(|found| found.severity == Severity::Error)
    }

    /// Makes warnings of the errors found since a mark, of all codes or of some.
    pub(super) fn soften(&mut self, mark: usize, codes: Option<&[&str]>) {
        for found in self.found.iter_mut().skip(mark) {
            if codes.is_none_or(|codes| codes.contains(&found.code)) {
                found.severity = Severity::Warning;
            }
        }
        self.softened |= codes.is_none();
    }

    /// Nothing more is kept, so nothing need be explained well.
    pub(super) fn is_full(&self) -> bool {
        self.silent || self.found.len() >= MOST
    }

    pub(super) fn has_errors(&self) -> bool {
        (self.dropped > 0 && !self.softened) || self.found.iter().any(|found| found.severity == Severity::Error)
    }

    /// The diagnostics, by their place in the text.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|found| found.span);
        if self.dropped > 0 {
            self.found.push(Diagnostic {
                code: "R0033",
                severity: if self.softened { Severity::Warning } else { Severity::Error },
                span: self.last.unwrap_or(Span { start: 0, end: 0 }),
                message: format!("{} more findings are not shown", self.dropped),
                label: "the last of them".to_owned(),
                help: "mend those above and check again; is this file RADL at all?".to_owned(),
            });
        }
        self.found
    }
}

/// The candidate that `word` was probably meant to be.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let most = if word.len() < 5 { 1 } else { 2 };
    candidates
        .into_iter()
        .filter(|candidate| *candidate != word && candidate.len().abs_diff(word.len()) <= most && word.len() <= 64)
        .map(|candidate| (distance(word.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `; did you mean ...?`, or nothing.
pub(super) fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// Edits (one letter put in, left out, changed, or two swapped) from one word to another.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut before: Vec<usize> = vec![0; right.len() + 1];
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut best = (above[j] + usize::from(a != b)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = above;
        above = row;
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words() {
        assert_eq!(nearest("systen", ["system", "network"]), Some("system"));
        assert_eq!(nearest("ssytem", ["system"]), Some("system"), "two letters swapped are one edit");
        assert_eq!(nearest("deploys", ["system", "network"]), None);
        assert_eq!(nearest("system", ["system"]), None);
    }

    #[test]
    fn rubbish_is_counted_not_kept() {
        let mut report = Report::default();
        for at in 0..MOST + 7 {
            report.error("R0001", Span { start: at, end: at + 1 }, "", "", "");
        }
        let found = report.finish();
        assert_eq!(found.len(), MOST + 1);
        assert!(found.last().is_some_and(|last| last.message.starts_with("7 more")));
    }
}
