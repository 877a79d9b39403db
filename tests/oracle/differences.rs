//! The deliberate differences, as docs/radl-differences.md lists them: each is shown here to be one, so that the list
//! cannot outlive its reasons.

use marea::radl::dialect::Dialect;
use marea::radl::{self, Input};
use serde_json::{Value, json};

use super::{oracle, settled};

/// D1: a range keeps both its ends in JSON. The old parser keeps the least, so that is what is compared.
pub fn as_the_old(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let lost =
                |key: &String| key.strip_suffix("_max").is_some_and(|name| map.contains_key(&format!("{name}_min")));
            map.iter().filter(|(key, _)| !lost(key)).map(|(key, value)| (key.clone(), as_the_old(value))).collect()
        }
        Value::Array(items) => items.iter().map(as_the_old).collect(),
        other => other.clone(),
    }
}

/// Texts that the parser proper accepts and the old parser refuses, or reads otherwise, on purpose.
pub fn deliberate(text: &str, dialect: Dialect, strict: &Value) -> bool {
    // D16: a document of a description alone.
    if strict.as_array().is_some_and(|parts| parts.iter().all(|part| part["class"] == "description")) {
        return true;
    }
    // D2: a random text of more than nine letters. D3: an empty `contextualize` in EC3's dialect means something.
    // D4: a list whose first text is empty keeps it.
    let empty_context = dialect == Dialect::Ec3 && text.contains("contextualize");
    text.contains("'random(")
        || empty_context
        || text.contains("['',")
        || text.contains("['']")
        || text.contains("['' ")
}

/// D14: a feature named `id` of an element is kept when JSON is read. The old parser drops it.
/// D17: a list of texts is one whatever its property. The old parser takes most for elements, and falls over them.
pub fn deliberate_json(data: &Value) -> bool {
    match data {
        Value::Array(items) => items.iter().all(Value::is_string) || items.iter().any(deliberate_json),
        Value::Object(map) => {
            (map.contains_key("id") && !map.contains_key("class")) || map.values().any(deliberate_json)
        }
        _ => false,
    }
}

#[test]
fn d15_a_description_has_its_id() {
    let Some(mut oracle) = oracle("D15") else { return };
    let text = "description d ()\nsystem a ()";
    assert!(oracle.get("im", text).unwrap()[1]["id"].is_number(), "an address");
    assert_eq!(radl::canonical(text, Dialect::Im, true).unwrap()[1]["id"], "d");
}

#[test]
fn d16_a_description_may_stand_alone() {
    let Some(mut oracle) = oracle("D16") else { return };
    for text in ["description d ()", "# nothing"] {
        assert!(oracle.get("im", text).is_err());
        assert!(radl::canonical(text, Dialect::Im, true).is_none());
        assert!(radl::canonical(text, Dialect::Im, false).is_some());
    }
}

#[test]
fn d17_a_list_of_texts_is_a_list() {
    let Some(mut oracle) = oracle("D17") else { return };
    let text = json!([{"class": "system", "id": "a", "l": ["x", "y"]}]);
    assert!(oracle.get("im-json", &text.to_string()).unwrap_err().contains("AttributeError"));
    assert_eq!(radl::canonical_json(&text.to_string()).unwrap(), text);
}

#[test]
fn d14_an_element_keeps_its_id() {
    let Some(mut oracle) = oracle("D14") else { return };
    let text = json!([{"class": "system", "id": "a", "c": [{"id": "i", "name": "x"}]}]);
    assert_eq!(oracle.get("im-json", &text.to_string()).unwrap()[0]["c"], json!([{"name": "x"}]));
    assert_eq!(radl::canonical_json(&text.to_string()).unwrap(), text);
}

/// D6: EC3 checks after each template, and trips over what the next one would have mended.
pub fn deliberate_refusal(error: &str) -> bool {
    error.contains("Invalid system id in the deploy")
}

#[test]
fn d1_a_range_keeps_both_its_ends() {
    let Some(mut oracle) = oracle("D1") else { return };
    let text = "system a ( n >= 1 and n <= 5 )";
    assert_eq!(oracle.get("im", text).unwrap()[0], json!({"class": "system", "id": "a", "n_min": 1}));
    let ours = radl::canonical(text, Dialect::Im, false).unwrap();
    assert_eq!(ours[0], json!({"class": "system", "id": "a", "n_min": 1, "n_max": 5}));
}

#[test]
fn d2_a_random_text_may_be_long() {
    let Some(mut oracle) = oracle("D2") else { return };
    let text = "system a ( t = 'random(12)' )";
    assert!(oracle.get("im", text).unwrap_err().contains("IndexError"));
    assert!(radl::canonical(text, Dialect::Im, false).is_some());
    assert!(radl::canonical(text, Dialect::Im, true).is_none());
}

#[test]
fn d3_an_empty_contextualize_is_kept() {
    let Some(mut oracle) = oracle("D3") else { return };
    let text = "contextualize ()\n";
    assert_eq!(oracle.get("ec3", text).unwrap(), json!([]));
    assert_eq!(radl::canonical(text, Dialect::Ec3, true).unwrap(), json!([]));
    assert_eq!(radl::canonical(text, Dialect::Ec3, false).unwrap(), json!([{"class": "contextualize", "items": []}]));
}

#[test]
fn d4_a_list_keeps_an_empty_text() {
    let Some(mut oracle) = oracle("D4") else { return };
    let text = "system a ( l = ['', 'x'] )";
    assert_eq!(oracle.get("im", text).unwrap()[0]["l"], json!(["x"]));
    assert_eq!(radl::canonical(text, Dialect::Im, false).unwrap()[0]["l"], json!(["", "x"]));
}

