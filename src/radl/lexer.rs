//! The lexer: a text cut into tokens, one at a time, without allocating. Every byte is looked at once or
//! twice; what is no token is reported and passed over, so it always ends.

use super::report::Report;
use crate::diagnostic::Span;

/// The two dialects of RADL, which have different words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Dialect {
    /// The Infrastructure Manager's.
    #[default]
    Im,
    /// That of EC3's templates.
    Ec3,
}

/// Which kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word that is no keyword.
    Word,
    Network,
    Ansible,
    System,
    Configure,
    Contextualize,
    Deploy,
    Description,
    Soft,
    And,
    Contains,
    Step,
    With,
    Option,
    Number,
    /// A string; the span holds its quotes.
    Text,
    Open,
    Close,
    ListOpen,
    ListClose,
    Comma,
    Equal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    /// `!=`, `==`, `=<`, `=>`: comparators of other languages. Never legal.
    Foreign,
    /// From `@begin` to `@end`, both included.
    Recipe,
    /// A line feed outside of parentheses, in EC3's dialect.
    LineEnd,
    End,
}

/// One token: its kind and its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The words that cannot be ids.
pub(super) const KEYWORDS: [(&str, Kind); 13] = [
    ("system", Kind::System),
    ("soft", Kind::Soft),
    ("and", Kind::And),
    ("contains", Kind::Contains),
    ("deploy", Kind::Deploy),
    ("configure", Kind::Configure),
    ("contextualize", Kind::Contextualize),
    ("step", Kind::Step),
    ("option", Kind::Option),
    ("network", Kind::Network),
    ("ansible", Kind::Ansible),
    ("with", Kind::With),
    ("description", Kind::Description),
];

/// The words that cannot be ids in a dialect: EC3 has fewer.
pub(super) fn keywords(dialect: Dialect) -> &'static [(&'static str, Kind)] {
    match dialect {
        Dialect::Im => &KEYWORDS,
        Dialect::Ec3 => KEYWORDS.get(..9).unwrap_or(&KEYWORDS),
    }
}

