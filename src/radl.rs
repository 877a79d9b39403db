//! RADL: the language in which a cluster is described (IM's dialect). Reading never fails: it gives a tree
//! and everything that is wrong with the text.
//!
//! ```text
//! text -> lexer -> parser -> Document (syntax) -> check -> lower -> ClusterSpec
//!                                |-> print -> text
//! ```
//!
//! A second dialect (EC3's) will differ in three places: line feeds that end sentences (lexer), `contains`
//! and references as values (parser), and units of 1024 (unit). Its words are recognized, and refused by name.

use crate::diagnostic::render::{self, Located};
use crate::diagnostic::source::Sources;
use crate::diagnostic::{Diagnostic, Severity};
use crate::model::cluster::ClusterSpec;

mod check;
mod features;
mod lexer;
mod lower;
mod parser;
mod print;
mod report;
pub mod syntax;
mod unit;

pub use print::print;
use report::Report;
use syntax::Document;

/// What was read from some files, taken as one document.
#[derive(Debug)]
pub struct Loaded<'a> {
    /// The cluster, unless there is an error.
    pub spec: Option<ClusterSpec>,
    /// Everything that was found, by place.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts, in which the spans of the diagnostics stand.
    pub sources: Sources<'a>,
}

impl Loaded<'_> {
    /// Whether anything forbids going on.
    pub fn has_errors(&self) -> bool {
        self.spec.is_none() || self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// The findings as a person reads them; in colour when `styled`.
    pub fn human(&self, styled: bool) -> String {
        render::human(&self.sources, &self.diagnostics, styled)
    }

    /// The findings as a program reads them.
    pub fn located(&self) -> Vec<Located<'_>> {
        self.diagnostics.iter().map(|found| render::locate(&self.sources, found)).collect()
    }
}

/// Reads one text.
pub fn parse(text: &str) -> (Document<'_>, Vec<Diagnostic>) {
    let mut report = Report::default();
    let parsed = parser::parse_at(text, 0, &mut report);
    (Document { sentences: parsed.sentences, broken: parsed.broken }, report.finish())
}

/// How many bytes and tokens are looked at to read a text: it grows as the text does.
pub fn steps(text: &str) -> u64 {
    parser::parse_at(text, 0, &mut Report::default()).steps
}

/// Checks what a document says.
pub fn check(document: &Document<'_>) -> Vec<Diagnostic> {
    let mut report = Report::default();
    check::check(document, &mut report);
    report.finish()
}

/// Reports applications that no recipe stands for.
pub fn check_recipes(document: &Document<'_>, known: &dyn Fn(&str) -> bool) -> Vec<Diagnostic> {
    let mut report = Report::default();
    lower::check_recipes(document, known, &mut report);
    report.finish()
}

/// Makes the cluster of a checked document, named `file_stem` unless the document has a description.
pub fn lower(document: &Document<'_>, file_stem: &str) -> (Option<ClusterSpec>, Vec<Diagnostic>) {
    let mut report = Report::default();
    let spec = lower::lower(document, file_stem, &mut report);
    (spec, report.finish())
}

/// Reads files (path and text) as one document, in order, and makes its cluster.
pub fn load(files: &[(String, String)]) -> Loaded<'_> {
    load_with(files, &|_| true)
}

/// The same, where only `known` recipes may be named.
pub fn load_with<'a>(files: &'a [(String, String)], known: &dyn Fn(&str) -> bool) -> Loaded<'a> {
    let mut sources = Sources::default();
    let mut report = Report::default();
    let mut document = Document::default();
    for (path, text) in files {
        let base = sources.add(path, text);
        let parsed = parser::parse_at(text, base, &mut report);
        document.sentences.extend(parsed.sentences);
        document.broken |= parsed.broken;
    }
    check::check(&document, &mut report);
    lower::check_recipes(&document, known, &mut report);
    // In a document with errors, what seems to be missing may only be misspelled.
    let stem = files.first().map_or("cluster", |(path, _)| stem(path));
    let spec = if report.has_errors() { None } else { lower::lower(&document, stem, &mut report) };
    Loaded { spec, diagnostics: report.finish(), sources }
}

/// A path's last part without its ending.
fn stem(path: &str) -> &str {
    let last = path.rsplit('/').next().unwrap_or(path);
    last.rsplit_once('.').map_or(last, |(stem, _)| stem)
}
