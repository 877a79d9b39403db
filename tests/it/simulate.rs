//! `marea simulate` from outside: figures that are worked out by hand, the same bytes each time, and what wrong input
//! gets.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn simulate(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_marea"));
    command.arg("--state").arg(folder.path()).arg("simulate").args(args).output().unwrap()
}

fn json(args: &[&str]) -> Value {
    let out = simulate(&[args, &["--json"]].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn way<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["ways"].as_array().unwrap().iter().find(|way| way["name"] == name).unwrap()
}

fn refuses(args: &[&str], words: &[&str]) {
    let out = simulate(args);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{args:?}: {text}");
    assert!(out.stdout.is_empty(), "{args:?} printed something as well");
    for word in words {
        assert!(text.contains(word), "{args:?} does not say `{word}`:\n{text}");
    }
}

const RACK: [&str; 2] = ["--policy", "tests/traces/rack.toml"];

#[test]
fn one_job_costs_what_one_works_out() {
    let report = json(&["tests/traces/one.swf", RACK[0], RACK[1]]);
    // Two machines of 16 CPUs, 10 W off, 100 W idle, 300 W at most; boot 60 s, shutdown 20 s, idle timeout 300 s.
    // Eight CPUs for 3600 s. CLUES is the last to be done: it powers on at 130, so the job ends at 130 + 60 + 3600.
    let span = 3790.0 + 3600.0;
    assert_eq!(report["span_s"], span);
    // The other machine is off all the time.
    let other = span * 10.0;
    let work = 3600.0 * (300.0 - 100.0) * 8.0 / 16.0;
    // Marea: on at 1, Ready at 61, done at 3661, idle for 300 s, 2 s of looking, gone 20 s later.
    let gone = 3661.0 + 300.0 + 2.0 + 20.0;
    let marea = other + (1.0 + span - gone) * 10.0 + 60.0 * 300.0 + (gone - 61.0) * 100.0 + work;
    assert_eq!(way(&report, "marea")["energy"]["joules"], marea);
    assert_eq!(way(&report, "marea")["wait"]["mean_s"], 61.0);
    // CLUES: idle from 3790 on, off in the first round after 1800 s more.
    let gone = 3790.0 + 1805.0 + 20.0;
    let clues = other + (130.0 + span - gone) * 10.0 + 60.0 * 300.0 + (gone - 190.0) * 100.0 + work;
    assert_eq!(way(&report, "clues")["energy"]["joules"], clues);
    assert_eq!(way(&report, "clues")["wait"]["p99_s"], 190.0);
    assert_eq!(way(&report, "always-on")["energy"]["joules"], 2.0 * span * 100.0 + work);
    assert_eq!(way(&report, "always-on")["wait"]["max_s"], 0.0);
    assert_eq!(report["lower_bound"]["joules"], 2.0 * span * 10.0 + 3600.0 * 90.0 + work);
    let cost = way(&report, "marea")["energy"]["cost"].as_f64().unwrap();
    assert!((cost - marea / 3.6e6 * 0.5).abs() < 1e-9 && report["price"]["currency"] == "CHF", "{cost}");
    let dearer = json(&["tests/traces/one.swf", RACK[0], RACK[1], "--price", "1"]);
    let twice = way(&dearer, "marea")["energy"]["cost"].as_f64().unwrap();
    assert!((twice - 2.0 * cost).abs() < 1e-9, "the option goes before the config");
}

#[test]
fn the_same_trace_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |name: &str| folder.path().join(name);
    let run = |name: &str, trace: &str, more: &[&str]| {
        let svg = draw(name);
        let out = simulate(&[&[trace, "--svg", svg.to_str().unwrap()], more].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        (out.stdout, std::fs::read_to_string(svg).unwrap())
    };
    for (trace, more) in [("tests/traces/lab.swf", &[][..]), ("tests/traces/burst.jsonl", &["--json"])] {
        let (one, other) = (run("one.svg", trace, more), run("other.svg", trace, more));
        assert_eq!(one, other, "{trace}");
        assert!(one.1.starts_with("<svg ") && one.1.ends_with("</svg>\n") && one.1.contains("pods waiting"));
        roxmltree::Document::parse(&one.1).unwrap();
    }
}

#[test]
fn a_lab_of_two_days() {
    let report = json(&["tests/traces/lab.swf"]);
    let (marea, always, clues) = (way(&report, "marea"), way(&report, "always-on"), way(&report, "clues"));
    let number = |value: &Value| value.as_f64().unwrap();
    let (kwh, bound) = (|way: &Value| number(&way["energy"]["kwh"]), number(&report["lower_bound"]["kwh"]));
    for one in [marea, always, clues] {
        assert!(bound <= kwh(one), "{one} beats {bound}");
        assert!(number(&always["wait"]["mean_s"]) <= number(&one["wait"]["mean_s"]), "{one}");
        assert_eq!((&one["unserved"], &one["evicted"]), (&Value::from(0), &Value::from(0)));
    }
    assert!(kwh(marea) < kwh(always), "{marea}");
    let left = report["trace"]["left_out"].as_object().unwrap();
    assert!(
        left["fits no machine"]["count"] == 1 && left["run time is not known"]["count"].as_u64() > Some(0),
        "{left:?}"
    );
    let text = simulate(&["tests/traces/lab.swf", "--against", "bound"]);
    let text = String::from_utf8(text.stdout).unwrap();
    for word in ["10 of pool wn: 16 CPUs", "fits no machine", "price     not known", "MEAN WAIT", "lower bound"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("clues") && !text.contains("always-on"), "{text}");
    // Machines as a document says them, with the config of a rack.
    let radl = simulate(&["tests/traces/burst.jsonl", "--radl", "radl/elastic-local.radl", "--against", "none"]);
    assert!(String::from_utf8_lossy(&radl.stdout).contains("of pool small"), "{radl:?}");
}

#[test]
fn the_example_in_the_docs_is_what_comes_out() {
    let page = std::fs::read_to_string("docs/simulate.md").unwrap();
    let (_, rest) = page.split_once("```console\n$ marea simulate ").unwrap();
    let (command, rest) = rest.split_once('\n').unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let out = simulate(&command.split(' ').collect::<Vec<_>>());
    let true_output = String::from_utf8(out.stdout).unwrap();
    assert_eq!(shown, true_output, "write this into docs/simulate.md:\n{true_output}");
}

#[test]
fn jobs_that_are_too_large_may_be_split() {
    let report = json(&["tests/traces/lab.swf", "--split", "16"]);
    assert!(!report["trace"]["left_out"].as_object().unwrap().contains_key("fits no machine"));
    assert_eq!(report["trace"]["jobs"], 412 + 4, "the job of 64 is four of 16");
}

#[test]
fn wrong_input_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    refuses(&["/nothing/here.swf"], &["/nothing/here.swf", "No such file"]);
    refuses(&[&file("few.swf", ";\n1 2 3\n")], &["few.swf:2: a job has 18 fields, this line has 3"]);
    refuses(&[&file("wrong.jsonl", "{\"at\": 0}\n")], &["wrong.jsonl:1: missing field `cpu`"]);
    refuses(&[&file("prose", "Once upon a time\n")], &["prose:1: this is no trace"]);
    refuses(&[&file("empty", "\n")], &["empty", "is empty"]);
    refuses(&[&file("only.swf", "; Version: 2.2\n")], &["there is no job"]);
    refuses(&["tests/traces/lab.swf", "--format", "jsonl"], &["lab.swf:1: "]);
    refuses(&["tests/traces/one.swf", "--price=-1"], &["a kWh costs nothing or more"]);
    refuses(&["tests/traces/one.swf", "--against", "everybody"], &["everybody", "clues"]);
    let config = |text: &str| file("marea.toml", text);
    let with = |config: String, words: &[&str]| refuses(&["tests/traces/one.swf", "--policy", &config], words);
    with(config("[energy]\nprise = 1\n"), &["marea.toml:2", "prise"]);
    with(config("[energy]\nboot = \"6m\"\n"), &["boot in 360 s", "boot_timeout"]);
    with(config("[[pool]]\nname = \"gpu\"\nmax = 2\n"), &["marea.toml:2", "gpu", "--radl"]);
    refuses(&[], &["TRACE"]);
}

