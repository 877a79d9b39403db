//! The old grammars, IM's and EC3's, as their productions have them: the first token that fits nowhere ends it.

#![expect(clippy::wildcard_enum_match_arm, reason = "a grammar names the tokens that it can use")]

use super::Refusal;
use super::lexer::{Kind, Lexer, Token};
use crate::diagnostic::Span;
use crate::radl::dialect::Dialect;
use crate::radl::lexer::Kind as Keyword;
use crate::radl::syntax::{
    Aspect, AspectKind, Body, Comparator, Configure, ContextItem, ContextOption, Contextualize, Deploy, Document,
    Feature, Name, Number, Reference, Sentence, Text, Value,
};

/// The old parsers keep their own stack; ours is the machine's.
const DEEPEST: usize = 100;

struct Parser<'a> {
    text: &'a str,
    base: usize,
    dialect: Dialect,
    lexer: Lexer<'a>,
    token: Token,
}

type Read<T> = Result<T, Refusal>;

/// Reads a whole text.
pub(super) fn document(text: &str, base: usize, dialect: Dialect) -> Read<Document<'_>> {
    let mut lexer = Lexer::new(text, dialect);
    let token = lexer.next()?;
    let mut parser = Parser { text, base, dialect, lexer, token };
    let mut sentences = Vec::new();
    match dialect {
        Dialect::Im => parser.im(&mut sentences)?,
        Dialect::Ec3 => parser.ec3(&mut sentences)?,
    }
    Ok(Document { sentences, broken: false })
}

impl<'a> Parser<'a> {
    fn refuse<T>(&self) -> Read<T> {
        Err(Refusal { at: self.token.start })
    }

    fn bump(&mut self) -> Read<Token> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn is(&self, kind: Kind) -> bool {
        self.token.kind == kind
    }

    fn at(&self, keyword: Keyword) -> bool {
        self.is(Kind::Keyword(keyword))
    }

    fn expect(&mut self, kind: Kind) -> Read<Token> {
        if self.is(kind) { self.bump() } else { self.refuse() }
    }

    fn span(&self, token: Token) -> Span {
        Span { start: self.base + token.start, end: self.base + token.end }
    }

