//! An auth file: who the user is to the Infrastructure Manager and to the clouds behind it, one a line, as `k = v`
//! pairs, or as a JSON list. It becomes one header, and shows itself nowhere else.

use std::path::Path;

use serde_json::Value;

use crate::provider::secret::Secret;

/// Reads an auth file into the header that the Infrastructure Manager wants.
pub(super) fn header(path: &Path) -> Result<Secret, String> {
    let text =
        std::fs::read_to_string(path).map_err(|e| format!("the auth file {} cannot be read: {e}", path.display()))?;
    let lines = lines(&text).map_err(|e| format!("the auth file {}: {e}", path.display()))?;
    let typed = |line: &Vec<(String, String)>| {
        line.iter().any(|(key, value)| key == "type" && value == "InfrastructureManager")
    };
    if !lines.iter().any(typed) {
        return Err(format!(
            "the auth file {} has no line `type = InfrastructureManager; username = ..; password = ..`",
            path.display()
        ));
    }
    let written = lines.iter().map(|line| {
        let pairs = line.iter().map(|(key, value)| Ok(format!("{key} = {}", quoted(value)?)));
        Ok(pairs.collect::<Result<Vec<String>, String>>()?.join("; "))
    });
    let written = written
        .collect::<Result<Vec<String>, String>>()
        .map_err(|e| format!("the auth file {}: {e}", path.display()))?;
    // The two characters stand for the end of a line.
    Ok(Secret::new(written.join("\\n")))
}

/// A value as it may stand in the header: quoted if need be, a line's end inside it as three characters.
fn quoted(value: &str) -> Result<String, String> {
    let value = value.trim_end_matches('\n').replace("\r\n", "\n").replace('\n', "\\\\n");
    let plain = !value.contains([';', '=', '\'', '"']) && value.trim() == value && !value.is_empty();
    match (plain, value.contains('\''), value.contains('"')) {
        (true, ..) => Ok(value),
        (false, false, _) => Ok(format!("'{value}'")),
        (false, true, false) => Ok(format!("\"{value}\"")),
        (false, true, true) => {
            Err("a value with both kinds of quotes cannot be told to the Infrastructure Manager".to_owned())
        }
    }
}

type Pairs = Vec<(String, String)>;

fn lines(text: &str) -> Result<Vec<Pairs>, String> {
    if text.trim_start().starts_with('[') {
        return json(text);
    }
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut pairs = Pairs::new();
        for token in split(line, ';').into_iter().filter(|token| !token.trim().is_empty()) {
            let parts = split(&token, '=');
            let [key, value] = &parts[..] else {
                return Err(format!(
                    "line {}: it must be `key = value; key = value`, values with ; or = in quotes",
                    number + 1
                ));
            };
            pairs.push((
                key.trim().to_owned(),
                value_of(value.trim()).map_err(|e| format!("line {}: {e}", number + 1))?,
            ));
        }
        all.push(pairs);
    }
    Ok(all)
}

fn json(text: &str) -> Result<Vec<Pairs>, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("line {}: {e}", e.line()))?;
    let list = value.as_array().cloned().unwrap_or_default();
    let pairs = |entry: &Value| {
        let entry = entry.as_object().ok_or("each entry of the list must be an object")?;
        let pair = |(key, value): (&String, &Value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (key.clone(), text)
        };
        Ok(entry.iter().map(pair).collect())
    };
    list.iter().map(pairs).collect()
}

/// Splits where the separator stands outside of quotes; quotes stay.
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut quote) = (vec![String::new()], None);
    for c in text.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        if quote.is_none() && c == separator {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

/// A value without its quotes; `file(PATH)` is what stands in the file.
fn value_of(text: &str) -> Result<String, String> {
    let bare = ['\'', '"'].iter().find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(text);
    let value = bare.replace("\\n", "\n");
    match value.strip_prefix("file(").and_then(|rest| rest.strip_suffix(')')) {
        Some(path) => std::fs::read_to_string(path).map_err(|e| format!("{value} cannot be read: {e}")),
        None => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, String> {
        let at = tempfile::tempdir().unwrap();
        let path = at.path().join("auth.dat");
        std::fs::write(at.path().join("key"), "-----BEGIN\nabc=\n-----END\n").unwrap();
        std::fs::write(&path, text.replace("AT", &at.path().display().to_string())).unwrap();
        header(&path).map(|secret| secret.reveal().to_owned())
    }

    #[test]
    fn all_forms_of_an_auth_file_become_a_header() {
        let im = "type = InfrastructureManager; username = user; password = pass";
        assert_eq!(
            of(&format!("# mine\n\n{im}\n id = d ;type= Dummy\n")).unwrap(),
            format!("{im}\\nid = d; type = Dummy")
        );
        let quoted = of("type = InfrastructureManager; username = u; password = 'a;b=c'\n").unwrap();
        assert_eq!(quoted, "type = InfrastructureManager; username = u; password = 'a;b=c'");
        let other = of("type = InfrastructureManager; username = u; password = \"it's\"\n").unwrap();
        assert!(other.ends_with("password = \"it's\""), "{other}");
        let key = of(&format!("{im}\nid = os; type = OpenStack; private_key = file(AT/key)\n")).unwrap();
        assert!(key.ends_with("private_key = '-----BEGIN\\\\nabc=\\\\n-----END'"), "{key}");
        let json = of(
            r#"[{"type": "InfrastructureManager", "username": "u", "password": "p;q"}, {"id": "d", "type": "Dummy"}]"#,
        )
        .unwrap();
        assert!(json.contains("password = 'p;q'") && json.contains("\\n") && json.contains("type = Dummy"), "{json}");
    }

    #[test]
    fn what_is_wrong_with_it_is_said_and_no_secret_is() {
        for (text, word) in [
            ("id = d; type = Dummy\n", "type = InfrastructureManager"),
            ("type = InfrastructureManager; username = u; password = hunter=2\n", "line 1"),
            ("type = InfrastructureManager; username = u; password = file(/no/such)\n", "/no/such"),
            ("[{]", "line 1"),
            ("type = InfrastructureManager; username = u; password = \"hunter'\\\"2\"\n", "both kinds of quotes"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(word) && !error.contains("hunter"), "{text}: {error}");
        }
        assert!(header(Path::new("/no/such/auth.dat")).unwrap_err().contains("/no/such/auth.dat"));
    }
}
