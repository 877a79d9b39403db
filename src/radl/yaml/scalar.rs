//! Scalars: which type a spelling has in YAML 1.1 (as PyYAML resolves it), and how a scalar is spelled again.

use serde_json::Value;

use super::{Node, Scalar};

/// What a scalar is.
pub(super) fn resolve(scalar: &Scalar) -> Value {
    let text = scalar.text.as_str();
    match scalar.tag.as_deref() {
        Some("!!int" | "!!float" | "!!bool" | "!!null") => {}
        Some(_) => return Value::String(text.to_owned()),
        None if !scalar.plain => return Value::String(text.to_owned()),
        None => {}
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

/// Whether it is a text and nothing else.
pub(super) fn is_text(scalar: &Scalar) -> bool {
    matches!(resolve(scalar), Value::String(_))
}

fn number(text: &str) -> Option<Value> {
    let (sign, body) = match text.as_bytes().first()? {
        b'-' => (-1_i128, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    whole(body).map_or_else(|| float(sign, body), |whole| Some(json(sign * whole)))
}

fn json(whole: i128) -> Value {
    match (u64::try_from(whole), i64::try_from(whole)) {
        (Ok(whole), _) => whole.into(),
        (_, Ok(whole)) => whole.into(),
        #[expect(clippy::cast_precision_loss, reason = "larger than JSON's whole numbers")]
        _ => (whole as f64).into(),
    }
}

fn whole(body: &str) -> Option<i128> {
    let plain = body.replace('_', "");
    let all = |digits: &str, base: u32| !digits.is_empty() && digits.chars().all(|c| c.is_digit(base) || c == '_');
    if let Some(digits) = body.strip_prefix("0b") {
        return all(digits, 2).then(|| i128::from_str_radix(plain.get(2..)?, 2).ok())?;
    }
    if let Some(digits) = body.strip_prefix("0x") {
        return all(digits, 16).then(|| i128::from_str_radix(plain.get(2..)?, 16).ok())?;
    }
    if body == "0" {
        return Some(0);
    }
    if let Some(digits) = body.strip_prefix('0') {
        return all(digits, 8).then(|| i128::from_str_radix(plain.get(1..)?, 8).ok())?;
    }
    if body.contains(':') {
        // Base sixty, as in `1:30:00`.
        let mut parts = body.split(':');
        let first = parts.next()?;
        let mut sum: i128 = all(first, 10).then(|| first.replace('_', "").parse().ok())??;
        for part in parts {
            let digit: i128 = part.parse().ok().filter(|digit| *digit < 60 && part.len() <= 2)?;
            sum = sum.checked_mul(60)?.checked_add(digit)?;
        }
        return Some(sum);
    }
    all(body, 10).then(|| plain.parse().ok())?
}

fn float(sign: i128, body: &str) -> Option<Value> {
    let plain = body.replace('_', "");
    if !plain.contains('.') || plain.contains(':') {
        return None;
    }
    // An exponent needs its sign, and a point before it.
    let (mantissa, exponent) = plain.split_once(['e', 'E']).unwrap_or((&plain, "+0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (left, right) = mantissa.split_once('.')?;
    let signed = exponent.strip_prefix(['+', '-']).is_some_and(|rest| !rest.is_empty() && digits(rest));
    if !signed || !digits(left) || !digits(right) || (left.is_empty() && right.is_empty()) {
        return None;
    }
    let value: f64 = format!("{}{left}.{right}e{exponent}", if sign < 0 { "-0" } else { "0" }).parse().ok()?;
    serde_json::Number::from_f64(value).map(Value::Number)
}

/// Whether it is best written over several lines.
pub(super) fn is_page(scalar: &Scalar) -> bool {
    let text = scalar.text.as_str();
    scalar.tag.is_none()
        && text.trim_end_matches('\n').contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && !text.ends_with("\n\n")
        && text.lines().all(|line| !line.ends_with([' ', '\t']))
        && text.chars().all(|c| c == '\n' || c == '\t' || (!c.is_control() && c != '\u{feff}' && c != '\u{85}'))
        && !text.contains(['\u{2028}', '\u{2029}'])
}

/// A node on one line.
pub(super) fn inline(node: &Node) -> String {
    match node {
        Node::List(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Node::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{}: {}", inline(key), inline(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Node::Scalar(scalar) => {
            let tag = scalar.tag.as_ref().map_or_else(String::new, |tag| format!("{tag} "));
            let text = scalar.text.as_str();
            // What was plain stays plain where nothing in it could be taken for something else.
            let simple = |c: char| c.is_ascii_alphanumeric() || "_-./+:".contains(c);
            let plain = scalar.plain
                && !text.is_empty()
                && text.chars().all(simple)
                && !text.starts_with(['-', ':', '.', '+']) | number(text).is_some()
                && !text.ends_with(':');
            let word = !scalar.plain
                && text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-. /".contains(c))
                && !text.ends_with(' ')
                && scalar.tag.is_none()
                && is_text(&Scalar { text: text.to_owned(), plain: true, tag: None });
            if plain || word || (scalar.plain && matches!(resolve(scalar), Value::Null)) {
                let text = if text.is_empty() { "null" } else { text };
                return format!("{tag}{text}");
            }
            if scalar.plain && scalar.tag.is_none() && !is_text(scalar) {
                return text.to_owned();
            }
            // JSON's strings are YAML's double-quoted ones.
            format!("{tag}{}", Value::String(text.to_owned()).to_string().replace('\u{7f}', "\\x7f"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Tags, dump, load};

    #[test]
    fn types_are_those_of_yaml_1_1() {
        let node =
            load("[0644, yes, 1:30, 1.5, 1e3, 1.0e+3, '0644', ~, 0x1f, -3, on, 12_000, a b, .5, 08]", Tags::Known);
        let want = json!([420, true, 90, 1.5, "1e3", 1000.0, "0644", null, 31, -3, true, 12000, "a b", 0.5, "08"]);
        assert_eq!(node.map(|node| node.json()), Ok(want));
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for text in [
            "- tasks:\n  - name: it's\n    copy: {dest: /tmp/a, content: \"a: b\\n{{ x }}\", mode: 0644}\n    when: no\n",
            "a: &x [1, {b: c}]\nd: *x\ne: {}\nf: []\ng: |\n  one\n   two\n\n  three\nh: ''\ni: '- x'\n",
            "- - 1\n  - [2]\n- {}\n- k:\n    - l: m\n      n: |-\n        a\n        b\n",
            "- {<<: {a: 1, b: 2}, b: 3}\n",
            "plain",
            "",
            "k: 'null'\nl: null\nm: \"\u{e9} \\t \\x7f\"\n",
        ] {
            let node = load(text, Tags::Known).unwrap();
            let again = dump(&node);
            assert_eq!(load(&again, Tags::Known).map(|node| node.json()), Ok(node.json()), "{text}\n->\n{again}");
        }
    }

    #[test]
    fn bombs_and_foreign_tags_are_refused() {
        let bomb =
            (1..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| format!("{text}a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1));
        assert!(load(&bomb, Tags::Any).is_err());
        assert!(load(&"[".repeat(100_000), Tags::Any).is_err());
        assert!(load("a: !vault x", Tags::Known).is_err());
        assert!(load("a: !vault x", Tags::Any).is_ok());
        assert!(load("--- a\n--- b\n", Tags::Any).is_err());
    }
}
