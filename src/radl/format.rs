//! Formatting: a text laid out as RADL is usually written, its comments kept. It works on tokens, so that a text in
//! either dialect keeps all that it says.

#![expect(clippy::wildcard_enum_match_arm, reason = "most tokens are words to a formatter")]

use super::dialect::Dialect;
use super::lexer::{Kind, Lexer, Token};
use super::report::Report;

/// A parenthesis stays on its line when that is not longer than this.
const WIDTH: usize = 100;

/// The text laid out. A text with an error comes back as it is.
pub fn format(text: &str, dialect: Dialect) -> String {
    if super::parse_in(text, dialect).1.iter().any(|found| found.severity == crate::diagnostic::Severity::Error) {
        return text.to_owned();
    }
    let mut layout = Layout { text, out: String::new(), depth: 0, flat: 0, items: false, before: Kind::End };
    let mut tokens = Vec::new();
    let mut lexer = Lexer::new(text, 0, dialect);
    let mut silent = Report::silent();
    loop {
        let token = lexer.next(&mut silent);
        if token.kind != Kind::LineEnd {
            tokens.push(token);
        }
        if token.kind == Kind::End {
            break;
        }
    }
    let mut end = 0;
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1).map_or(Kind::End, |next| next.kind);
        layout.gap(end, token, at == 0);
        layout.token(token, next, tokens.get(at..).unwrap_or(&[]));
        end = token.end;
    }
    let mut out = layout.out;
    out.truncate(out.trim_end().len());
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

struct Layout<'a> {
    text: &'a str,
    out: String,
    depth: usize,
    /// Parentheses open on one line.
    flat: usize,
    /// Inside `contextualize`.
    items: bool,
    before: Kind,
}

