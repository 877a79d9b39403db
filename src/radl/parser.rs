//! The parser: recursive descent over tokens with one token of look-ahead. What it cannot read it reports
//! once and passes over: to the end of the parenthesis, or to the next sentence.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a parser names the tokens that it can use; every other is a finding"
)]

use super::dialect::Dialect;
use super::lexer::{Kind, Lexer, Token, keywords};
use super::report::{Report, did_you_mean, nearest};
use super::syntax::{Aspect, AspectKind, Deploy, Name, Number, Sentence, Text};
use crate::diagnostic::Span;

mod configure;
mod context;
mod feature;
mod lines;

/// What a text held.
pub(super) struct Parsed<'a> {
    pub(super) sentences: Vec<Sentence<'a>>,
    /// Some of it was passed over.
    pub(super) broken: bool,
    /// Bytes and tokens looked at.
    pub(super) steps: u64,
}

/// Reads one text; `base` is its place in the common range of offsets.
pub(super) fn parse_at<'a>(text: &'a str, base: usize, dialect: Dialect, report: &mut Report) -> Parsed<'a> {
    let mut lexer = Lexer::new(text, base, dialect);
    let token = lexer.next(report);
    let mut parser = Parser {
        text,
        dialect,
        lexer,
        token,
        report,
        sentences: Vec::new(),
        broken: false,
        previous_end: 0,
        pages: None,
        steps: 0,
    };
    parser.document();
    Parsed { sentences: parser.sentences, broken: parser.broken, steps: parser.steps + parser.lexer.steps }
}

struct Parser<'a, 'r> {
    text: &'a str,
    dialect: Dialect,
    lexer: Lexer<'a>,
    token: Token,
    report: &'r mut Report,
    sentences: Vec<Sentence<'a>>,
    broken: bool,
    /// Where the token before this one ended.
    previous_end: usize,
    /// The last string that went over a line's end: perhaps its closing quote was forgotten.
    pages: Option<Token>,
    steps: u64,
}

