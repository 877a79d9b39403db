//! RADL beside the old parsers: PyPI's RADL 1.3.5, which IM imports, and EC3's own in ec3-cli 2.2.1. Thousands of
//! documents, valid and broken, made from the grammar: the same are accepted, and they amount to the same, but for the
//! differences that docs/radl-differences.md lists, each of which has a test here.
//! MAREA_ORACLE=N multiplies how many documents there are, MAREA_SEED=N makes others.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    clippy::unused_self,
    clippy::needless_for_each,
    unreachable_pub,
    reason = "a test program: it may fail and speak"
)]

mod differences;
mod grammar;
mod python;
mod templates;

use grammar::{Dice, Maker};
use marea::radl::dialect::Dialect;
use marea::radl::{self, Input};
use python::Oracle;
use serde_json::{Value, json};

/// The oracle, or nothing where Python's packages are out of reach; CI may not do without.
pub fn oracle(test: &str) -> Option<Oracle> {
    match Oracle::start() {
        Ok(oracle) => Some(oracle),
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: {error}");
            eprintln!("{test}: skipped, for its Python environment cannot be made: {error}");
            None
        }
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Python's sets have no order, and its floats and ints are one to JSON.
pub fn settled(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(settled).collect();
            let loose = items.iter().all(|item| {
                item.is_string() || item.is_number() || item.get("weight").is_some() || item.get("class").is_none()
            });
            if loose {
                items.sort_by_key(Value::to_string);
            }
            Value::Array(items)
        }
        Value::Object(map) => {
            // D15: the old parser gives a description's place in memory for its id.
            let lost = |key: &str| key == "id" && map.get("class").is_some_and(|class| class == "description");
            let kept = map.iter().filter(|(key, _)| !lost(key));
            kept.map(|(key, value)| (key.clone(), settled(value))).collect()
        }
        Value::Number(number) => json!(number.as_f64()),
        other => other.clone(),
    }
}

/// `'random(3)'` is other letters each time.
fn without_luck(text: &str) -> bool {
    !text.contains("'random(")
}

/// Whether the check finds what the grammar does not see, such as `n > 1 and n < 1`.
fn contradicts(text: &str) -> bool {
    let (document, _) = radl::parse(text);
    radl::check(&document).iter().any(|one| ("R0029".."R0055").contains(&one.code))
}

struct Tally {
    same: usize,
    refused: usize,
    wrong: Vec<String>,
}

/// Makes documents and compares what both say.
fn compare(dialect: Dialect, name: &str, count: usize) {
    let Some(mut oracle) = oracle(name) else { return };
    let ec3 = dialect == Dialect::Ec3;
    let op = if ec3 { "ec3" } else { "im" };
    let mut dice = Dice::new(number("MAREA_SEED", 1) as u64);
    let mut tally = Tally { same: 0, refused: 0, wrong: Vec::new() };
    for round in 0..count * number("MAREA_ORACLE", 1) {
        let mut maker = Maker { dice: &mut dice, ec3, calm: round % 2 == 0 };
        let mut text = maker.document();
        if round % 3 == 2 {
            text = maker.broken(&text);
        }
        if !ec3 && text.contains("'random(") && !text.contains("'random(12)'") {
            continue;
        }
        let theirs = oracle.get(op, &text);
        let ours = radl::canonical(&text, dialect, true);
        match (&theirs, &ours) {
            (Ok(theirs), Some(ours)) if settled(theirs) == settled(ours) => tally.same += 1,
            (Err(_), None) => tally.refused += 1,
            (Err(error), Some(ours)) => {
                tally.wrong.push(format!("accepted, and refused by the old: {error}\n{text}\n{ours}"));
            }
            (Ok(_), None) => tally.wrong.push(format!("refused, and accepted by the old:\n{text}")),
            (Ok(theirs), Some(ours)) => {
                tally.wrong.push(format!("{text}\ntheirs {}\nours   {}", settled(theirs), settled(ours)));
            }
        }
        // What the parser proper accepts is no quirk: the old parser reads it too, and as the same.
        if let Some(strict) = radl::canonical(&text, dialect, false)
            && without_luck(&text)
            && !(dialect == Dialect::Im && contradicts(&text))
        {
            match &ours {
                Some(ours) if settled(&differences::as_the_old(ours)) == settled(&differences::as_the_old(&strict)) => {
                }
                _ if differences::deliberate(&text, dialect, &strict) => {}
                ours => tally.wrong.push(format!(
                    "accepted without a word, and read otherwise by the old:\n{text}\n{strict}\n{ours:?}"
                )),
            }
        }
        if tally.wrong.len() > 5 {
            break;
        }
    }
    println!("{name}: {} the same, {} refused by both", tally.same, tally.refused);
    assert!(tally.wrong.is_empty(), "{} of {name} differ:\n{}", tally.wrong.len(), tally.wrong.join("\n----\n"));
    assert!(tally.same > count / 4 && tally.refused > count / 20, "the generator makes both kinds");
}

