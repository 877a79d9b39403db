//! RADL: the language in which a cluster is described, in the dialects of IM and of EC3. Reading never fails: it gives
//! a tree and everything that is wrong with the text.
//!
//! ```text
//! text -> lexer -> parser -> Document (syntax) -> check -> lower -> ClusterSpec
//!            (dialect)          |        ^
//!                               v        | IM's words
//!                            Content -> templates (EC3: merge, inherit, expand)
//!                               |-> JSON, IM's text
//! ```
//!
//! `legacy` reads a text as the old Python parsers do, for `--compat`.

use crate::diagnostic::Diagnostic;
use crate::model::cluster::ClusterSpec;

mod check;
mod content;
pub mod dialect;
mod features;
mod format;
mod json;
mod legacy;
mod lexer;
mod load;
mod lower;
mod parser;
mod print;
mod report;
pub mod syntax;
mod templates;
mod unit;
mod yaml;

use dialect::Dialect;
pub use format::format;
pub use load::{Beside, File, Input, Loaded, Origin, canonical, canonical_json, dialect_of, includes, load_as};
pub use print::print;
use report::Report;
use syntax::Document;

/// Reads one text of IM's dialect.
pub fn parse(text: &str) -> (Document<'_>, Vec<Diagnostic>) {
    parse_in(text, Dialect::Im)
}

/// Reads one text.
pub fn parse_in(text: &str, dialect: Dialect) -> (Document<'_>, Vec<Diagnostic>) {
    let mut report = Report::default();
    let parsed = parser::parse_at(text, 0, dialect, &mut report);
    (Document { sentences: parsed.sentences, broken: parsed.broken }, report.finish())
}

/// How many bytes and tokens are looked at to read a text: it grows as the text does.
pub fn steps(text: &str, dialect: Dialect) -> u64 {
    parser::parse_at(text, 0, dialect, &mut Report::default()).steps
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
pub fn load(files: &[File]) -> Loaded<'_> {
    load_with(files, &|_| true)
}

/// The same, where only `known` recipes may be named.
pub fn load_with<'a>(files: &'a [File], known: &dyn Fn(&str) -> bool) -> Loaded<'a> {
    load_as(&Input { files, ..Input::default() }, known)
}
