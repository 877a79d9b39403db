//! EC3's dialect, where a line feed ends a sentence and a class of aspects is a plain word.

use super::Parser;
use crate::radl::dialect::Dialect;
use crate::radl::lexer::Kind;
use crate::radl::syntax::{AspectKind, Body, Sentence};

impl Parser<'_, '_> {
    /// In EC3's dialect a sentence ends with its line.
    pub(super) fn line_end(&mut self) {
        if self.dialect == Dialect::Im
            || matches!(self.token.kind, Kind::LineEnd | Kind::End | Kind::Close | Kind::Open)
        {
            return;
        }
        // Whatever was passed over up to a line's start was reported.
        let before = self.slice(self.previous_end, self.token.start);
        if !before.contains('\n') {
            let seen = self.seen();
            self.fault(
                "R0077",
                format!("expected the end of the line, found {seen}"),
                "a sentence ends with its line",
                "in EC3's dialect each sentence begins on a line of its own",
            );
        }
    }

    /// Whether the sentence before this one has no parenthesis yet.
    pub(super) fn last_is_bare(&self) -> bool {
        match self.sentences.last() {
            Some(Sentence::Aspect(aspect)) => aspect.features.is_none(),
            Some(Sentence::Configure(configure)) => configure.body == Body::Absent,
            Some(Sentence::Contextualize(_) | Sentence::Deploy(_)) | None => false,
        }
    }

    /// A parenthesis on the line after its sentence.
    pub(super) fn next_line(&mut self) {
        self.fault(
            "R0077",
            "a `(` on a line of its own",
            "its sentence ended with the line before",
            "put it on the line of its sentence: in EC3's dialect a line feed ends a sentence",
        );
        match self.sentences.pop() {
            Some(Sentence::Aspect(aspect)) => self.aspect_of(aspect.kind, aspect.id),
            Some(Sentence::Configure(configure)) => self.configure_of(configure.id),
            other => self.sentences.extend(other),
        }
    }

    /// The class of an aspect that begins here, in EC3's dialect: a word, and another after it.
    pub(super) fn class_here(&self) -> Option<AspectKind> {
        if self.dialect == Dialect::Im || self.token.kind != Kind::Word {
            return None;
        }
        let kind = AspectKind::of_ec3(self.slice(self.token.start, self.token.end))?;
        let rest = self.slice(self.token.end, self.text.len()).trim_start_matches([' ', '\t']);
        let word = rest.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '.'));
        (word && !rest.starts_with("contains")).then_some(kind)
    }
}
