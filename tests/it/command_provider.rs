//! The command provider with real commands: small scripts that keep a machine's power in a file.

#![allow(clippy::unwrap_used, reason = "it is a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use marea::model::machine::{Off, Power};
use marea::provider::command::{CommandProvider, Commands};
use marea::provider::{Provider as _, ProviderError};

fn sh(script: &str, at: &Path) -> Vec<String> {
    ["sh", "-c", script, "sh", at.to_str().unwrap()].map(str::to_owned).to_vec()
}

/// A machine that is on while the file `power` is there.
fn commands(at: &Path) -> Commands {
    Commands {
        on: sh("echo on >> $1/calls; touch $1/power", at),
        off: sh("echo off >> $1/calls; rm -f $1/power", at),
        off_hard: Some(sh("echo hard >> $1/calls; rm -f $1/power", at)),
        status: sh("test -e $1/power", at),
        timeout: 5,
    }
}

fn provider(commands: Commands) -> CommandProvider {
    let machines = BTreeMap::from([("w1".to_owned(), commands)]);
    CommandProvider::new(machines).unwrap().with_glance(Duration::from_millis(20))
}

fn calls(at: &Path) -> String {
    std::fs::read_to_string(at.join("calls")).unwrap_or_default()
}

#[tokio::test]
async fn a_machine_goes_on_and_off_and_each_can_be_repeated() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let provider = provider(commands(at));
    assert_eq!(provider.power("w1").await.unwrap(), Power::Off);
    provider.power_on("w1").await.unwrap();
    provider.power_on("w1").await.unwrap();
    assert_eq!(provider.power("w1").await.unwrap(), Power::On);
    provider.power_off("w1", Off::Graceful).await.unwrap();
    provider.power_off("w1", Off::Graceful).await.unwrap();
    provider.power_on("w1").await.unwrap();
    provider.power_off("w1", Off::Hard).await.unwrap();
    assert_eq!(provider.power("w1").await.unwrap(), Power::Off);
    assert_eq!(calls(at), "on\noff\non\nhard\n");
    assert_eq!(provider.list().await.unwrap(), ["w1"]);
}

#[tokio::test]
async fn without_a_hard_command_the_soft_one_serves() {
    let at = tempfile::tempdir().unwrap();
    let provider = provider(Commands { off_hard: None, ..commands(at.path()) });
    provider.power_on("w1").await.unwrap();
    provider.power_off("w1", Off::Hard).await.unwrap();
    assert_eq!(calls(at.path()), "on\noff\n");
}

#[tokio::test]
async fn off_is_awaited_until_it_is_seen() {
    let at = tempfile::tempdir().unwrap();
    let provider =
        provider(Commands { off: sh("(sleep 0.4; rm $1/power) >/dev/null 2>&1 &", at.path()), ..commands(at.path()) });
    provider.power_on("w1").await.unwrap();
    provider.power_off("w1", Off::Graceful).await.unwrap();
    assert!(!at.path().join("power").exists());
}

#[tokio::test]
async fn a_machine_that_stays_on_is_an_error_in_its_time() {
    let at = tempfile::tempdir().unwrap();
    let provider = provider(Commands { off: vec!["true".to_owned()], timeout: 1, ..commands(at.path()) });
    provider.power_on("w1").await.unwrap();
    let error = provider.power_off("w1", Off::Graceful).await.unwrap_err();
    assert!(matches!(error, ProviderError::TimedOut { what: "power off", seconds: 1, .. }), "{error}");
}

#[tokio::test]
async fn an_off_command_that_fails_but_works_is_a_success_and_one_that_only_fails_is_not() {
    let at = tempfile::tempdir().unwrap();
    let works = provider(Commands {
        off: sh("rm $1/power; echo connection closed >&2; exit 255", at.path()),
        ..commands(at.path())
    });
    works.power_on("w1").await.unwrap();
    works.power_off("w1", Off::Graceful).await.unwrap();
    let fails =
        provider(Commands { off: sh("echo no route to the controller >&2; exit 4", at.path()), ..commands(at.path()) });
    fails.power_on("w1").await.unwrap();
    let error = fails.power_off("w1", Off::Graceful).await.unwrap_err().to_string();
    assert!(error.contains("no route to the controller") && error.contains("exit status: 4"), "{error}");
}