#[test]
fn im_documents() {
    compare(Dialect::Im, "IM documents", 3000);
}

#[test]
fn ec3_documents() {
    compare(Dialect::Ec3, "EC3 documents", 3000);
}

#[test]
fn json_of_im() {
    let Some(mut oracle) = oracle("JSON of IM") else { return };
    let mut dice = Dice::new(7);
    let mut same = 0;
    for _ in 0..800 {
        let text = Maker { dice: &mut dice, ec3: false, calm: true }.document();
        let Some(data) = radl::canonical(&text, Dialect::Im, true).filter(|_| without_luck(&text)) else { continue };
        let theirs = oracle.get("im-json", &data.to_string());
        let ours = radl::canonical_json(&data.to_string());
        match (&theirs, &ours) {
            (Ok(theirs), Some(ours)) if settled(theirs) == settled(ours) => same += 1,
            (Err(_), None) => {}
            _ if differences::deliberate_json(&data) => {}
            _ => panic!("{data}\ntheirs {theirs:?}\nours {ours:?}"),
        }
    }
    assert!(same > 200, "{same}");
}

/// What IM makes of a text, its recipes read and its ports in order.
fn final_form(oracle: &mut Oracle, text: &str) -> Result<Value, String> {
    let mut data = oracle.get("plays", text)?;
    for part in data.as_array_mut().unwrap() {
        without_auth(part);
        sets_in_order(part);
    }
    Ok(settled_parts(&data))
}

/// The places at which two values differ.
fn differ(path: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let (one, other) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                differ(&format!("{path}/{key}"), one, other, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().for_each(|(at, (a, b))| differ(&format!("{path}/{at}"), a, b, found));
        }
        _ if left != right => found.push(format!("{path}: {left} and {right}")),
        _ => {}
    }
}

