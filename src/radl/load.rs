//! Loading: texts of one dialect or the other become one document, its cluster, and everything that is wrong with it.

use std::collections::BTreeMap;

use super::content::{Content, Features, Given, Held, Item, Part};
use super::dialect::Dialect;
use super::report::Report;
use super::syntax::Document;
use super::templates::{self, Merge, Template};
use super::{check, json, legacy, lower, parser, print};
use crate::diagnostic::render::{self, Located};
use crate::diagnostic::source::Sources;
use crate::diagnostic::{Diagnostic, Severity, Span};
use crate::model::cluster::ClusterSpec;
use crate::model::context::Contextualization;

/// A text and the path that it came from.
pub type File = (String, String);

/// Gives the text of a file beside the templates.
pub type Beside<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is read, and how.
#[derive(Clone, Copy, Default)]
pub struct Input<'a> {
    /// The files, in order.
    pub files: &'a [File],
    /// Pieces laid over them.
    pub added: &'a [File],
    /// EC3's templates that may be included: those that [`includes`] asked for.
    pub library: &'a [File],
    /// The text of a file beside the templates, for `ec3_file`.
    pub beside: Option<Beside<'a>>,
    /// The dialect; found out when it is not given.
    pub dialect: Option<Dialect>,
    /// What the old parsers accept is accepted, with a warning.
    pub compat: bool,
}

/// What was read, taken as one document.
#[derive(Debug)]
pub struct Loaded<'a> {
    /// The cluster, unless there is an error.
    pub spec: Option<ClusterSpec>,
    /// Everything that was found, by place.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts, in which the spans of the diagnostics stand.
    pub sources: Sources<'a>,
    /// What Ansible is to do.
    pub context: Contextualization,
    /// The dialect that the texts were in.
    pub dialect: Dialect,
    content: Content<'a>,
    compat: bool,
}

/// Where one feature was set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// `system front`, say.
    pub aspect: String,
    /// The feature as IM's text has it.
    pub feature: String,
    /// Which file; empty for what Marea put there.
    pub file: String,
    /// Which line.
    pub line: usize,
}

/// What the old parsers do not mind, although it says nothing, or something else than it seems to.
const LENIENT: [&str; 12] =
    ["R0029", "R0030", "R0045", "R0046", "R0047", "R0048", "R0050", "R0052", "R0054", "R0055", "R0058", "R0079"];

impl Loaded<'_> {
    /// Whether anything forbids going on to a cluster.
    pub fn has_errors(&self) -> bool {
        self.spec.is_none() || self.faulty()
    }

    /// Whether the document itself is wrong; a part of a cluster may still be right.
    pub fn faulty(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// The findings as a person reads them; in colour when `styled`.
    pub fn human(&self, styled: bool) -> String {
        render::human(&self.sources, &self.diagnostics, styled)
    }

    /// The findings as a program reads them.
    pub fn located(&self) -> Vec<Located<'_>> {
        self.diagnostics.iter().map(|found| render::locate(&self.sources, found)).collect()
    }

    /// The document in IM's dialect.
    pub fn im_text(&self) -> String {
        let lowered = self.content.clone().lowered(!self.compat);
        let document = lowered.document();
        print(&document)
    }

    /// The document as JSON, in the form of its own dialect.
    pub fn json(&self) -> serde_json::Value {
        json::of(&self.content, self.compat)
    }

    /// The document as JSON, in IM's form.
    pub fn im_json(&self) -> serde_json::Value {
        if self.dialect == Dialect::Im {
            return self.json();
        }
        // IM's reading of the text that it would be given.
        let text = self.im_text();
        let mut silent = Report::silent();
        let parsed = parser::parse_at(&text, 0, Dialect::Im, &mut silent);
        let document = Document { sentences: parsed.sentences, broken: parsed.broken };
        Content::of(&document, Dialect::Im).map_or(serde_json::Value::Null, |content| json::of(&content, self.compat))
    }

    /// The document in EC3's dialect, or why EC3 has no words for it.
    pub fn ec3_text(&self) -> Result<String, String> {
        self.content.clone().raised().map(|content| content.ec3_text())
    }

    /// Which file and line set each feature.
    pub fn origins(&self) -> Vec<Origin> {
        let lowered = self.content.clone().lowered(!self.compat);
        let mut found = Vec::new();
        let mut say = |aspect: &str, feature: String, span: Span| {
            let place = self.sources.place(span).filter(|_| span.end > 0);
            found.push(Origin {
                aspect: aspect.to_owned(),
                feature,
                file: place.map_or_else(String::new, |place| place.file.to_owned()),
                line: place.map_or(0, |place| place.line),
            });
        };
        for part in lowered.parts.values() {
            match part {
                Part::Thing(thing) => {
                    let aspect = format!("{} {}", thing.kind.keyword(), thing.id);
                    say(&aspect, String::new(), thing.span);
                    walk(&thing.features, "", &mut |feature, span| say(&aspect, feature, span));
                }
                Part::Recipe(recipe) => say(&format!("configure {}", recipe.id), String::new(), recipe.span),
                Part::Context(context) => {
                    for line in context.lines.values() {
                        say("contextualize", format!("system {} configure {}", line.system, line.configure), line.span);
                    }
                }
                Part::Order(order) => say(&format!("deploy {}", order.system), order.count.to_string(), order.span),
            }
        }
        found
    }
}

