//! Rendering: how a diagnostic looks to a person (`FILE:LINE:COLUMN`, the line, a caret, the code, help)
//! and to a program (JSON).

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use super::source::{Place, Sources};
use super::{Diagnostic, Severity};

/// Longer lines are not shown: nobody reads them, and each would be copied for each finding in it.
const LONGEST_LINE: usize = 400;

/// A diagnostic with its place spelled out, as `--format json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Located<'a> {
    /// The file's path, as it was given.
    pub file: &'a str,
    /// Line of the first character, from 1.
    pub line: usize,
    /// Column of the first character, from 1, in characters.
    pub column: usize,
    /// Line of the end.
    pub end_line: usize,
    /// Column one past the last character.
    pub end_column: usize,
    /// The stable code.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong.
    pub message: &'a str,
    /// What to do.
    pub help: &'a str,
}

/// Spells out where a diagnostic is.
pub fn locate<'a>(sources: &Sources<'a>, diagnostic: &'a Diagnostic) -> Located<'a> {
    let place = sources.place(diagnostic.span);
    Located {
        file: place.map_or("", |p| p.file),
        line: place.map_or(1, |p| p.line),
        column: place.map_or(1, |p| p.column),
        end_line: place.map_or(1, |p| p.end_line),
        end_column: place.map_or(1, |p| p.end_column),
        code: diagnostic.code,
        severity: diagnostic.severity,
        message: &diagnostic.message,
        help: &diagnostic.help,
    }
}

/// Draws diagnostics for a person, in order; in colour when `styled`.
pub fn human(sources: &Sources<'_>, diagnostics: &[Diagnostic], styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        match sources.place(diagnostic.span) {
            Some(place) => draw(&mut out, &renderer, &place, diagnostic),
            None => brief(&mut out, None, diagnostic),
        }
        out.push('\n');
    }
    out
}

fn draw(out: &mut String, renderer: &Renderer, place: &Place<'_>, diagnostic: &Diagnostic) {
    // A span of many lines is shown by its first: a caret under a page helps nobody.
    let first_end = place
        .text
        .get(place.lines.start..)
        .and_then(|rest| rest.find('\n'))
        .map_or(place.text.len(), |at| place.lines.start + at);
    let line = place.text.get(place.lines.start..first_end).unwrap_or("");
    if line.len() > LONGEST_LINE {
        return brief(out, Some(place), diagnostic);
    }
    let start = place.span.start - place.lines.start;
    let end = place.span.end.min(first_end).saturating_sub(place.lines.start).max(start);
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let annotation = AnnotationKind::Primary.span(start..end).label(diagnostic.label.as_str());
    let snippet = Snippet::source(line).line_start(place.line).path(place.file).annotation(annotation);
    let report = [
        level.primary_title(diagnostic.message.as_str()).id(diagnostic.code).element(snippet),
        Group::with_title(Level::HELP.secondary_title(diagnostic.help.as_str())),
    ];
    out.push_str(&renderer.render(&report));
    out.push('\n');
}

/// The same without the line.
fn brief(out: &mut String, place: Option<&Place<'_>>, diagnostic: &Diagnostic) {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{severity}[{}]: {}", diagnostic.code, diagnostic.message);
    if let Some(place) = place {
        let _ = writeln!(out, "  --> {}:{}:{}", place.file, place.line, place.column);
    }
    let _ = writeln!(out, "help: {}", diagnostic.help);
}