/// The templates that come with ec3-cli itself, where they lie in its package: each read by itself, and main templates
/// merged with images as a launch would.
#[test]
fn shipped_templates() {
    let Some(mut oracle) = oracle("shipped templates") else { return };
    let python = python::environment().unwrap();
    let lib = std::fs::read_dir(python.parent().unwrap().parent().unwrap().join("lib"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let folder = lib.join("site-packages/etc/ec3/templates");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let mut names: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.strip_suffix(".radl").is_some());
    names.sort();
    assert!(names.len() > 50);
    let mut all: Vec<radl::File> = Vec::new();
    for name in &names {
        let text = read(name).unwrap();
        let (theirs, ours) = (oracle.get("ec3", &text), radl::canonical(&text, Dialect::Ec3, true));
        assert_eq!(theirs.ok().map(|value| settled(&value)), ours.map(|value| settled(&value)), "{name}");
        all.push((name.trim_end_matches(".radl").to_owned(), text));
    }
    let (mut same, mut refused) = (0, Vec::new());
    for main in [
        "kubernetes",
        "slurm",
        "torque",
        "sge",
        "mesos",
        "htcondor",
        "swarm",
        "nomad",
        "kubernetes,nfs",
        "slurm,docker,galaxy",
    ] {
        for image in ["ubuntu-ec2", "ubuntu-openstack", "centos-ec2", "ubuntu-hybrid-spot-ec2"] {
            let names: Vec<String> = main.split(',').chain([image]).map(str::to_owned).collect();
            let reply = oracle.ask(&json!({"op": "shipped", "folder": folder, "names": names, "adds": []}));
            if reply["ok"] != true {
                refused.push(format!("{names:?}: {}", reply["error"]));
                continue;
            }
            let of = |name: &String| all.iter().find(|(known, _)| known == name).unwrap().clone();
            let files: Vec<radl::File> = names.iter().map(of).collect();
            let library: Vec<radl::File> = all.iter().filter(|(name, _)| !names.contains(name)).cloned().collect();
            let input = Input {
                files: &files,
                library: &library,
                beside: Some(&read),
                dialect: Some(Dialect::Ec3),
                compat: true,
                ..Input::default()
            };
            let loaded = radl::load_as(&input, &|_| true);
            let theirs = final_form(&mut oracle, reply["text"].as_str().unwrap());
            let ours = final_form(&mut oracle, &loaded.im_text());
            assert!(theirs.is_ok(), "{theirs:?}");
            let mut found = Vec::new();
            differ("", &theirs.unwrap(), &ours.unwrap_or_default(), &mut found);
            assert!(found.is_empty(), "{names:?}: {found:#?}");
            same += 1;
        }
    }
    println!(
        "shipped templates: {} read the same; {same} launches merged to the same, refused by EC3: {refused:#?}",
        names.len()
    );
    assert!(same > 10, "{refused:#?}");
}

/// A set of texts that became one text, in order.
fn sets_in_order(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(sets_in_order),
        Value::Array(items) => items.iter_mut().for_each(sets_in_order),
        Value::String(text) if text.contains(',') && !text.contains([' ', '\n', '{', '=']) => {
            let mut all: Vec<&str> = text.split(',').collect();
            all.sort_unstable();
            *text = all.join(",");
        }
        _ => {}
    }
}

/// D10: credentials are in no document of ours, nor in what a variable quotes of one.
fn without_auth(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("auth");
            map.values_mut().for_each(without_auth);
        }
        Value::Array(items) => items.iter_mut().for_each(without_auth),
        _ => {}
    }
}

fn settled_parts(data: &Value) -> Value {
    let mut parts: Vec<Value> = data.as_array().unwrap().iter().map(settled).collect();
    parts.sort_by_key(|part| format!("{}{}{}", part["class"], part["id"], part["system"]));
    Value::Array(parts)
}

