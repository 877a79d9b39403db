//! The old lexer: rules tried in order, in one of three states, and a character that no rule begins with dropped
//! without a word.

use super::Refusal;
use crate::radl::dialect::Dialect;
use crate::radl::lexer::{Kind as Keyword, keywords};

/// Which kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word that is no keyword.
    Var,
    Keyword(Keyword),
    Number,
    /// A string; the span holds its quotes.
    Text,
    /// `'random(N)'`.
    Random,
    Open,
    Close,
    ListOpen,
    ListClose,
    Comma,
    Comparator(Keyword),
    LineEnd,
    Begin,
    /// `@end`.
    Finish,
    /// A line of a recipe.
    Line,
    End,
}

/// One token: its kind and its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Initial,
    Body,
    Recipe,
}

/// Cuts one text.
pub(super) struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    dialect: Dialect,
    state: State,
    before: Vec<State>,
    /// No string that starts between these has an end: none is looked for twice.
    barren: (usize, usize),
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, dialect: Dialect) -> Self {
        let bytes = text.as_bytes();
        Self { text, bytes, at: 0, dialect, state: State::Initial, before: Vec::new(), barren: (0, 0) }
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn line_end(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        rest.iter().position(|byte| *byte == b'\n').map_or(self.bytes.len(), |found| at + found)
    }

    /// The next token. A `)` that closes nothing ends it all.
    pub(super) fn next(&mut self) -> Result<Token, Refusal> {
        loop {
            let start = self.at;
            // The old parsers put a line feed behind the text; in IM's dialect it means nothing outside a recipe.
            if start > self.bytes.len() || (start == self.bytes.len() && self.dialect == Dialect::Im) {
                return Ok(Token { kind: Kind::End, start: self.bytes.len(), end: self.bytes.len() });
            }
            let kind = if self.state == State::Recipe { Some(self.recipe(start)) } else { self.rule(start)? };
            if let Some(kind) = kind {
                return Ok(Token { kind, start, end: self.at.min(self.bytes.len()) });
            }
        }
    }

    fn recipe(&mut self, start: usize) -> Kind {
        if self.text.get(start..).is_some_and(|rest| rest.starts_with("@end")) {
            self.at = start + 4;
            self.state = self.before.pop().unwrap_or(State::Initial);
            return Kind::Finish;
        }
        if start >= self.bytes.len() {
            // The line feed behind the text is one more line.
            self.at = start + 1;
            return Kind::Line;
        }
        self.at = self.line_end(start) + 1;
        Kind::Line
    }

    fn rule(&mut self, start: usize) -> Result<Option<Kind>, Refusal> {
        let body = self.state == State::Body;
        self.at = start + 1;
        if start == self.bytes.len() {
            return Ok((!body && self.dialect == Dialect::Ec3).then_some(Kind::LineEnd));
        }
        let kind = match self.byte(start) {
            b'\n' => (!body && self.dialect == Dialect::Ec3).then_some(Kind::LineEnd),
            b'#' => {
                self.at = self.line_end(start);
                None
            }
            byte @ (b'<' | b'>') if body => {
                let equal = self.byte(start + 1) == b'=';
                self.at += usize::from(equal);
                Some(Kind::Comparator(match (byte, equal) {
                    (b'<', true) => Keyword::AtMost,
                    (b'<', false) => Keyword::Less,
                    (_, true) => Keyword::AtLeast,
                    (_, false) => Keyword::Greater,
                }))
            }
            b'=' if body => Some(Kind::Comparator(Keyword::Equal)),
            b'[' if body && self.dialect == Dialect::Im => Some(Kind::ListOpen),
            b']' if body && self.dialect == Dialect::Im => Some(Kind::ListClose),
            b',' if body && self.dialect == Dialect::Im => Some(Kind::Comma),
            b'(' => {
                self.before.push(self.state);
                self.state = State::Body;
                Some(Kind::Open)
            }
            b')' => {
                self.state = self.before.pop().ok_or(Refusal { at: start })?;
                Some(Kind::Close)
            }
            b'0'..=b'9' => {
                self.number(start);
                Some(Kind::Number)
            }
            b'\'' => self.text(start)?,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' => Some(self.word(start)),
            b'@' if self.text.get(start..).is_some_and(|rest| rest.starts_with("@begin")) => {
                self.at = start + 6;
                self.before.push(self.state);
                self.state = State::Recipe;
                Some(Kind::Begin)
            }
            // A blank, or dropped whatever it is; a character of many bytes is dropped byte by byte.
            _ => None,
        };
        Ok(kind)
    }

    fn number(&mut self, start: usize) {
        let digits = |lexer: &Self, mut at: usize| {
            while lexer.byte(at).is_ascii_digit() {
                at += 1;
            }
            at
        };
        let mut at = digits(self, start);
        if self.byte(at) == b'.' {
            at = digits(self, at + 1);
        }
        self.at = at;
    }

    /// A string, or nothing: a quote that opens none is dropped.
    fn text(&mut self, start: usize) -> Result<Option<Kind>, Refusal> {
        // Every quote between was passed over behind a backslash, so a string from there would end where this one did.
        if (self.barren.0..self.barren.1).contains(&start) {
            return Ok(None);
        }
        let mut at = start + 1;
        loop {
            match self.bytes.get(at) {
                // A backslash takes the next character with it, unless that is a line feed.
                Some(b'\\') if self.bytes.get(at + 1) == Some(&b'\n') => {
                    self.barren = (start, at);
                    return Ok(None);
                }
                Some(b'\\') => at += 2,
                Some(b'\'') => break,
                Some(_) => at += 1,
                None => {
                    self.barren = (start, usize::MAX);
                    return Ok(None);
                }
            }
        }
        self.at = at + 1;
        let inner = self.text.get(start + 1..at).unwrap_or("");
        let digits = inner.strip_prefix("random(").and_then(|rest| rest.strip_suffix(')'));
        match digits.filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())) {
            Some(digits) if self.dialect == Dialect::Im => {
                // Its own regular expression reads one digit, and it falls over any other number.
                if digits.len() == 1 { Ok(Some(Kind::Random)) } else { Err(Refusal { at: start }) }
            }
            _ => Ok(Some(Kind::Text)),
        }
    }

    fn word(&mut self, start: usize) -> Kind {
        let rest = self.text.get(start..).unwrap_or("");
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        let length = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        self.at = start + length;
        let word = rest.get(..length).unwrap_or("");
        keywords(self.dialect)
            .iter()
            .find(|(keyword, _)| *keyword == word)
            .map_or(Kind::Var, |(_, kind)| Kind::Keyword(*kind))
    }
}