/// Cuts one text. `base` is where the text starts in the common range of offsets; tokens are relative to
/// the text, reported spans are not.
pub(super) struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    base: usize,
    dialect: Dialect,
    /// Parentheses that are open: line feeds mean nothing between them.
    pub(super) depth: usize,
    /// A string was seen that has no end: no later quote closes anything either, so none is looked for twice.
    unterminated: bool,
    /// Likewise for `@end`.
    endless: bool,
    /// Bytes looked at, to show that the work is linear.
    pub(super) steps: u64,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, base: usize, dialect: Dialect) -> Self {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let bytes = text.as_bytes();
        Self { text, bytes, at, base, dialect, depth: 0, unterminated: false, endless: false, steps: 0 }
    }

    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        Span { start: self.base + start, end: self.base + end }
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The next token.
    pub(super) fn next(&mut self, report: &mut Report) -> Token {
        loop {
            let from = self.at;
            self.blank();
            let start = self.at;
            if start >= self.bytes.len() {
                self.steps += (start - from) as u64 + 1;
                return Token { kind: Kind::End, start, end: start };
            }
            let found = self.token(start, report);
            self.steps += (self.at - from) as u64 + 1;
            if let Some(kind) = found {
                return Token { kind, start, end: self.at };
            }
        }
    }

    /// Passes over white space and comments.
    fn blank(&mut self) {
        let ends_sentences = self.dialect == Dialect::Ec3 && self.depth == 0;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'\n' if ends_sentences => return,
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'#' => self.at = self.line_end(self.at),
                _ => return,
            }
        }
    }

    /// The offset of the line feed that ends the line of `at`, or the text's end.
    fn line_end(&self, at: usize) -> usize {
        self.bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
            .map_or(self.bytes.len(), |found| at + found)
    }

    fn token(&mut self, start: usize, report: &mut Report) -> Option<Kind> {
        let one = |lexer: &mut Self, kind| {
            lexer.at = start + 1;
            Some(kind)
        };
        match self.byte(start) {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' => Some(self.word(start)),
            b'0'..=b'9' => {
                self.number(start);
                Some(Kind::Number)
            }
            b'\'' => {
                self.quoted(start, report);
                Some(Kind::Text)
            }
            b'\n' => one(self, Kind::LineEnd),
            b'(' => {
                self.depth += 1;
                one(self, Kind::Open)
            }
            b')' => {
                self.depth = self.depth.saturating_sub(1);
                one(self, Kind::Close)
            }
            b'[' => one(self, Kind::ListOpen),
            b']' => one(self, Kind::ListClose),
            b',' => one(self, Kind::Comma),
            b'=' | b'<' | b'>' | b'!' => self.comparator(start, report),
            b'"' => {
                self.double_quoted(start, report);
                Some(Kind::Text)
            }
            b'@' => self.at_sign(start, report),
            b'-' if self.byte(start + 1).is_ascii_digit() => {
                self.number(start + 1);
                report.error(
                    "R0002",
                    self.span(start, self.at),
                    "RADL has no negative numbers",
                    "the sign would be lost",
                    "write a number that is zero or more",
                );
                Some(Kind::Number)
            }
            _ => {
                self.illegal(start, report);
                None
            }
        }
    }

    fn word(&mut self, start: usize) -> Kind {
        let mut at = start + 1;
        loop {
            match self.byte(at) {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => at += 1,
                0x80.. => match self.text.get(at..).and_then(|rest| rest.chars().next()) {
                    Some(letter) if letter.is_alphanumeric() => at += letter.len_utf8(),
                    _ => break,
                },
                _ => break,
            }
        }
        self.at = at;
        // Most words are no keywords: a look at the length spares the comparisons.
        if !(3..=13).contains(&(at - start)) {
            return Kind::Word;
        }
        let word = self.bytes.get(start..at).unwrap_or(&[]);
        keywords(self.dialect)
            .iter()
            .find(|(keyword, _)| keyword.as_bytes() == word)
            .map_or(Kind::Word, |(_, kind)| *kind)
    }

    fn number(&mut self, start: usize) {
        let mut at = start;
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        if self.byte(at) == b'.' {
            at += 1;
            while self.byte(at).is_ascii_digit() {
                at += 1;
            }
        }
        self.at = at;
    }

    fn quoted(&mut self, start: usize, report: &mut Report) {
        if !self.unterminated {
            let mut at = start + 1;
            while let Some(byte) = self.bytes.get(at) {
                match byte {
                    b'\\' => at += 2,
                    b'\'' => {
                        self.at = at + 1;
                        return;
                    }
                    _ => at += 1,
                }
            }
            self.steps += (self.bytes.len() - start) as u64;
            self.unterminated = true;
        }
        self.at = self.line_end(start);
        report.error(
            "R0005",
            self.span(start, self.at),
            "this string has no end",
            "starts here",
            "close it with `'`; inside a string, a quote is written `\\'`",
        );
    }

    fn double_quoted(&mut self, start: usize, report: &mut Report) {
        let line = self.line_end(start);
        let close = self.bytes.get(start + 1..line).and_then(|rest| rest.iter().position(|byte| *byte == b'"'));
        self.at = close.map_or(line, |found| start + found + 2);
        report.error(
            "R0004",
            self.span(start, self.at),
            "strings stand between single quotes",
            "double quotes",
            "write 'text'",
        );
    }

    fn comparator(&mut self, start: usize, report: &mut Report) -> Option<Kind> {
        let (kind, length) = match (self.byte(start), self.byte(start + 1)) {
            (b'<', b'=') => (Kind::AtMost, 2),
            (b'>', b'=') => (Kind::AtLeast, 2),
            (b'!', b'=') | (b'=', b'=' | b'<' | b'>') | (b'<', b'>') => (Kind::Foreign, 2),
            (b'=', _) => (Kind::Equal, 1),
            (b'<', _) => (Kind::Less, 1),
            (b'>', _) => (Kind::Greater, 1),
            _ => {
                self.illegal(start, report);
                return None;
            }
        };
        self.at = start + length;
        Some(kind)
    }

    fn at_sign(&mut self, start: usize, report: &mut Report) -> Option<Kind> {
        let rest = self.bytes.get(start..).unwrap_or(&[]);
        if rest.starts_with(b"@begin") {
            self.recipe(start, report);
            return Some(Kind::Recipe);
        }
        if rest.starts_with(b"@end") {
            self.at = start + 4;
            report.error(
                "R0008",
                self.span(start, self.at),
                "`@end` without `@begin`",
                "nothing to end",
                "write `configure NAME (`, then `@begin` and `@end` each on a line of its own, then `)`",
            );
            return None;
        }
        if rest.starts_with(b"@input.") {
            let mut at = start + 1;
            while matches!(self.byte(at), b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-') {
                at += 1;
            }
            self.at = if self.byte(at) == b'@' { at + 1 } else { at };
            report.error(
                "R0009",
                self.span(start, self.at),
                "an input that nobody filled in",
                "left as it is in the template",
                "put the value here: `@input.NAME@` is filled in by IM's own clients, and is not part of RADL",
            );
            // It stood for a value.
            return Some(Kind::Text);
        }
        self.illegal(start, report);
        None
    }

    /// From `@begin` to the `@end` that starts a line.
    fn recipe(&mut self, start: usize, report: &mut Report) {
        let mut line = self.line_end(start);
        while !self.endless && line < self.bytes.len() {
            let first = line + 1;
            line = self.line_end(first);
            let mut word = first;
            while matches!(self.byte(word), b' ' | b'\t') {
                word += 1;
            }
            let ends = self.bytes.get(word..line).is_some_and(|rest| rest.starts_with(b"@end"));
            if ends && !matches!(self.byte(word + 4), b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.') {
                self.at = word + 4;
                if word > first {
                    report.error(
                        "R0007",
                        self.span(word, word + 4),
                        "`@end` must start its line",
                        "indented",
                        "take the white space before it away: an indented `@end` is part of the recipe",
                    );
                }
                return;
            }
        }
        if !self.endless {
            self.steps += (self.bytes.len() - start) as u64;
        }
        // No `@end` from here on: only the word itself is passed over, so that the rest is still checked.
        self.endless = true;
        self.at = start + 6;
        report.error(
            "R0006",
            self.span(start, self.at),
            "`@begin` without `@end`",
            "starts here",
            "end the recipe with `@end` at the start of a line",
        );
    }

    /// Passes over a run of characters that begin no token, with one finding for all of them.
    fn illegal(&mut self, start: usize, report: &mut Report) {
        let rest = self.text.get(start..).unwrap_or("");
        let legal = |c: char| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '\'' | '"' | '(' | ')' | '[' | ']' | ',' | '=' | '<' | '>' | '@' | '#' | ' ' | '\t' | '\r' | '\n');
        let mut characters = rest.chars();
        let first = characters.next().unwrap_or(' ');
        let length = first.len_utf8() + characters.take_while(|c| !legal(*c)).map(char::len_utf8).sum::<usize>();
        // A `-` or `!` at the run's end may begin something better reported by itself.
        self.at = start + length;
        if length > 1 && self.bytes.get(self.at - 1) == Some(&b'!') && self.byte(self.at) == b'=' {
            self.at -= 1;
        }
        let message = if first.is_control() || first.is_whitespace() {
            format!("the character U+{:04X} has no place here", u32::from(first))
        } else {
            format!("`{first}` has no place here")
        };
        let help = match first {
            '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' | '`' => {
                "strings stand between plain single quotes: 'text'"
            }
            '-' => "a word begins with a letter, `_` or `.`, and a number has no sign",
            ';' => "sentences need nothing between them; features are joined by `and`",
            '/' => "a comment begins with `#`",
            '{' | '}' => "features stand between `(` and `)`",
            '&' | '|' => "features are joined by the word `and`",
            '$' | '%' => "RADL has no variables: put the value here",
            c if c.is_whitespace() => "it only looks like a space: type a plain one",
            _ => "take it away, or put it in a string: 'text'",
        };
        report.error("R0001", self.span(start, self.at), message, "not a part of RADL", help);
    }
}