#[test]
fn merged_templates() {
    let Some(mut oracle) = oracle("merged templates") else { return };
    let mut dice = Dice::new(number("MAREA_SEED", 3) as u64);
    let (mut same, mut refused) = (0, 0);
    let mut wrong = Vec::new();
    for _ in 0..300 * number("MAREA_ORACLE", 1) {
        let launch = templates::launch(&mut dice);
        let shown = format!("{:?}\n{:#?}\n{:?}", launch.names, launch.templates, launch.adds);
        let request = json!({"op": "merge", "templates": launch.templates, "files": launch.files, "names": launch.names, "adds": launch.adds});
        let reply = oracle.ask(&request);
        let of = |name: &String| (name.clone(), launch.templates[name].clone());
        let files: Vec<radl::File> = launch.names.iter().map(of).collect();
        let library: Vec<radl::File> =
            launch.templates.keys().filter(|name| !launch.names.contains(name)).map(of).collect();
        let added: Vec<radl::File> = launch.adds.iter().map(|text| ("add".to_owned(), text.clone())).collect();
        let beside = |name: &str| launch.files.get(name).cloned();
        let input = Input {
            files: &files,
            added: &added,
            library: &library,
            beside: Some(&beside),
            dialect: Some(Dialect::Ec3),
            compat: true,
        };
        let loaded = radl::load_as(&input, &|_| true);
        let errors: Vec<_> = loaded
            .located()
            .into_iter()
            .filter(|one| one.severity == marea::diagnostic::Severity::Error && !("R0060".."R0077").contains(&one.code))
            .map(|one| format!("{} {}", one.code, one.message))
            .collect();
        match (reply["ok"] == true, errors.is_empty()) {
            (true, true) => {
                let theirs = final_form(&mut oracle, reply["text"].as_str().unwrap());
                let text = loaded.im_text();
                let ours = final_form(&mut oracle, &text);
                if theirs.is_ok() && theirs == ours {
                    same += 1;
                } else {
                    let parts = |one: &Result<Value, String>| {
                        one.as_ref().ok().and_then(Value::as_array).cloned().unwrap_or_default()
                    };
                    let (left, right) = (parts(&theirs), parts(&ours));
                    let only = |these: &[Value], those: &[Value]| {
                        these
                            .iter()
                            .filter(|part| !those.contains(part))
                            .map(|part| format!("{part}\n"))
                            .collect::<String>()
                    };
                    let errors = [theirs.err(), ours.err()];
                    wrong.push(format!(
                        "{shown}\n--- theirs\n{}--- ours\n{}{errors:?}",
                        only(&left, &right),
                        only(&right, &left)
                    ));
                }
            }
            (false, false) => refused += 1,
            (false, true) if differences::deliberate_refusal(reply["error"].as_str().unwrap()) => refused += 1,
            (theirs, _) => wrong.push(format!("{shown}\nEC3: {theirs} {}\nours: {errors:?}", reply["error"])),
        }
        if wrong.len() > 2 {
            break;
        }
    }
    println!("merged templates: {same} the same, {refused} refused by both");
    assert!(wrong.is_empty(), "{}", wrong.join("\n=====\n"));
    assert!(same > 100, "{same}");
}

/// Both commands as a person runs them: `ec3 launch --dry-run -p` with credentials, and `marea radl merge --compat`.
#[test]
fn launched_templates() {
    let Some(mut oracle) = oracle("launched templates") else { return };
    let mut dice = Dice::new(number("MAREA_SEED", 5) as u64);
    let (mut same, mut refused) = (0, 0);
    while same + refused < 12 * number("MAREA_ORACLE", 1) {
        let launch = templates::launch(&mut dice);
        let request = json!({"op": "launch", "templates": launch.templates, "files": launch.files, "names": launch.names, "adds": launch.adds});
        let reply = oracle.ask(&request);
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in &launch.templates {
            std::fs::write(folder.path().join(format!("{name}.radl")), text).unwrap();
        }
        for (name, text) in &launch.files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_marea"));
        command.args(["radl", "merge", "--compat", "--dialect", "ec3", "--templates"]).arg(folder.path());
        command.args(&launch.names).args(launch.adds.iter().flat_map(|piece| ["--add", piece]));
        let out = command.current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        if reply["ok"] != true {
            let theirs = reply["error"].as_str().unwrap();
            assert!(!out.status.success() || differences::deliberate_refusal(theirs), "{launch:?}: {theirs}");
            refused += 1;
            continue;
        }
        assert!(out.status.success(), "{launch:?}: {said}");
        let theirs = reply["text"].as_str().unwrap();
        assert!(theirs.contains("geheim-4711"), "EC3 puts its credentials into the document: {theirs}");
        let ours = String::from_utf8(out.stdout).unwrap();
        assert!(!ours.contains("auth"), "D10: {ours}");
        let (theirs, ours) = (final_form(&mut oracle, theirs), final_form(&mut oracle, &ours));
        let mut found = Vec::new();
        differ("", &theirs.clone().unwrap_or_default(), &ours.clone().unwrap_or_default(), &mut found);
        assert!(theirs.is_ok() && found.is_empty(), "{launch:?}\n{found:#?}\n{:?} {:?}", theirs.err(), ours.err());
        same += 1;
    }
    println!("launched templates: {same} the same, {refused} refused by both");
    assert!(same > 3, "{same}");
}