impl Layout<'_> {
    fn line(&mut self) {
        let kept = self.out.trim_end_matches([' ', '\n']).len();
        self.out.truncate(kept);
        if !self.out.is_empty() {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', self.depth * 4));
        }
    }

    fn at_line_start(&self) -> bool {
        self.out.rsplit('\n').next().is_none_or(|line| line.trim().is_empty())
    }

    /// The comments between two tokens.
    fn gap(&mut self, end: usize, token: &Token, first: bool) {
        let between = self.text.get(end..token.start).unwrap_or("");
        for (at, line) in between.split('\n').enumerate() {
            let Some(comment) = line.trim().strip_prefix('#') else {
                continue;
            };
            let comment = format!("#{}", comment.trim_end());
            if at == 0 && !first && !self.at_line_start() {
                // It belongs to what stands before it on its line.
                self.out.truncate(self.out.trim_end().len());
                self.out.push(' ');
            } else if self.depth == 0 && !self.out.is_empty() && !self.last_line().starts_with('#') {
                self.blank();
            } else {
                self.line();
            }
            self.out.push_str(&comment);
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', self.depth * 4));
        }
    }

    fn blank(&mut self) {
        self.line();
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    fn word(&mut self, word: &str) {
        if !self.at_line_start() && !self.out.ends_with(['(', '[']) {
            self.out.push(' ');
        }
        self.out.push_str(word);
    }

    fn token(&mut self, token: &Token, next: Kind, rest: &[Token]) {
        let word = self.text.get(token.start..token.end).unwrap_or("");
        match token.kind {
            Kind::End => {}
            Kind::Open => {
                self.word("(");
                let fits =
                    !matches!(next, Kind::Recipe) && self.fits(token, rest) && (self.depth > 0 || next == Kind::Close);
                if self.flat > 0 || fits {
                    self.flat += 1;
                } else {
                    self.depth += 1;
                    // A recipe stands at the margin.
                    if next == Kind::Recipe { self.out.push('\n') } else { self.line() }
                }
            }
            Kind::Close if self.flat > 0 => {
                self.flat -= 1;
                if self.before != Kind::Open {
                    self.out.push(' ');
                }
                self.out.push(')');
            }
            Kind::Close => {
                self.depth = self.depth.saturating_sub(1);
                self.line();
                self.out.push(')');
                self.items &= self.depth > 0;
            }
            Kind::And => {
                self.word("and");
                // A comment behind it stays on its line.
                let rest = self.text.get(token.end..).unwrap_or("").trim_start_matches([' ', '\t']);
                if self.flat == 0 && !rest.starts_with('#') {
                    self.line();
                }
            }
            Kind::Comma => self.out.push(','),
            Kind::ListClose => self.out.push(']'),
            Kind::Recipe => {
                if !self.out.ends_with('\n') {
                    self.out.truncate(self.out.trim_end_matches(' ').len());
                }
                self.out.push_str(word);
            }
            _ if self.depth == 0 && self.flat == 0 && self.begins(token, word) => {
                // Orders stand together, and a comment stands by what it is about.
                let commented = self.last_line().starts_with('#');
                let deploy = token.kind == Kind::Deploy && self.last_line().starts_with("deploy ");
                if deploy || commented {
                    self.line();
                } else {
                    self.blank();
                }
                self.out.push_str(word);
                self.items = token.kind == Kind::Contextualize;
            }
            Kind::System | Kind::Option if self.items && self.depth == 1 => {
                self.line();
                self.out.push_str(word);
            }
            _ if self.flat > 0 && self.before == Kind::Open => {
                self.out.push(' ');
                self.out.push_str(word);
            }
            _ => self.word(word),
        }
        self.before = token.kind;
    }

    fn last_line(&self) -> &str {
        self.out.trim_end().rsplit('\n').next().unwrap_or("")
    }

    /// Whether a token begins a sentence: outside of parentheses everything that follows a whole one does.
    fn begins(&self, token: &Token, word: &str) -> bool {
        match token.kind {
            Kind::Network
            | Kind::Ansible
            | Kind::Description
            | Kind::Deploy
            | Kind::Contextualize
            | Kind::System
            | Kind::Configure => true,
            // EC3's classes are words.
            Kind::Word => {
                super::syntax::AspectKind::of_ec3(word).is_some()
                    && !matches!(
                        self.before,
                        Kind::System | Kind::Configure | Kind::Deploy | Kind::Network | Kind::Number
                    )
                    && (self.before != Kind::Word
                        || self
                            .text
                            .get(..token.start)
                            .is_some_and(|before| before.trim_end_matches([' ', '\t']).ends_with('\n')))
            }
            _ => false,
        }
    }

    /// Whether all of a parenthesis has room on this line, with no comment and no recipe in it.
    fn fits(&self, open: &Token, rest: &[Token]) -> bool {
        let mut depth = 0_usize;
        for token in rest {
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth -= 1,
                Kind::Recipe | Kind::End => return false,
                _ => {}
            }
            if depth == 0 {
                let inner = self.text.get(open.start..token.end).unwrap_or("");
                let used = self.out.len() - self.out.rfind('\n').map_or(0, |at| at + 1);
                return !inner.contains(['#', '\n']) && used + inner.len() <= WIDTH;
            }
            if token.end - open.start > WIDTH {
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_laid_out_and_keeps_its_comments() {
        let text = "# top\nsystem a(cpu.count=1 and # one\nmemory.size=4g and disk.0.applications contains(name='x'and version='1') # end\n)\n# about b\nnetwork b ()\nconfigure c (\n@begin\n- x: 1 # kept\n@end\n)\ndeploy a 1\ndeploy b 2 cloud\ncontextualize 5 (system a configure c step 1 system b configure c)";
        let want = "# top\nsystem a (\n    cpu.count = 1 and # one\n    memory.size = 4 g and\n    disk.0.applications contains ( name = 'x' and version = '1' ) # end\n)\n\n# about b\nnetwork b ()\n\nconfigure c (\n@begin\n- x: 1 # kept\n@end\n)\n\ndeploy a 1\ndeploy b 2 cloud\n\ncontextualize 5 (\n    system a configure c step 1\n    system b configure c\n)\n";
        let got = format(text, Dialect::Im);
        assert_eq!(got, want, "{got}");
        assert_eq!(format(&got, Dialect::Im), got, "once is enough");
    }
}
