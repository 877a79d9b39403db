//! A plot: for each way, how many machines were on and how many pods waited over time, as SVG.

use std::fmt::Write as _;

use super::{Outcome, Point, Run, Way};

/// Width of the drawn part, in pixels: so many columns there are.
const WIDTH: i64 = 840;
const HEIGHT: i64 = 200;
const LEFT: i64 = 60;
const TOP: i64 = 60;
/// From the top of one panel to the top of the next.
const APART: i64 = 260;
/// The lines at which amounts are read off.
const STEPS: u64 = 4;

/// What is drawn of a point.
type Amount = fn(&Point) -> u32;

fn colour(way: Way) -> &'static str {
    match way {
        Way::Marea => "#0a6e8a",
        Way::AlwaysOn => "#8a8a8a",
        Way::Clues => "#c8641e",
    }
}

/// Draws these ways.
pub fn svg(title: &str, outcome: &Outcome, ways: &[Way]) -> String {
    let runs: Vec<&Run> = outcome.runs.iter().filter(|run| ways.contains(&run.way)).collect();
    let (width, height) = (LEFT + WIDTH + 20, TOP + 2 * APART);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{}</text>\n",
        escape(title)
    );
    for (number, run) in (0i64..).zip(&runs) {
        let (x, colour) = (LEFT + number * 120, colour(run.way));
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"32\" width=\"24\" height=\"4\" fill=\"{colour}\"/><text x=\"{}\" y=\"38\">{}</text>",
            x + 30,
            run.way.name()
        );
    }
    let panels: [(&str, Amount); 2] = [("machines on", |p| p.on), ("pods waiting", |p| p.waiting)];
    for (number, (name, of)) in (0i64..).zip(panels) {
        panel(&mut out, TOP + number * APART, name, &runs, outcome.span_ms, of);
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, top: i64, name: &str, runs: &[&Run], span: i64, of: Amount) {
    let most = runs.iter().flat_map(|run| run.curve.iter().map(of)).max().unwrap_or_default();
    let most = u64::from(most).max(1).next_multiple_of(if most > 3 { STEPS } else { 1 });
    let y = |amount: u64| top + HEIGHT - whole(amount * HEIGHT.unsigned_abs() / most);
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"{}\">{name}</text>", top - 6);
    let steps = STEPS.min(most);
    for step in 0..=steps {
        let amount = most * step / steps;
        let (y, right) = (y(amount), LEFT + WIDTH);
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {y}H{right}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{amount}</text>",
            LEFT - 6,
            y + 4
        );
    }
    for part in 0..=4 {
        let x = LEFT + WIDTH * part / 4;
        let _ = writeln!(
            out,
            "<text x=\"{x}\" y=\"{}\" text-anchor=\"{}\">{}</text>",
            top + HEIGHT + 16,
            ["start", "middle", "middle", "middle", "end"][usize::try_from(part).unwrap_or_default()],
            clock(span / 4 * part)
        );
    }
    for run in runs {
        let mut path = String::new();
        let mut before: Option<i64> = None;
        for (column, amount) in (0i64..).zip(columns(&run.curve, span, of)) {
            let (x, y) = (LEFT + column, y(u64::from(amount)));
            let _ = match before {
                None => write!(path, "M{x} {y}"),
                Some(before) if before == y => Ok(()),
                Some(_) => write!(path, "H{x}V{y}"),
            };
            before = Some(y);
        }
        let _ = write!(path, "H{}", LEFT + WIDTH);
        let colour = colour(run.way);
        let _ = writeln!(out, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>");
    }
}

/// The most in each column of time.
fn columns(curve: &[Point], span: i64, of: Amount) -> Vec<u32> {
    let end =
        |column: i64| i64::try_from(i128::from(span) * i128::from(column + 1) / i128::from(WIDTH)).unwrap_or(span);
    let (mut at, mut now) = (0, 0);
    let column = |column: i64| {
        let mut most = now;
        while let Some(point) = curve.get(at).filter(|point| point.at < end(column)) {
            now = of(point);
            // What changes at the very beginning of a column was never otherwise in it.
            most = if column > 0 && point.at == end(column - 1) { now } else { most.max(now) };
            at += 1;
        }
        most
    };
    (0..WIDTH).map(column).collect()
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Time since the beginning.
fn clock(ms: i64) -> String {
    let minutes = ms / 60_000;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    if days > 0 { format!("{days} d {hours:02}:{minutes:02}") } else { format!("{hours:02}:{minutes:02}") }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_peak_is_seen_in_its_column() {
        let point = |at, waiting| Point { at, on: 0, waiting };
        // Columns of ten milliseconds.
        let curve = [point(0, 0), point(20, 1), point(25, 9), point(27, 2), point(40, 0)];
        let columns = columns(&curve, WIDTH * 10, |point| point.waiting);
        assert_eq!((columns.len(), &columns[..6]), (840, [0, 0, 9, 2, 0, 0].as_slice()));
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("a<b>&\"c\""), "a&lt;b&gt;&amp;&quot;c&quot;");
    }
}
