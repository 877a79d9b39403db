//! The program from outside: what wrong input and a wrong world get, by exit code and words.

use std::path::Path;
use std::process::{Command, Output};

fn marea(state: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_marea")).arg("--state").arg(state).args(args).output().unwrap()
}

/// The program ends with `code` and says every one of `words`; the state folder is not touched.
fn refuses(args: &[&str], code: i32, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let out = marea(&state, args);
    let text = format!("{}{}", String::from_utf8_lossy(&out.stderr), String::from_utf8_lossy(&out.stdout));
    assert_eq!(out.status.code(), Some(code), "{args:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{args:?} does not say `{word}`:\n{text}");
    }
    assert!(!state.join("cluster.json").exists(), "{args:?} changed something");
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_wrong_document_is_wrong_use() {
    let folder = tempfile::tempdir().unwrap();
    let syntax = file(folder.path(), "syntax.radl", "system front (\n  cpu.count != 2\n)\ndeploy front 1\n");
    refuses(&["check", &syntax], 2, &["syntax.radl:2:", "^", "help"]);
    let text = std::fs::read_to_string("radl/elastic-local.radl").unwrap().replace("'containerd'", "'containered'");
    let unknown = file(folder.path(), "unknown.radl", &text);
    refuses(&["check", &unknown], 2, &["containered", "containerd"]);
    refuses(&["bootstrap", &unknown, "--plan"], 2, &["containered"]);
    refuses(&["check", "/nothing/here.radl"], 2, &["/nothing/here.radl"]);
}

#[test]
fn a_good_document_is_done_and_json_is_json() {
    let folder = tempfile::tempdir().unwrap();
    for shipped in ["radl/elastic-local.radl", "radl/elastic-machines.radl"] {
        let out = marea(folder.path(), &["check", shipped, "--format", "json"]);
        assert!(out.status.success());
        serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap();
    }
}

#[test]
fn a_wrong_config_is_wrong_use() {
    let folder = tempfile::tempdir().unwrap();
    let key = file(folder.path(), "key.toml", "provider = \"local\"\n\n[autoscaler]\nidle_timout = \"5s\"\n");
    let template = "radl/elastic-local.radl";
    refuses(&["bootstrap", template, "--config", &key, "--plan"], 2, &["key.toml:4", "idle_timout"]);
    refuses(&["run", "--config", &key], 2, &["idle_timout"]);
    let queue = file(folder.path(), "queue.toml", "\n[[queue]]\nname = \"x\"\nkind = \"kafka\"\n");
    refuses(&["run", "--config", &queue], 2, &["queue.toml:4", "kafka", "redis-list"]);
    let text = "[[queue]]\nname = \"x\"\nkind = \"redis-list\"\nurl = \"redis://h\"\n";
    let queue = file(folder.path(), "keyless.toml", text);
    refuses(&["run", "--config", &queue], 2, &["keyless.toml:2", "`key` is missing"]);
    // Two machines where the pool says that there are more.
    let few = file(
        folder.path(),
        "few.toml",
        "provider = \"command\"\n[[machine]]\nname = \"front\"\npool = \"front\"\naddress = \"192.0.2.1\"\non = [\"true\"]\noff = [\"true\"]\nstatus = [\"true\"]\n[[machine]]\nname = \"a\"\npool = \"small\"\naddress = \"192.0.2.2\"\non = [\"true\"]\noff = [\"true\"]\nstatus = [\"true\"]\n",
    );
    refuses(&["bootstrap", template, "--config", &few, "--plan"], 2, &["small", "2"]);
}

#[test]
fn wrong_functions_stop_a_bootstrap_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| file(folder.path(), name, text);
    let template = "radl/functions-local.radl";
    write("cow.sh", "echo moo\n");
    let cow = |cluster: &str, name: &str| format!("  - {cluster}: {{name: {name}, image: i, script: cow.sh}}\n");
    let good = write("good.yaml", &format!("functions:\n  oscar:\n{}", cow("lab", "cow")));
    let bare = "radl/elastic-local.radl";
    refuses(&["bootstrap", bare, "--functions", &good], 2, &["no recipe `functions`", "disk.0.applications"]);
    let typed = write("typed.yaml", &format!("functions:\n  oscar:\n{}", cow("lab", "cow, memory: 256")));
    refuses(&["bootstrap", template, "--functions", &typed], 2, &["typed.yaml:3:", "memory: 256 has no unit"]);
    let both = write("both.yaml", &format!("functions:\n  oscar:\n{}{}", cow("lab", "cow"), cow("far", "hen")));
    refuses(&["bootstrap", template, "--functions", &both], 2, &["several clusters (far, lab)", "--cluster"]);
    refuses(&["bootstrap", template, "--functions", "/nothing.yaml"], 2, &["/nothing.yaml", "No such file"]);
}

#[test]
fn a_missing_world_is_a_failure_that_says_what_to_do() {
    refuses(&["run"], 1, &["marea bootstrap"]);
    refuses(&["status"], 1, &["marea run"]);
    refuses(&["why", "node", "w1"], 1, &["marea run"]);
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().display().to_string();
    refuses(&["--bundle", &bundle, "bootstrap", "radl/elastic-local.radl", "--plan"], 1, &["marea bundle build"]);
    refuses(&["--bundle", &bundle, "bundle", "verify"], 1, &["marea bundle build"]);
}

#[test]
fn wrong_words_are_wrong_use_and_help_has_examples() {
    refuses(&["fly"], 2, &["fly"]);
    refuses(&["power", "sideways", "w1"], 2, &["sideways"]);
    let folder = tempfile::tempdir().unwrap();
    for command in ["bootstrap", "run", "status"] {
        let out = marea(folder.path(), &[command, "--help"]);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success() && text.contains("xample"), "{command}: {text}");
    }
    for args in [["completions", "bash"].as_slice(), &["man"]] {
        let out = marea(folder.path(), args);
        assert!(out.status.success() && out.stdout.len() > 1000, "{args:?}");
    }
}
