//! The dialect: RADL has two. IM's is what the Infrastructure Manager reads; EC3's is that of EC3's templates, where
//! a line feed ends a sentence, `G` is 1024 cubed, and templates are merged into a document of IM's. Which of them a
//! text is in can be said, or found out from the words that only one of them has.

pub use super::lexer::Dialect;
use super::lexer::{Kind, Lexer};
use super::report::Report;
use super::syntax::AspectKind;

/// Words of a recipe that only EC3 understands.
const EXPRESSIONS: [&str; 5] = ["ec3_append", "ec3_prio", "ec3_file", "ec3_xpath", "ec3_jpath"];

impl Dialect {
    /// The dialect that a text is in. One that both would read is IM's.
    pub fn of(text: &str) -> Self {
        let mut ignored = Report::silent();
        let mut lexer = Lexer::new(text, 0, Self::Im);
        let mut before = Kind::End;
        let mut depth = 0_usize;
        loop {
            let token = lexer.next(&mut ignored);
            let word = text.get(token.start..token.end).unwrap_or("");
            match (before, token.kind) {
                // `with` and lists are IM's alone.
                (_, Kind::End | Kind::ListOpen | Kind::With) => return Self::Im,
                (Kind::Contains, Kind::Text) | (Kind::Equal, Kind::System) => return Self::Ec3,
                (_, Kind::Word) if word == "ec3_inherit_from" => return Self::Ec3,
                (Kind::Deploy | Kind::Configure, Kind::Word) => {}
                (_, Kind::Word) if depth == 0 && is_foreign(word) => return Self::Ec3,
                (_, Kind::Recipe) if EXPRESSIONS.iter().any(|expression| word.contains(expression)) => {
                    return Self::Ec3;
                }
                (_, Kind::Open) => depth += 1,
                (_, Kind::Close) => depth = depth.saturating_sub(1),
                _ => {}
            }
            before = token.kind;
        }
    }
}

/// A class of aspects that is no word of IM's.
fn is_foreign(word: &str) -> bool {
    AspectKind::of_ec3(word)
        .is_some_and(|kind| !matches!(kind, AspectKind::Network | AspectKind::System | AspectKind::Description))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialect_shows_in_its_words() {
        for (text, dialect) in [
            ("system a (cpu.count = 1)", Dialect::Im),
            ("include x (template = 'a b')", Dialect::Ec3),
            ("deploy include 1", Dialect::Im),
            ("network n (outports contains '22')", Dialect::Ec3),
            ("system a (ec3_inherit_from = system b)", Dialect::Ec3),
            ("system a (x = ['a'] and y contains 'z')", Dialect::Im),
            ("configure a (\n@begin\n- vars: {X: {ec3_xpath: /system/a/b}}\n@end\n)", Dialect::Ec3),
            ("'", Dialect::Im),
        ] {
            assert_eq!(Dialect::of(text), dialect, "{text}");
        }
    }
}
