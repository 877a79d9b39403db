//! Legacy: a text read as the old Python parsers read it, letter for letter: what they drop is dropped, what they
//! refuse is refused at the same place. Nothing is explained here. `--compat` takes the document from here, and its
//! warnings from the parser proper, which has an error for whatever loses its meaning on this way.

mod grammar;
mod lexer;

use super::dialect::Dialect;
use super::syntax::Document;

/// Where the old parser stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The offset of the token that it cannot use, in the text.
    pub(super) at: usize,
}

/// Reads one text; `base` is its place in the common range of offsets.
pub(super) fn read(text: &str, base: usize, dialect: Dialect) -> Result<Document<'_>, Refusal> {
    // PyPI's RADL looks at this before its grammar, which has no empty document.
    if dialect == Dialect::Im && text.trim().is_empty() {
        return Ok(Document::default());
    }
    grammar::document(text, base, dialect)
}