/// Properties whose values are nobody's to read.
const SECRET: [&str; 5] = ["password", "private_key", "secret", "token", "auth"];

fn walk(all: &Features<'_>, prefix: &str, say: &mut dyn FnMut(String, Span)) {
    let mut one = |item: &Item<'_>| {
        if let Given::Features(inner) = &item.value {
            let name = inner.text("name").unwrap_or("");
            walk(inner, &format!("{prefix}{} '{name}': ", item.name), say);
        } else {
            let secret = SECRET.iter().any(|word| item.name.contains(word));
            let value = if secret { "<secret>".to_owned() } else { item.value.to_string() };
            say(format!("{prefix}{} {} {value}", item.name, item.how.symbol()), item.span);
        }
    };
    for held in all.held.values() {
        match held {
            Held::Range(Some(low), Some(high)) if low == high => one(low),
            Held::Range(low, high) => low.iter().chain(high).for_each(|item| one(item)),
            Held::Plain(item) => one(item),
            Held::Elements(items) | Held::Set(items) => items.values().for_each(&mut one),
        }
    }
    for soft in all.softs.values() {
        walk(&soft.features, &format!("{prefix}soft {}: ", soft.weight), say);
    }
}

/// The templates that a text of EC3's dialect includes.
pub fn includes(text: &str) -> Vec<String> {
    let parsed = parser::parse_at(text, 0, Dialect::Ec3, &mut Report::silent());
    templates::includes(&Document { sentences: parsed.sentences, broken: parsed.broken })
}

/// The dialect that texts are in together: EC3's as soon as one of them is.
pub fn dialect_of(files: &[File]) -> Dialect {
    let ec3 = files.iter().any(|(_, text)| !is_json(text) && Dialect::of(text) == Dialect::Ec3);
    if ec3 { Dialect::Ec3 } else { Dialect::Im }
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('[')
}

/// Reads texts as one document, in order, and makes its cluster, in which only `known` recipes may be named.
pub fn load_as<'a>(input: &Input<'a>, known: &dyn Fn(&str) -> bool) -> Loaded<'a> {
    let dialect = input.dialect.unwrap_or_else(|| dialect_of(input.files).max(dialect_of(input.added)));
    let (sources, report) = (Sources::default(), Report::default());
    let mut reader = Reader { sources, report, dialect, compat: input.compat, broken: false };
    let (content, document) = match dialect {
        Dialect::Im => reader.im(input),
        Dialect::Ec3 => (reader.ec3(input), None),
    };
    let Reader { sources, mut report, broken, .. } = reader;
    // A document of IM's is checked as it stands; of EC3's there is only what the templates amount to.
    let lowered;
    let document = if let Some(document) = document {
        document
    } else {
        lowered = content.clone().lowered(true);
        Document { broken, ..lowered.document() }
    };
    let mark = report.mark();
    check::check(&document, &mut report);
    if input.compat {
        report.soften(mark, Some(&LENIENT));
    }
    lower::check_recipes(&document, known, &mut report);
    // In a document with errors, what seems to be missing may only be misspelled.
    let stem = input.files.first().map_or("cluster", |(path, _)| stem(path));
    let ansible = lower::contextualization(&document, &mut report);
    let spec = if report.has_errors() { None } else { lower::lower(&document, stem, &mut report) };
    Loaded { spec, context: ansible, diagnostics: report.finish(), sources, dialect, content, compat: input.compat }
}