#[test]
fn help_has_examples_and_a_pipe_is_a_trace() {
    let help = simulate(&["--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("Examples:"));
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_marea"));
    command.arg("--state").arg(folder.path()).args(["simulate", "-", "--json"]);
    let trace = std::fs::File::open(Path::new("tests/traces/burst.jsonl")).unwrap();
    let out = command.stdin(Stdio::from(trace)).output().unwrap();
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&report["trace"]["jobs"], &report["trace"]["source"]), (&Value::from(54), &Value::from("-")));
}

#[test]
fn a_journal_is_a_trace_and_is_only_read() {
    use marea::autoscaler::{Core, Event, step};
    use marea::model::pod::{Phase, Pod, PodId};
    use marea::simulate::Rack;
    use marea::store::journal::{Journal, Line};

    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut state) = (Journal::open(folder.path()).unwrap(), Core::default());
    let at = |seconds: i64| jiff::Timestamp::from_second(1_767_571_200 + seconds).unwrap();
    let pod = |name: &str, node: Option<&str>, phase: Phase| {
        let id = PodId { namespace: "work".to_owned(), name: name.to_owned() };
        let mut pod =
            Pod { id, uid: name.to_owned(), created: at(5), node: node.map(str::to_owned), phase, ..Pod::default() };
        (pod.requests.cpu_milli, pod.requests.pods) = (2000, 1);
        Event::PodApplied { pod }
    };
    let rack = Rack::usual(3);
    let events = [
        (0, Event::Started { machines: rack.machines, policy: rack.policy }),
        (1, Event::PodsListed { pods: vec![] }),
        (1, Event::NodesListed { nodes: vec![] }),
        (5, pod("a", None, Phase::Pending)),
        (5, pod("b", None, Phase::Pending)),
        (100, pod("a", Some("wn-1"), Phase::Running)),
        (400, pod("a", Some("wn-1"), Phase::Succeeded)),
    ];
    for (seconds, event) in events {
        let actions = step(&mut state, at(seconds), event.clone());
        journal.append(&[Line { at: at(seconds), event, actions }], &state).unwrap();
    }
    let path = folder.path().join("journal.db");
    let before = std::fs::read(&path).unwrap();
    for name in [folder.path(), &path] {
        let report = json(&[name.to_str().unwrap()]);
        assert_eq!((&report["trace"]["format"], &report["trace"]["jobs"]), (&Value::from("journal"), &Value::from(1)));
        assert_eq!(report["machines"][0]["count"], 3, "the machines that it was recorded on");
        assert_eq!(report["trace"]["cpu_hours"], 2.0 * 300.0 / 3600.0);
        assert_eq!(report["trace"]["left_out"]["it had not begun when the journal ends"]["first"][0], "work/b");
    }
    let other = json(&[path.to_str().unwrap(), "--policy", "tests/traces/rack.toml"]);
    assert_eq!(other["machines"][0]["watts"][1], 100.0, "another policy on the same machines");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    drop(journal);
    let folder = tempfile::tempdir().unwrap();
    let (none, damaged) = (folder.path().join("none"), folder.path().join("damaged"));
    std::fs::create_dir(&none).unwrap();
    std::fs::write(&damaged, [b"SQLite format 3\0".as_slice(), &[7; 5000]].concat()).unwrap();
    refuses(&[none.to_str().unwrap()], &["journal.db"]);
    refuses(&[damaged.to_str().unwrap()], &["damaged"]);
}