impl<'a> Parser<'a, '_> {
    fn bump(&mut self) -> Token {
        let token = self.token;
        self.previous_end = token.end;
        self.steps += 1;
        self.token = self.lexer.next(self.report);
        token
    }

    fn eat(&mut self, kind: Kind) -> bool {
        let found = self.token.kind == kind;
        if found {
            self.bump();
        }
        found
    }

    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or("")
    }

    fn span_of(&self, token: Token) -> Span {
        self.lexer.span(token.start, token.end)
    }

    /// What stands here, for a sentence about it.
    fn seen(&self) -> String {
        match self.token.kind {
            Kind::End => return "the end of the file".to_owned(),
            Kind::LineEnd => return "the end of the line".to_owned(),
            _ => {}
        }
        let whole = self.slice(self.token.start, self.token.end);
        let line = whole.lines().next().unwrap_or("");
        let short: String = line.chars().take(40).collect();
        if short.len() < whole.len() { format!("`{short}...`") } else { format!("`{short}`") }
    }

    /// Reports the token that stands here, and remembers that something was passed over.
    fn fault(&mut self, code: &'static str, message: impl Into<String>, label: &str, help: impl Into<String>) {
        self.broken = true;
        let mut help = help.into();
        if let Some(page) = self.pages.take().filter(|_| !self.report.is_full()) {
            let line = self.slice(0, page.start).matches('\n').count() + 1;
            help = format!("{help}; or was the closing quote of the string in line {line} forgotten?");
        }
        let span = self.span_of(self.token);
        self.report.error(code, span, message, label, help);
    }

    /// A word that names something.
    fn name(&mut self, of: &str) -> Option<Name<'a>> {
        if self.token.kind == Kind::Word {
            let token = self.bump();
            return Some(Name { text: self.slice(token.start, token.end), span: self.span_of(token) });
        }
        let seen = self.seen();
        let reserved = self.is_keyword();
        let help = if reserved {
            format!("{seen} is a word of the language and cannot be a name: choose another")
        } else {
            "a name begins with a letter, `_` or `.`, and goes on with letters, digits, `_`, `.` and `-`".to_owned()
        };
        self.fault("R0011", format!("expected {of}, found {seen}"), "not a name", help);
        None
    }

    /// Whether a `(` comes right after this token: a keyword there was meant as an id.
    fn before_parenthesis(&self) -> bool {
        self.slice(self.token.end, self.text.len()).trim_start_matches([' ', '\t']).starts_with('(')
    }

    fn is_keyword(&self) -> bool {
        keywords(self.dialect).iter().any(|(_, kind)| *kind == self.token.kind)
    }

    fn text_of(&self, token: Token) -> Text<'a> {
        let whole = self.slice(token.start, token.end);
        let raw = whole.strip_prefix(['\'', '"']).unwrap_or(whole);
        // Without its end, a string goes on to the end of the line.
        let raw = raw.strip_suffix(if whole.starts_with('"') { '"' } else { '\'' }).unwrap_or(raw);
        Text { raw, span: self.span_of(token) }
    }

    fn string(&mut self) -> Text<'a> {
        let token = self.bump();
        let text = self.text_of(token);
        // Only the end is looked at twice, and only for a short way: keys of many lines are usual.
        if text.raw.len() < 4096 && text.raw.contains('\n') {
            self.pages = Some(token);
        }
        text
    }

    fn number(&mut self) -> Number<'a> {
        let token = self.bump();
        Number {
            digits: self.slice(token.start, token.end).trim_start_matches('-'),
            unit: None,
            span: self.span_of(token),
        }
    }

    fn document(&mut self) {
        loop {
            match self.token.kind {
                Kind::End => return,
                Kind::LineEnd => {
                    self.bump();
                    continue;
                }
                Kind::Network => self.aspect(AspectKind::Network),
                Kind::Ansible => self.aspect(AspectKind::Ansible),
                Kind::System => self.aspect(AspectKind::System),
                Kind::Description => self.description(),
                Kind::Configure => self.configure(),
                Kind::Contextualize => self.contextualize(),
                Kind::Deploy => self.deploy(),
                Kind::Word if self.class_here().is_some() => {
                    if let Some(kind) = self.class_here() {
                        self.aspect(kind);
                    }
                }
                Kind::Open if self.dialect == Dialect::Ec3 && self.last_is_bare() => self.next_line(),
                Kind::Close => {
                    self.fault(
                        "R0013",
                        "a `)` that closes nothing",
                        "no `(` is open here",
                        "take it away, or put the `(` back that it should close",
                    );
                    self.bump();
                }
                Kind::Word
                | Kind::Soft
                | Kind::And
                | Kind::Contains
                | Kind::Step
                | Kind::With
                | Kind::Option
                | Kind::Number
                | Kind::Text
                | Kind::Open
                | Kind::ListOpen
                | Kind::ListClose
                | Kind::Comma
                | Kind::Equal
                | Kind::Less
                | Kind::AtMost
                | Kind::Greater
                | Kind::AtLeast
                | Kind::Foreign
                | Kind::Recipe => self.no_sentence(),
            }
            self.line_end();
        }
    }

    /// Whether a sentence begins here.
    fn at_sentence(&self) -> bool {
        // A class of EC3's may also name a feature: only at a line's start is it taken for a sentence.
        if self.dialect == Dialect::Ec3 && self.token.kind == Kind::Word {
            let starts = self.token.start == 0 || self.slice(0, self.token.start).ends_with('\n');
            return starts && self.class_here().is_some();
        }
        matches!(
            self.token.kind,
            Kind::Network
                | Kind::Ansible
                | Kind::System
                | Kind::Description
                | Kind::Configure
                | Kind::Contextualize
                | Kind::Deploy
        )
    }

    fn no_sentence(&mut self) {
        let word = self.slice(self.token.start, self.token.end);
        let seen = self.seen();
        if self.dialect == Dialect::Im && AspectKind::of_ec3(word).is_some() {
            self.fault(
                "R0027",
                format!("`{word}` belongs to EC3's dialect of RADL"),
                "EC3 only",
                "read the file with --dialect ec3",
            );
        } else if self.dialect == Dialect::Ec3 && word == "ansible" {
            self.fault(
                "R0078",
                "`ansible` belongs to IM's dialect of RADL",
                "IM only",
                "read the file with --dialect im",
            );
        } else {
            let help = format!(
                "a sentence begins with network, {}system, configure, contextualize, deploy or description{}",
                if self.dialect == Dialect::Im { "ansible, " } else { "include, " },
                did_you_mean(
                    word,
                    keywords(Dialect::Im)
                        .iter()
                        .filter(|(_, kind)| !matches!(kind, Kind::And | Kind::Soft | Kind::With))
                        .map(|(word, _)| *word)
                ),
            );
            self.fault("R0010", format!("expected a sentence, found {seen}"), "no sentence begins so", help);
        }
        let mut depth = 0_usize;
        while self.token.kind != Kind::End {
            // In EC3's dialect the next line begins anew.
            if self.token.kind == Kind::LineEnd {
                return;
            }
            match self.bump().kind {
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.saturating_sub(1),
                _ => {}
            }
            // A keyword at the start of a line begins a sentence, whatever is still open before it.
            let starts_line = self.token.start == 0 || self.slice(0, self.token.start).ends_with('\n');
            if self.at_sentence() && (depth == 0 || starts_line) {
                return;
            }
        }
    }

    fn aspect(&mut self, kind: AspectKind) {
        self.bump();
        let Some(id) = self.name("an id") else {
            // `system (...)`: the features are still worth reading.
            if self.token.kind == Kind::Open {
                self.parenthesis();
            } else if self.is_keyword() && self.before_parenthesis()
                || !self.at_sentence() && self.token.kind != Kind::End
            {
                self.bump();
                if self.token.kind == Kind::Open {
                    self.parenthesis();
                }
            }
            return;
        };
        self.aspect_of(kind, id);
    }

    fn aspect_of(&mut self, kind: AspectKind, id: Name<'a>) {
        let features = (self.token.kind == Kind::Open).then(|| self.parenthesis());
        if kind == AspectKind::Ansible && features.is_none() {
            self.fault(
                "R0028",
                "`ansible` needs its features",
                "expected `(`",
                "write `ansible NAME ( host = '...' and credentials.username = '...' and credentials.password = '...' )`",
            );
        }
        self.sentences.push(Sentence::Aspect(Aspect { kind, id, features }));
    }

    fn description(&mut self) {
        let first = self
            .sentences
            .first()
            .map(|sentence| matches!(sentence, Sentence::Aspect(aspect) if aspect.kind == AspectKind::Description));
        match first {
            None => {}
            Some(true) => {
                self.fault(
                    "R0023",
                    "a second description",
                    "one is enough",
                    "keep one `description`, before everything else in the file",
                );
                self.broken = false;
            }
            Some(false) => {
                self.fault(
                    "R0022",
                    "a description comes before everything else",
                    "too late",
                    "move it to the top of the file",
                );
            }
        }
        self.aspect(AspectKind::Description);
    }

    /// Passes over everything before the next sentence.
    fn pass_sentence(&mut self) {
        while self.token.kind != Kind::End && !self.at_sentence() {
            self.bump();
        }
    }

    fn deploy(&mut self) {
        let keyword = self.bump();
        let Some(system) = self.name("a system's id") else { return };
        if self.token.kind != Kind::Number {
            let seen = self.seen();
            self.fault(
                "R0021",
                format!("expected how many to deploy, found {seen}"),
                "not a number",
                format!("write `deploy {} 1`", system.text),
            );
            if !self.at_sentence()
                && self.token.kind != Kind::Close
                && self.token.kind != Kind::End
                && self.on_line_of(keyword)
            {
                self.bump();
            }
            return;
        }
        let count = self.number();
        if count.digits.contains('.') {
            self.broken = true;
            self.report.error(
                "R0021",
                count.span,
                "half a machine cannot be deployed",
                "not a whole number",
                "write a whole number",
            );
            return;
        }
        // The grammar takes any word here as the name of a cloud; one that begins the next line and looks
        // like a keyword is a misspelled sentence.
        let word = self.slice(self.token.start, self.token.end);
        let misspelled =
            || nearest(word, keywords(Dialect::Im).iter().map(|(keyword, _)| *keyword)).is_some() || word == "include";
        let cloud = if self.token.kind == Kind::Word && (self.on_line_of(keyword) || !misspelled()) {
            self.name("a cloud")
        } else {
            None
        };
        self.sentences.push(Sentence::Deploy(Deploy { system, count, cloud }));
    }

    fn on_line_of(&self, earlier: Token) -> bool {
        !self.slice(earlier.start, self.token.start).contains('\n')
    }

    /// Expects the `)` of `open`, and passes over what stands before it.
    fn close(&mut self, open: Token) {
        let mut depth = 0_usize;
        loop {
            match self.token.kind {
                Kind::Close if depth == 0 => {
                    self.bump();
                    return;
                }
                Kind::Close => depth -= 1,
                Kind::Open => depth += 1,
                Kind::End => return self.unclosed(open),
                _ if self.at_sentence() => return self.unclosed(open),
                _ => {}
            }
            self.bump();
        }
    }

    fn unclosed(&mut self, open: Token) {
        self.unclosed_before(open, self.token.start, self.token.end);
    }

    /// Reports that `open` is not closed where the text from `start` to `end` begins something else.
    fn unclosed_before(&mut self, open: Token, start: usize, end: usize) {
        self.broken = true;
        // What follows is a sentence again, with line feeds that mean something.
        self.lexer.depth = 0;
        let span = self.span_of(open);
        let before = if start >= self.text.len() || self.report.is_full() {
            "the end of the file".to_owned()
        } else {
            let line = self.slice(0, start).matches('\n').count() + 1;
            format!("`{}` in line {line}", self.slice(start, end))
        };
        self.report.error(
            "R0012",
            span,
            "this `(` is never closed",
            "opened here",
            format!("put its `)` before {before}"),
        );
    }
}
