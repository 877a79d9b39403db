//! Sources: the texts that were read, laid end to end in one range of byte offsets, so that a bare span
//! says its file, line and column.

use super::Span;

/// One text and where its first byte stands in the common range.
#[derive(Debug, Clone)]
struct Source<'a> {
    path: &'a str,
    text: &'a str,
    base: usize,
    /// First byte of each line, within the text.
    lines: Vec<usize>,
}

/// All texts that were read together.
#[derive(Debug, Clone, Default)]
pub struct Sources<'a> {
    files: Vec<Source<'a>>,
}

/// A place that a person can find: lines and columns from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The file's path, as it was given.
    pub file: &'a str,
    /// Its whole text.
    pub text: &'a str,
    /// The span within that text.
    pub span: Span,
    /// Byte offsets of the lines that hold the span, line end of the last included.
    pub lines: Span,
    /// Line of the first character.
    pub line: usize,
    /// Column of the first character.
    pub column: usize,
    /// Line of the end.
    pub end_line: usize,
    /// Column one past the last character.
    pub end_column: usize,
}

impl<'a> Sources<'a> {
    /// Adds a text and answers its first byte's offset in the common range.
    pub fn add(&mut self, path: &'a str, text: &'a str) -> usize {
        // One offset is left free between texts: the end of one is not the start of the next.
        let base = self.files.last().map_or(0, |last| last.base + last.text.len() + 1);
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        self.files.push(Source { path, text, base, lines });
        base
    }

    /// Where a span is. `None` only when there is no text at all.
    pub fn place(&self, span: Span) -> Option<Place<'a>> {
        let file = self.files.iter().rev().find(|file| file.base <= span.start).or(self.files.first())?;
        let clamp = |at: usize| {
            let mut at = at.saturating_sub(file.base).min(file.text.len());
            while !file.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = clamp(span.start);
        let end = clamp(span.end).max(start);
        let (line, column) = file.line_column(start);
        let (end_line, end_column) = file.line_column(end);
        let first = file.lines.get(line - 1).copied().unwrap_or(0);
        let last = file.lines.get(end_line).copied().unwrap_or(file.text.len());
        Some(Place {
            file: file.path,
            text: file.text,
            span: Span { start, end },
            lines: Span { start: first, end: last },
            line,
            column,
            end_line,
            end_column,
        })
    }
}

impl Source<'_> {
    fn line_column(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        (line, self.text.get(start..at).map_or(1, |before| before.chars().count() + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_knows_its_file() {
        let mut sources = Sources::default();
        assert_eq!(sources.place(Span { start: 0, end: 0 }), None);
        let first = sources.add("a", "one\ntwo");
        let second = sources.add("b", "añb\nx");
        let place = |start, end| {
            sources.place(Span { start, end }).map(|p| (p.file, p.line, p.column, p.end_line, p.end_column))
        };
        assert_eq!(place(first + 4, first + 7), Some(("a", 2, 1, 2, 4)));
        assert_eq!(place(second + 3, second + 6), Some(("b", 1, 3, 2, 2)), "columns are characters, not bytes");
        assert_eq!(place(second + 99, second + 99), Some(("b", 2, 2, 2, 2)), "beyond the end is the end");
    }
}
