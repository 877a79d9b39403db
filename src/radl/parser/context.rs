//! `contextualize`: which system is configured with what, and in which order.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a parser names the tokens that it can use; every other is a finding"
)]

use super::Parser;
use crate::radl::dialect::Dialect;
use crate::radl::lexer::Kind;
use crate::radl::syntax::{AspectKind, Comparator, ContextItem, ContextOption, Contextualize, Sentence, Value};

impl<'a> Parser<'a, '_> {
    pub(super) fn contextualize(&mut self) {
        let keyword = self.bump();
        let mut sentence =
            Contextualize { span: self.span_of(keyword), max_time: None, options: Vec::new(), items: Vec::new() };
        if self.token.kind == Kind::Number {
            sentence.max_time = Some(self.number());
        }
        if self.token.kind != Kind::Open {
            let seen = self.seen();
            self.fault(
                "R0028",
                format!("expected `(`, found {seen}"),
                "items belong here",
                "write `contextualize ( system NAME configure NAME )`",
            );
            self.sentences.push(Sentence::Contextualize(sentence));
            self.pass_sentence();
            return;
        }
        let open = self.bump();
        loop {
            match self.token.kind {
                Kind::Close => {
                    self.bump();
                    self.sentences.push(Sentence::Contextualize(sentence));
                    return;
                }
                Kind::Option => self.option(&mut sentence),
                Kind::System => {
                    let keyword = self.bump();
                    let Some(system) = self.name("a system's id") else {
                        self.pass_item();
                        continue;
                    };
                    if self.token.kind == Kind::Open
                        || self.at_sentence() && self.token.kind != Kind::Configure
                        || self.token.kind == Kind::End
                    {
                        // `system a (` is a sentence: the parenthesis before it was never closed.
                        self.unclosed_before(open, keyword.start, keyword.end);
                        self.sentences.push(Sentence::Contextualize(sentence));
                        self.aspect_of(AspectKind::System, system);
                        return;
                    }
                    if self.token.kind != Kind::Configure {
                        let seen = self.seen();
                        self.fault(
                            "R0031",
                            format!("expected `configure`, found {seen}"),
                            "the item ends too early",
                            format!("write `system {} configure NAME`", system.text),
                        );
                        self.pass_item();
                        continue;
                    }
                    self.bump();
                    let Some(configure) = self.name("a configure's id") else {
                        self.pass_item();
                        continue;
                    };
                    let mut item = ContextItem { system, configure, step: None, tool: None };
                    self.step_or_tool(&mut item);
                    sentence.items.push(item);
                }
                Kind::End
                | Kind::Network
                | Kind::Ansible
                | Kind::Description
                | Kind::Configure
                | Kind::Contextualize
                | Kind::Deploy => {
                    self.unclosed(open);
                    self.sentences.push(Sentence::Contextualize(sentence));
                    return;
                }
                _ => {
                    let seen = self.seen();
                    self.fault(
                        "R0031",
                        format!("expected an item, found {seen}"),
                        "no item begins so",
                        "write `system NAME configure NAME`, with `step N` or `with TOOL` after it; items need nothing between them",
                    );
                    self.pass_item();
                }
            }
        }
    }

    fn step_or_tool(&mut self, item: &mut ContextItem<'a>) {
        let mut seen_one = false;
        if self.dialect == Dialect::Ec3 && self.slice(self.token.start, self.token.end) == "with" {
            self.fault(
                "R0078",
                "`with` belongs to IM's dialect of RADL",
                "IM only",
                "take it away, or read the file with --dialect im",
            );
            self.bump();
            self.eat(Kind::Word);
        }
        while matches!(self.token.kind, Kind::Step | Kind::With) {
            if seen_one {
                self.fault(
                    "R0024",
                    "an item has a step or a tool, once",
                    "one too many",
                    "keep either `step N` or `with TOOL`",
                );
            }
            let keyword = self.bump();
            if keyword.kind == Kind::With {
                let Some(tool) = self.name("a tool") else { return };
                if !seen_one {
                    item.tool = Some(tool);
                }
            } else {
                if self.token.kind != Kind::Number {
                    let seen = self.seen();
                    self.fault(
                        "R0031",
                        format!("expected the step's number, found {seen}"),
                        "not a number",
                        "write `step 2`",
                    );
                    return;
                }
                let number = self.number();
                if number.digits.contains('.') {
                    self.broken = true;
                    self.report.error("R0031", number.span, "a step is a whole number", "not whole", "write `step 2`");
                }
                if !seen_one {
                    item.step = Some(number);
                }
            }
            seen_one = true;
        }
    }

    fn option(&mut self, sentence: &mut Contextualize<'a>) {
        if !sentence.items.is_empty() {
            self.fault("R0025", "options come before items", "too late", "move it to the start of the parenthesis");
        }
        self.bump();
        let Some(name) = self.name("an option") else { return self.pass_item() };
        let Some(comparator) = self.comparator(name) else { return self.pass_item() };
        let value = match self.token.kind {
            Kind::Text => Value::Text(self.string()),
            Kind::Number => Value::Number(self.number()),
            _ => {
                let seen = self.seen();
                self.fault(
                    "R0015",
                    format!("expected a value for `{}`, found {seen}", name.text),
                    "no value",
                    "an option is a number or a 'text'",
                );
                return self.pass_item();
            }
        };
        sentence.options.push(ContextOption { name, comparator: comparator.unwrap_or(Comparator::Equal), value });
    }

    /// Passes over what is no item. A `configure` without its `system` is passed over with its id.
    fn pass_item(&mut self) {
        while !matches!(self.token.kind, Kind::Close | Kind::Option | Kind::End) && !self.at_sentence() {
            self.bump();
        }
        if self.token.kind == Kind::Configure {
            self.bump();
            self.eat(Kind::Word);
        }
    }
}