    fn slice(&self, token: Token) -> &'a str {
        self.text.get(token.start..token.end).unwrap_or("")
    }

    fn var(&mut self) -> Read<Name<'a>> {
        let token = self.expect(Kind::Var)?;
        Ok(Name { text: self.slice(token), span: self.span(token) })
    }

    fn number(&mut self) -> Read<Number<'a>> {
        let token = self.expect(Kind::Number)?;
        Ok(Number { digits: self.slice(token), unit: None, span: self.span(token) })
    }

    fn string(&mut self) -> Read<Text<'a>> {
        let token = self.bump()?;
        let whole = self.slice(token);
        let raw = whole.get(1..whole.len() - 1).unwrap_or("");
        Ok(Text { raw, span: self.span(token) })
    }

    /// `radl : radl radl_sentence | radl_sentence | description_sentence radl`.
    fn im(&mut self, sentences: &mut Vec<Sentence<'a>>) -> Read<()> {
        let mut begun = false;
        loop {
            let sentence = match self.token.kind {
                Kind::End if begun => return Ok(()),
                Kind::Keyword(Keyword::Description) if !begun => {
                    self.bump()?;
                    let id = self.var()?;
                    sentences.push(self.aspect(AspectKind::Description, id)?);
                    continue;
                }
                Kind::Keyword(Keyword::Network) => self.named(AspectKind::Network)?,
                Kind::Keyword(Keyword::System) => self.named(AspectKind::System)?,
                Kind::Keyword(Keyword::Ansible) => {
                    self.bump()?;
                    let id = self.var()?;
                    if !self.is(Kind::Open) {
                        return self.refuse();
                    }
                    self.aspect(AspectKind::Ansible, id)?
                }
                _ => self.other()?,
            };
            begun = true;
            sentences.push(sentence);
        }
    }

    /// Sentences, each ended by its line; an empty line is one of them.
    fn ec3(&mut self, sentences: &mut Vec<Sentence<'a>>) -> Read<()> {
        loop {
            match self.token.kind {
                Kind::End => return Ok(()),
                Kind::LineEnd => {
                    self.bump()?;
                    continue;
                }
                Kind::Var | Kind::Keyword(Keyword::System) => {
                    let kind = self.class()?;
                    let id = self.var()?;
                    let aspect = self.aspect(kind, id)?;
                    sentences.push(aspect);
                }
                _ => {
                    let other = self.other()?;
                    // A `contextualize` with nothing in it counts as nothing at all.
                    let nothing =
                        matches!(&other, Sentence::Contextualize(c) if c.items.is_empty() && c.options.is_empty());
                    if !nothing {
                        sentences.push(other);
                    }
                }
            }
            self.expect(Kind::LineEnd)?;
        }
    }

    fn class(&mut self) -> Read<AspectKind> {
        match AspectKind::of_ec3(self.slice(self.token)) {
            Some(kind) => {
                self.bump()?;
                Ok(kind)
            }
            None => self.refuse(),
        }
    }

    fn named(&mut self, kind: AspectKind) -> Read<Sentence<'a>> {
        self.bump()?;
        let id = self.var()?;
        self.aspect(kind, id)
    }

    fn aspect(&mut self, kind: AspectKind, id: Name<'a>) -> Read<Sentence<'a>> {
        let features = if self.is(Kind::Open) { Some(self.features(0)?) } else { None };
        Ok(Sentence::Aspect(Aspect { kind, id, features }))
    }

    fn other(&mut self) -> Read<Sentence<'a>> {
        match self.token.kind {
            Kind::Keyword(Keyword::Configure) => self.configure(),
            Kind::Keyword(Keyword::Deploy) => {
                self.bump()?;
                let (system, count) = (self.var()?, self.number()?);
                let cloud = if self.is(Kind::Var) { Some(self.var()?) } else { None };
                Ok(Sentence::Deploy(Deploy { system, count, cloud }))
            }
            Kind::Keyword(Keyword::Contextualize) => self.contextualize(),
            _ => self.refuse(),
        }
    }

    fn configure(&mut self) -> Read<Sentence<'a>> {
        self.bump()?;
        let id = self.var()?;
        let mut body = Body::Absent;
        if self.is(Kind::Open) {
            self.bump()?;
            if self.is(Kind::Close) && self.dialect == Dialect::Im {
                body = Body::Empty;
            } else {
                let begin = self.expect(Kind::Begin)?;
                self.expect(Kind::Line)?;
                while self.is(Kind::Line) {
                    self.bump()?;
                }
                let finish = self.expect(Kind::Finish)?;
                body = Body::Recipe(self.text.get(begin.end..finish.start).unwrap_or(""));
            }
            self.expect(Kind::Close)?;
        }
        Ok(Sentence::Configure(Configure { id, body }))
    }

    fn contextualize(&mut self) -> Read<Sentence<'a>> {
        let keyword = self.bump()?;
        let mut all =
            Contextualize { span: self.span(keyword), max_time: None, options: Vec::new(), items: Vec::new() };
        if self.is(Kind::Number) {
            all.max_time = Some(self.number()?);
        }
        self.expect(Kind::Open)?;
        while self.at(Keyword::Option) {
            self.bump()?;
            let name = self.var()?;
            let comparator = self.comparator()?;
            let value = match self.token.kind {
                Kind::Text => Value::Text(self.string()?),
                _ => Value::Number(self.number()?),
            };
            all.options.push(ContextOption { name, comparator, value });
        }
        while self.at(Keyword::System) {
            self.bump()?;
            let system = self.var()?;
            self.expect(Kind::Keyword(Keyword::Configure))?;
            let configure = self.var()?;
            let mut item = ContextItem { system, configure, step: None, tool: None };
            if self.at(Keyword::Step) {
                self.bump()?;
                item.step = Some(self.number()?);
            } else if self.at(Keyword::With) {
                self.bump()?;
                item.tool = Some(self.var()?);
            }
            all.items.push(item);
        }
        self.expect(Kind::Close)?;
        Ok(Sentence::Contextualize(all))
    }

    /// `features : features AND feature | feature | empty`: an `and` may stand first, and may not stand last.
    fn features(&mut self, depth: usize) -> Read<Vec<Feature<'a>>> {
        self.expect(Kind::Open)?;
        let mut features = Vec::new();
        if depth >= DEEPEST {
            return self.refuse();
        }
        if !self.is(Kind::Close) && !self.at(Keyword::And) {
            features.push(self.feature(depth)?);
        }
        while self.at(Keyword::And) {
            self.bump()?;
            features.push(self.feature(depth)?);
        }
        self.expect(Kind::Close)?;
        Ok(features)
    }

    fn comparator(&mut self) -> Read<Comparator> {
        let comparator = match self.token.kind {
            Kind::Comparator(Keyword::Less) => Comparator::Less,
            Kind::Comparator(Keyword::AtMost) => Comparator::AtMost,
            Kind::Comparator(Keyword::Greater) => Comparator::Greater,
            Kind::Comparator(Keyword::AtLeast) => Comparator::AtLeast,
            Kind::Comparator(_) => Comparator::Equal,
            Kind::Keyword(Keyword::Contains) if self.dialect == Dialect::Ec3 => Comparator::Contains,
            _ => return self.refuse(),
        };
        self.bump()?;
        Ok(comparator)
    }

    fn feature(&mut self, depth: usize) -> Read<Feature<'a>> {
        if self.at(Keyword::Soft) {
            self.bump()?;
            let weight = self.number()?;
            return Ok(Feature::Soft { weight, features: self.features(depth + 1)? });
        }
        let name = self.var()?;
        let contains = self.at(Keyword::Contains);
        if contains && self.dialect == Dialect::Im {
            self.bump()?;
            return Ok(Feature::Contains { name, features: self.features(depth + 1)? });
        }
        let comparator = self.comparator()?;
        if contains && self.is(Kind::Open) {
            return Ok(Feature::Contains { name, features: self.features(depth + 1)? });
        }
        let start = self.token;
        let value = self.value()?;
        // The end of what was read is the start of what follows, without the blanks between.
        let end =
            self.text.get(start.start..self.token.start).map_or(start.end, |read| start.start + read.trim_end().len());
        Ok(Feature::Constraint { name, comparator, value, span: self.span(Token { end, ..start }) })
    }

    fn value(&mut self) -> Read<Value<'a>> {
        match self.token.kind {
            Kind::Number => {
                let mut number = self.number()?;
                if self.is(Kind::Var) {
                    number.unit = Some(self.var()?);
                }
                Ok(Value::Number(number))
            }
            Kind::Text => Ok(Value::Text(self.string()?)),
            Kind::Random => Ok(Value::Random(self.string()?)),
            Kind::ListOpen => self.list(),
            Kind::Var | Kind::Keyword(Keyword::System) if self.dialect == Dialect::Ec3 => {
                let kind = self.class()?;
                Ok(Value::Reference(Reference { kind, id: self.var()? }))
            }
            _ => self.refuse(),
        }
    }

    /// `string_list : string_list COMMA STRING | STRING | empty`: an empty first text counts as none.
    fn list(&mut self) -> Read<Value<'a>> {
        self.bump()?;
        let mut items = Vec::new();
        if self.is(Kind::Text) {
            items.extend(Some(self.string()?).filter(|text| !text.raw.is_empty()));
        }
        while self.is(Kind::Comma) {
            self.bump()?;
            if !self.is(Kind::Text) {
                return self.refuse();
            }
            items.push(self.string()?);
        }
        self.expect(Kind::ListClose)?;
        Ok(Value::List(items))
    }
}