#[tokio::test]
async fn a_status_that_fails_is_never_off() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    for (script, power) in [
        ("exit 0", Some(Power::On)),
        ("exit 1", Some(Power::Off)),
        ("exit 3", Some(Power::Off)),
        ("exit 2", None),
        ("exit 255", None),
        ("kill -9 $$", None),
    ] {
        let seen = provider(Commands { status: sh(script, at), ..commands(at) }).power("w1").await;
        assert_eq!(seen.ok(), power, "{script}");
    }
    let blind = provider(Commands { status: vec!["marea-no-such-program".to_owned()], ..commands(at) });
    let error = blind.power_on("w1").await.unwrap_err().to_string();
    assert!(error.contains("marea-no-such-program"), "{error}");
    assert_eq!(calls(at), "", "nothing is switched blindly");
}

#[tokio::test]
async fn an_error_ends_with_the_last_twenty_lines() {
    let at = tempfile::tempdir().unwrap();
    let provider =
        provider(Commands { on: sh("seq 100000; echo worse >&2; exit 7", at.path()), ..commands(at.path()) });
    let error = provider.power_on("w1").await.unwrap_err().to_string();
    assert!(error.ends_with("100000\n    worse") && error.contains("exit status: 7"), "{error}");
    assert_eq!(error.lines().count(), 21, "{error}");
}

#[tokio::test]
async fn at_its_limit_a_command_dies_with_its_children() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let script = "sleep 1000 & echo $! > $1/child; echo $$ > $1/parent; wait";
    let provider = provider(Commands { on: sh(script, at), timeout: 1, ..commands(at) });
    let error = provider.power_on("w1").await.unwrap_err();
    assert!(matches!(error, ProviderError::TimedOut { what: "power on", .. }), "{error}");
    for file in ["child", "parent"] {
        let pid = std::fs::read_to_string(at.join(file)).unwrap();
        // The kernel takes a moment; then the child may wait as a zombie for whoever adopted it.
        let alive =
            || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "));
        for _ in 0..100 {
            if alive() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        assert!(!alive(), "{file} lives on");
    }
}

#[tokio::test]
async fn what_a_command_leaves_running_does_not_hold_it_up() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let provider = provider(Commands { on: sh("sleep 30 & echo $! > $1/child; touch $1/power", at), ..commands(at) });
    provider.power_on("w1").await.expect("it ended, though its child holds its output open");
    let pid: i32 = std::fs::read_to_string(at.join("child")).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it may go on: a virtual machine would");
}

#[tokio::test]
async fn arguments_are_given_as_they_stand() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let odd = "$(touch injected); `x` * 'q' \"d\" & | >";
    let on = vec!["touch".to_owned(), at.join(odd).display().to_string()];
    provider(Commands { on, ..commands(at) }).power_on("w1").await.unwrap();
    assert!(at.join(odd).exists());
}

#[tokio::test]
async fn a_machine_that_is_not_declared_and_commands_that_cannot_be_are_refused() {
    let at = tempfile::tempdir().unwrap();
    let error = provider(commands(at.path())).power("w2").await.unwrap_err();
    assert!(matches!(error, ProviderError::NoSuchMachine { .. }));
    for (bad, word) in [
        (Commands { on: vec![], ..commands(at.path()) }, "`on` of machine `w1`"),
        (Commands { off_hard: Some(vec![String::new()]), ..commands(at.path()) }, "`off_hard` of machine `w1`"),
        (Commands { timeout: 0, ..commands(at.path()) }, "`timeout` of machine `w1`"),
    ] {
        let error = CommandProvider::new(BTreeMap::from([("w1".to_owned(), bad)])).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn the_configuration_is_strict_and_has_a_usual_limit() {
    let text = "on = ['a']\noff = ['b']\nstatus = ['c', 'd']\n";
    let read: Commands = toml::from_str(text).unwrap();
    assert_eq!((read.timeout, read.off_hard), (60, None));
    assert!(toml::from_str::<Commands>(&format!("{text}onn = ['x']\n")).is_err());
}
