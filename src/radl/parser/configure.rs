//! `configure`: a recipe between `@begin` and `@end`, kept letter for letter.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a parser names the tokens that it can use; every other is a finding"
)]

use super::Parser;
use crate::radl::dialect::Dialect;
use crate::radl::lexer::Kind;
use crate::radl::syntax::{Body, Configure, Name, Sentence};

impl<'a> Parser<'a, '_> {
    pub(super) fn configure(&mut self) {
        self.bump();
        let Some(id) = self.name("an id") else { return };
        self.configure_of(id);
    }

    pub(super) fn configure_of(&mut self, id: Name<'a>) {
        let mut body = Body::Absent;
        if self.token.kind == Kind::Open {
            let open = self.bump();
            body = Body::Empty;
            match self.token.kind {
                Kind::Recipe => {
                    let token = self.bump();
                    let whole = self.slice(token.start, token.end);
                    let inner = whole.strip_prefix("@begin").unwrap_or(whole);
                    let Some(inner) = inner.strip_suffix("@end") else {
                        self.broken = true;
                        self.sentences.push(Sentence::Configure(Configure { id, body }));
                        self.pass_sentence();
                        return;
                    };
                    // An indented `@end` was reported; the white space before it is no part of the recipe.
                    body = Body::Recipe(inner.trim_end_matches([' ', '\t']));
                    if !matches!(self.token.kind, Kind::Close | Kind::End) && !self.at_sentence() {
                        let seen = self.seen();
                        self.fault(
                            "R0026",
                            format!("expected `)` after `@end`, found {seen}"),
                            "after the recipe's end",
                            "only `)` follows `@end`",
                        );
                    }
                }
                Kind::Close if self.dialect == Dialect::Im => {}
                _ => {
                    let seen = self.seen();
                    self.fault(
                        "R0034",
                        format!("expected `@begin`, found {seen}"),
                        "no recipe",
                        "write the recipe between `@begin` and `@end`, each on a line of its own, or nothing: `configure NAME ()`",
                    );
                }
            }
            self.sentences.push(Sentence::Configure(Configure { id, body }));
            self.close(open);
            return;
        }
        self.sentences.push(Sentence::Configure(Configure { id, body }));
    }
}