struct Reader<'a> {
    sources: Sources<'a>,
    report: Report,
    dialect: Dialect,
    compat: bool,
    /// Some text could not be read.
    broken: bool,
}

impl<'a> Reader<'a> {
    /// One text. With `compat` what the old parser reads counts, and what is wrong with it is a warning.
    fn read(&mut self, (path, text): &'a File) -> Document<'a> {
        let base = self.sources.add(path, text);
        let mark = self.report.mark();
        let parsed = parser::parse_at(text, base, self.dialect, &mut self.report);
        let document = Document { sentences: parsed.sentences, broken: parsed.broken };
        if !self.compat {
            self.broken |= document.broken;
            return document;
        }
        match legacy::read(text, base, self.dialect) {
            Ok(old) => {
                self.report.soften(mark, None);
                old
            }
            Err(refusal) => {
                if !self.report.failed_since(mark) {
                    let span = Span { start: base + refusal.at, end: base + (refusal.at + 1).min(text.len()) };
                    self.report.error(
                        "R0080",
                        span,
                        "the old parser stops here",
                        "refused by it",
                        "leave --compat away: this is RADL, although IM and EC3 cannot read it",
                    );
                }
                document
            }
        }
    }

    fn im(&mut self, input: &Input<'a>) -> (Content<'a>, Option<Document<'a>>) {
        let mut content = Content::new(Dialect::Im);
        let mut all = Document::default();
        let mut from_json = false;
        for file in input.files.iter().chain(input.added) {
            if is_json(&file.1) {
                let base = self.sources.add(&file.0, &file.1);
                from_json = true;
                match json::read(&file.1) {
                    Ok(read) => content.parts.extend(read.parts),
                    Err(message) => self.report.error(
                        "R0085",
                        Span { start: base, end: base + 1 },
                        message,
                        "in this JSON",
                        "RADL in JSON is a list of objects, each with its `class`: see docs/radl.md",
                    ),
                }
                continue;
            }
            let document = self.read(file);
            all.broken |= document.broken;
            all.sentences.extend(document.sentences);
        }
        match Content::of(&all, Dialect::Im) {
            Ok(read) => content.parts.extend(read.parts),
            // What contradicts is said by the check.
            Err(clash) if self.compat => {
                let help = "the old parsers refuse it too: take one of the two away";
                self.report.error("R0082", clash.span, clash.message, "contradicts what was said before", help);
            }
            Err(_) => {}
        }
        (content, (!from_json).then_some(all))
    }

    fn ec3(&mut self, input: &Input<'a>) -> Content<'a> {
        let template = |reader: &mut Self, file: &'a File| Template {
            name: stem(&file.0).to_owned(),
            document: reader.read(file),
        };
        let named = input.files.iter().map(|file| template(self, file)).collect();
        let added = input.added.iter().map(|file| template(self, file)).collect();
        let library: BTreeMap<String, Document<'a>> =
            input.library.iter().map(|file| (stem(&file.0).to_owned(), self.read(file))).collect();
        let nothing = |_: &str| None;
        let file = input.beside.unwrap_or(&nothing);
        Merge { named, added, library, file, compat: self.compat }.run(&mut self.report)
    }
}

/// A path's last part without its ending.
fn stem(path: &str) -> &str {
    let last = path.rsplit('/').next().unwrap_or(path);
    last.rsplit_once('.').map_or(last, |(stem, _)| stem)
}

/// What a text amounts to, for those who know the dialect and want no explanation: `None` when it has an error.
/// With `compat` as the old parser reads it.
pub fn canonical(text: &str, dialect: Dialect, compat: bool) -> Option<serde_json::Value> {
    let mut report = Report::default();
    let document = if compat {
        legacy::read(text, 0, dialect).ok()?
    } else {
        let parsed = parser::parse_at(text, 0, dialect, &mut report);
        Document { sentences: parsed.sentences, broken: parsed.broken }
    };
    if report.has_errors() {
        return None;
    }
    Content::of(&document, dialect).ok().map(|content| json::of(&content, compat))
}

/// The same for JSON.
pub fn canonical_json(text: &str) -> Option<serde_json::Value> {
    json::read(text).ok().map(|content| json::of(&content, true))
}