fn merged(texts: &[(&str, &str)], added: &[&str], compat: bool) -> String {
    let of = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    let files: Vec<radl::File> = texts.iter().take(1).map(of).collect();
    let library: Vec<radl::File> = texts.iter().skip(1).map(of).collect();
    let added: Vec<radl::File> = added.iter().map(|text| ("add".to_owned(), (*text).to_owned())).collect();
    let input = Input {
        files: &files,
        added: &added,
        library: &library,
        dialect: Some(Dialect::Ec3),
        compat,
        ..Input::default()
    };
    radl::load_as(&input, &|_| true).im_text()
}

#[test]
fn d7_units_keep_their_meaning() {
    let Some(mut oracle) = oracle("D7") else { return };
    let text = "system a ( memory.size >= 4g )";
    let in_ec3 = oracle.get("ec3", text).unwrap();
    assert_eq!(in_ec3[0]["memory.size_min"], json!(4_u64 << 30));
    let memory = |text: &str| radl::canonical(text, Dialect::Im, false).unwrap()[0]["memory.size_min"].clone();
    assert_eq!(memory(&merged(&[("t", text)], &[], false)), json!(4_u64 << 30));
    assert_eq!(
        settled(&memory(
            &merged(&[("t", text)], &[], true)[..].replace("system front (\n    ec3_templates_cmd = 't'\n)\n", "")
        )),
        json!(4e9)
    );
}

#[test]
fn d8_what_is_added_by_hand_has_the_last_word() {
    let texts = [("t", "include i ( template = 'u' )\n"), ("u", "system wn ( spot = 'no' )\n")];
    assert!(merged(&texts, &["system wn ( spot = 'yes' )"], false).contains("spot = 'yes'"));
    assert!(merged(&texts, &["system wn ( spot = 'yes' )"], true).contains("spot = 'no'"));
}

#[test]
fn d9_what_is_inherited_may_inherit() {
    let text =
        "system a ( ec3_inherit_from = system b )\nsystem b ( ec3_inherit_from = system c )\nsystem c ( x = 'y' )\n";
    let ours = merged(&[("t", text)], &[], false);
    assert_eq!(ours.matches("x = 'y'").count(), 3, "{ours}");
    assert!(!ours.contains("ec3_inherit_from"));
    assert!(merged(&[("t", text)], &[], true).contains("ec3_inherit_from"));
}

#[test]
fn d5_json_has_no_words_that_text_lacks() {
    let Some(mut oracle) = oracle("D5") else { return };
    for value in ["true", "-1"] {
        let text = format!("[{{\"class\": \"system\", \"id\": \"a\", \"x\": {value}}}]");
        assert!(oracle.get("im-json", &text).is_ok(), "{text}");
        assert!(radl::canonical_json(&text).is_none(), "{text}");
    }
}

#[test]
fn d6_a_template_may_complete_the_one_before_it() {
    let Some(mut oracle) = oracle("D6") else { return };
    let (first, second) = ("deploy late 1\n", "system late ( cpu.count = 1 )\n");
    let request =
        json!({"op": "merge", "templates": {"a": first, "b": second}, "files": {}, "names": ["a", "b"], "adds": []});
    let reply = oracle.ask(&request);
    assert!(deliberate_refusal(reply["error"].as_str().unwrap()), "{reply}");
    let files: Vec<radl::File> = vec![("a".into(), first.into()), ("b".into(), second.into())];
    let input = Input { files: &files, dialect: Some(Dialect::Ec3), ..Input::default() };
    assert!(radl::load_as(&input, &|_| true).im_text().contains("deploy late 1"));
}

#[test]
fn d10_credentials_are_in_no_document() {
    let Some(mut oracle) = oracle("D10") else { return };
    let text = super::templates::MAIN;
    let request = json!({"op": "launch", "templates": {"a": text}, "files": {}, "names": ["a"], "adds": []});
    let theirs = oracle.ask(&request)["text"].as_str().unwrap().to_owned();
    assert!(theirs.contains("auth") && theirs.contains("geheim-4711"), "{theirs}");
    assert!(!merged(&[("a", text)], &[], true).contains("auth"));
}

#[test]
fn d11_a_number_has_a_text() {
    let Some(mut oracle) = oracle("D11") else { return };
    let text = "system front ( n = 3 and disk.0.image.url = 'one://h/1' )\nsystem wn ( disk.0.image.url = 'one://h/1' )\ndeploy front 1\nconfigure front (\n@begin\n- vars: {N: {ec3_xpath: /system/front/n}}\n@end\n)\n";
    let request = json!({"op": "merge", "templates": {"a": text}, "files": {}, "names": ["a"], "adds": []});
    assert_eq!(oracle.ask(&request)["ok"], json!(false));
    assert!(merged(&[("a", text)], &[], false).contains("N: \"3\""), "{}", merged(&[("a", text)], &[], false));
}

#[test]
fn d12_a_path_is_no_document() {
    let Some(mut oracle) = oracle("D12") else { return };
    let file = std::env::temp_dir().join("marea-oracle-d12.radl");
    std::fs::write(&file, "system a ()").unwrap();
    let path = file.display().to_string();
    assert!(oracle.get("im", &path).is_ok(), "IM opens it");
    assert!(radl::canonical(&path, Dialect::Im, true).is_none());
    std::fs::remove_file(file).unwrap();
}

#[test]
fn d13_no_document_is_that_deep() {
    let Some(mut oracle) = oracle("D13") else { return };
    let text = format!("system a ( {}{} )", "a contains (name = 'x' and ".repeat(120), ")".repeat(120))
        .replace(" and )", " )");
    assert_eq!(oracle.ask(&json!({"op": "accepts", "text": text}))["ok"], json!(true));
    assert!(radl::canonical(&text, Dialect::Im, true).is_none());
}
