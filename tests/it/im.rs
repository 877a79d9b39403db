//! The IM provider against the real Infrastructure Manager with its Dummy cloud: a fleet up and down, a server that is
//! killed in between, credentials that are wrong, answers that are lost, slow or nonsense.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use marea::model::machine::{Off, Power};
use marea::provider::im::ImProvider;
use marea::provider::im::client::{Advice, ImClient, Settings};
use marea::provider::im::fragment::{Fragment, fragments, name};
use marea::provider::im::infrastructure::Infrastructure;
use marea::provider::im::vm::Made;
use marea::provider::{Provider as _, ProviderError};
use marea::radl;

use crate::bmc::self_signed;
use crate::im_server::{ImServer, Mode, Relay};

const DOCUMENT: &str = "network n ()\nsystem front (cpu.count>=1 and net_interface.0.connection='n' and disk.0.os.name='linux' and \
    disk.0.image.url='mock0://x' and disk.0.os.credentials.username='u' and disk.0.os.credentials.password='p')\n\
    system wn (cpu.count>=1 and memory.size>=512m and net_interface.0.connection='n' and disk.0.os.name='linux' and \
    disk.0.image.url='mock0://x' and disk.0.os.credentials.username='u' and disk.0.os.credentials.password='p' and ec3_max_instances = 100)\n";

fn auth(folder: &Path, password: &str) -> PathBuf {
    let path = folder.join(format!("auth-{password}"));
    std::fs::write(
        &path,
        format!("type = InfrastructureManager; username = user; password = {password}\nid = dummy; type = Dummy\n"),
    )
    .unwrap();
    path
}

fn client(url: &str, auth: &Path, seconds: u64) -> ImClient {
    let timeout = Duration::from_secs(seconds);
    ImClient::new(Settings { url: url.to_owned(), auth: auth.to_owned(), ca: None, timeout }).unwrap()
}

fn fleet(count: usize, reuse: bool) -> BTreeMap<String, Fragment> {
    let (document, wrong) = radl::parse(DOCUMENT);
    assert!(wrong.is_empty(), "{wrong:?}");
    let fragment = Fragment { reuse, ..fragments(&document)["wn"].clone() };
    (1..=count).map(|n| (format!("wn-{n}"), fragment.clone())).collect()
}

fn provider(client: ImClient, id: &str, machines: BTreeMap<String, Fragment>) -> ImProvider {
    ImProvider::new(client, id.to_owned(), machines, 32, Duration::from_secs(60))
}

/// An infrastructure with a front-end that nobody here is to touch.
async fn infrastructure(client: &ImClient) -> String {
    let front = fragments(&radl::parse(DOCUMENT).0)["front"].of("front") + "contextualize ()\n";
    let id = client.create(&front).await.unwrap();
    assert!(client.infrastructures().await.unwrap().contains(&id));
    id
}

/// The names that virtual machines bear, one for each.
async fn names(client: &ImClient, id: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (vm, _) in client.states(id).await.unwrap() {
        let radl = client.machine(id, &vm).await.unwrap();
        names.push(name(&radl, &vm).unwrap_or_default());
    }
    names.sort();
    names
}

/// The provider says of each machine what the server itself says: by another question, machine by machine.
async fn sees_what_is_there(one: &ImProvider, plain: &ImClient, id: &str, machines: &[String]) {
    one.all().await.unwrap();
    let there = names(plain, id).await;
    let mut distinct = there.clone();
    distinct.dedup();
    assert_eq!(distinct, there, "one virtual machine for each name");
    for name in machines {
        let is = if there.contains(name) { Power::On } else { Power::Off };
        assert_eq!(one.power(name).await.unwrap(), is, "{name}: {there:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_goes_up_and_down_and_a_killed_server_makes_nothing_twice() {
    let at = tempfile::tempdir().unwrap();
    let Some(mut server) = ImServer::start("im", at.path()) else { return };
    let auth = auth(at.path(), "right");
    let plain = client(&server.url(), &auth, 60);
    assert_eq!(plain.version().await.unwrap().trim(), "2.0.0");
    let id = infrastructure(&plain).await;
    let machines = fleet(40, false);
    let all: Vec<String> = machines.keys().cloned().collect();
    let one = provider(client(&server.url(), &auth, 60), &id, machines.clone());
    assert_eq!(one.power("wn-1").await.unwrap(), Power::Off);
    for up in join_all(all.iter().take(6).map(|name| one.power_on(name))).await {
        up.unwrap();
    }
    one.power_on("wn-1").await.expect("on again is a success");
    assert_eq!(one.power("wn-1").await.unwrap(), Power::On);
    sees_what_is_there(&one, &plain, &id, &all).await;

    // Killed in the middle of the rest, when it is seen to make some of them (and has written down the first of these),
    // and started again.
    let rest = join_all(all.iter().skip(6).map(|name| one.power_on(name)));
    let killed = async {
        while plain.whole(&id).await.unwrap().iter().filter(|vm| vm.made == Made::UnderWay).count() < 4 {}
        server.kill();
    };
    let (orders, ()) = tokio::join!(rest, killed);
    let lost: Vec<ProviderError> = orders.into_iter().filter_map(Result::err).collect();
    assert!(!lost.is_empty() && lost.iter().all(|error| matches!(error, ProviderError::Failed { .. })), "{lost:?}");
    assert!(one.power("wn-1").await.is_err(), "what was seen before is not believed");
    server.up();
    let before = plain.whole(&id).await.unwrap();
    assert!(before.iter().any(|vm| vm.made == Made::Left), "it was killed in the middle: {before:?}");
    // At each look what is said is what is there; and each order, given once more, is good for ever.
    sees_what_is_there(&one, &plain, &id, &all).await;
    let (again, others) = all.split_at(20);
    for some in [again, others, again] {
        for up in join_all(some.iter().map(|name| one.power_on(name))).await {
            up.unwrap();
        }
        sees_what_is_there(&one, &plain, &id, &all).await;
        for name in some {
            assert_eq!(one.power(name).await.unwrap(), Power::On, "{name}");
        }
    }
    let mut expected: Vec<String> = all.iter().cloned().chain(["front".to_owned()]).collect();
    expected.sort();
    assert_eq!(names(&plain, &id).await, expected, "one virtual machine for each name");

    // A person removes one, and adds one of another name: noticed, not fought.
    let states = plain.states(&id).await.unwrap();
    let mut removed = String::new();
    for vm in states.keys() {
        let name = name(&plain.machine(&id, vm).await.unwrap(), vm).unwrap_or_default();
        if name == "wn-3" {
            plain.remove(&id, std::slice::from_ref(vm), false).await.unwrap();
            removed = name;
        }
    }
    assert_eq!(removed, "wn-3");
    plain.add(&id, &machines["wn-1"].of("theirs"), false).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(one.power("wn-3").await.unwrap(), Power::Off);
    let strangers = one.strangers().await.unwrap();
    assert!(strangers.len() == 2 && strangers.iter().any(|vm| vm.name == "theirs"), "{strangers:?}");
    for down in join_all(all.iter().map(|name| one.power_off(name, Off::Graceful))).await {
        down.unwrap();
    }
    assert_eq!(names(&plain, &id).await, ["front", "theirs"], "what is not ours stays");

    // Stopped and started, where the document wants that.
    let reused = provider(client(&server.url(), &auth, 60), &id, fleet(1, true));
    reused.power_on("wn-1").await.unwrap();
    reused.power_off("wn-1", Off::Graceful).await.unwrap();
    assert!(names(&plain, &id).await.contains(&"wn-1".to_owned()), "it is stopped, and there");
    assert_eq!(reused.power("wn-1").await.unwrap(), Power::Off);
    reused.power_on("wn-1").await.unwrap();
    assert_eq!(reused.power("wn-1").await.unwrap(), Power::On);
    assert_eq!(names(&plain, &id).await.len(), 3);

    plain.destroy(&id).await.unwrap();
    // What was seen a moment ago is believed for so long.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let error = reused.power_on("wn-1").await.unwrap_err();
    assert!(matches!(&error, ProviderError::Refused { reason, .. } if reason.contains("it was destroyed")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_with_what_to_do_about_it() {
    let at = tempfile::tempdir().unwrap();
    let Some(server) = ImServer::start("im", at.path()) else { return };
    let right = client(&server.url(), &auth(at.path(), "right"), 60);
    let id = infrastructure(&right).await;
    let stranger = client(&server.url(), &auth(at.path(), "wrong"), 60);
    let error = stranger.states(&id).await.unwrap_err();
    assert!(
        error.advice == Advice::Tell && error.text.contains("auth file") && !error.text.contains("= wrong"),
        "{error}"
    );
    let one = provider(stranger, &id, fleet(1, false));
    assert!(matches!(one.power("wn-1").await, Err(ProviderError::Refused { .. })));

    let error = right.add(&id, "system wn (", false).await.unwrap_err();
    assert_eq!(error.advice, Advice::Tell, "{error}");
    let error = right.add(&id, "deploy nobody 1\n", false).await.unwrap_err();
    assert!(error.advice == Advice::Tell && error.text.contains("Invalid system id"), "{error}");
    assert_eq!(right.machine(&id, "99").await.unwrap_err().advice, Advice::Gone);
    assert_eq!(right.states("nowhere").await.unwrap_err().advice, Advice::Gone);
    let error =
        client(&format!("{}/elsewhere", server.url()), &auth(at.path(), "right"), 60).states(&id).await.unwrap_err();
    assert_eq!(error.advice, Advice::GiveUp, "{error}");
    let error = client("http://127.0.0.1:1", &auth(at.path(), "right"), 60).states(&id).await.unwrap_err();
    assert_eq!(error.advice, Advice::Retry, "{error}");
}

/// A server that speaks TLS is believed by the certificates that are trusted, and by nothing else: no word is said to another.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_by_its_certificate() {
    let at = tempfile::tempdir().unwrap();
    let (certificate, _) = self_signed(at.path());
    let Some(server) = ImServer::start("im", at.path()) else { return };
    let (url, auth) = (server.url().replace("http:", "https:"), auth(at.path(), "right"));
    let client = |ca: Option<&Path>| {
        let (url, auth, ca, timeout) = (url.clone(), auth.clone(), ca.map(Path::to_owned), Duration::from_secs(60));
        ImClient::new(Settings { url, auth, ca, timeout })
    };
    let error = client(None).unwrap().version().await.unwrap_err();
    assert!(error.advice == Advice::Tell && error.text.contains("certificate"), "{error}");
    assert_eq!(client(Some(&certificate)).unwrap().version().await.unwrap().trim(), "2.0.0");
    let elsewhere = at.path().join("nothing.pem");
    assert!(client(Some(&elsewhere)).unwrap_err().contains("nothing.pem"));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_slow_or_nonsense_make_nothing_twice_and_prove_nothing() {
    let at = tempfile::tempdir().unwrap();
    let Some(server) = ImServer::start("im", at.path()) else { return };
    let auth = auth(at.path(), "right");
    let plain = client(&server.url(), &auth, 60);
    let id = infrastructure(&plain).await;
    let relay = Relay::before(server.port).await;
    let one = provider(client(&relay.url, &auth, 5), &id, fleet(3, false));

    relay.set(Mode::LosesAnswer);
    let error = one.power_on("wn-1").await.unwrap_err();
    assert!(matches!(error, ProviderError::Failed { .. }), "{error}");
    relay.set(Mode::Honest);
    one.power_on("wn-1").await.expect("it is found to be there");
    assert_eq!(names(&plain, &id).await, ["front", "wn-1"], "one, though the first answer was lost");

    relay.set(Mode::DoesNothing);
    let error = one.power_on("wn-2").await.unwrap_err().to_string();
    assert!(error.contains("made nothing"), "{error}");
    assert_eq!(one.power("wn-2").await.unwrap(), Power::Off);

    relay.set(Mode::Garbles);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let error = one.power("wn-1").await.unwrap_err();
    assert!(matches!(&error, ProviderError::Failed { reason, .. } if reason.contains("not known")), "{error}");
    relay.set(Mode::Sleeps);
    let slow = provider(client(&relay.url, &auth, 1), &id, fleet(3, false));
    let error = slow.power("wn-1").await.unwrap_err();
    assert!(
        matches!(&error, ProviderError::Failed { reason, .. } if reason.contains("did not answer within 1 s")),
        "{error}"
    );
    plain.destroy(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_machines_are_made_and_removed_each_once() {
    let at = tempfile::tempdir().unwrap();
    let Some(server) = ImServer::start("im", at.path()) else { return };
    let auth = auth(at.path(), "right");
    let plain = client(&server.url(), &auth, 300);
    let id = infrastructure(&plain).await;
    let machines = fleet(1000, false);
    let relay = Relay::before(server.port).await;
    let patience = Duration::from_secs(600);
    let one = ImProvider::new(client(&relay.url, &auth, 300), id.clone(), machines.clone(), 64, patience);
    for up in join_all(machines.keys().map(|name| one.power_on(name))).await {
        up.unwrap();
    }
    let mut expected: Vec<String> = machines.keys().cloned().chain(["front".to_owned()]).collect();
    expected.sort();
    assert_eq!(names(&plain, &id).await, expected);
    let (added, _) = relay.orders();
    assert!((16..=100).contains(&added), "those that wait go together, 64 at most: {added}");
    for down in join_all(machines.keys().map(|name| one.power_off(name, Off::Graceful))).await {
        down.unwrap();
    }
    assert_eq!(names(&plain, &id).await, ["front"]);
    let (_, removed) = relay.orders();
    assert!((1..=100).contains(&removed), "and so do removals: {removed}");
    plain.destroy(&id).await.unwrap();
}

fn marea(state: &Path, words: &[&str]) -> (i32, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_marea"))
        .args(words)
        .env("MAREA_STATE", state)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_whose_virtual_machines_are_and_removes_only_nobodys() {
    let at = tempfile::tempdir().unwrap();
    let Some(server) = ImServer::start("im", at.path()) else { return };
    let auth = auth(at.path(), "right");
    let plain = client(&server.url(), &auth, 60);
    let id = infrastructure(&plain).await;
    let machines = fleet(1, false);
    plain.add(&id, &machines["wn-1"].of("wn-1"), false).await.unwrap();
    plain.add(&id, &machines["wn-1"].of("theirs"), false).await.unwrap();
    let state = at.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let known = Infrastructure {
        id: Some(id.clone()),
        fragments: BTreeMap::from([("wn".to_owned(), machines["wn-1"].clone())]),
        machines: BTreeMap::from([("front".to_owned(), "wn".to_owned()), ("wn-1".to_owned(), "wn".to_owned())]),
        ..Infrastructure::default()
    };
    std::fs::write(state.join("im.json"), serde_json::to_string(&known).unwrap()).unwrap();
    let config = at.path().join("marea.toml");
    let text = format!("provider = \"im\"\n[im]\nurl = \"{}\"\nauth = \"{}\"\n", server.url(), auth.display());
    std::fs::write(&config, text).unwrap();
    let config = config.display().to_string();

    let (code, text) = marea(&state, &["im", "list", "--config", &config]);
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(code == 0 && line("wn-1").contains("ours") && line("theirs").contains("nobody's"), "{text}");
    let number = |name: &str| line(name).split_whitespace().next().unwrap_or_default().to_owned();
    let (ours, theirs) = (number("wn-1"), number("theirs"));
    let (code, text) = marea(&state, &["im", "remove", &theirs, &ours, "--config", &config]);
    assert!(code == 2 && text.contains("is machine `wn-1`") && text.contains("nothing was removed"), "{text}");
    assert_eq!(names(&plain, &id).await, ["front", "theirs", "wn-1"]);
    let (code, text) = marea(&state, &["im", "remove", &theirs, "--config", &config]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(names(&plain, &id).await, ["front", "wn-1"]);

    // All of it goes with the cluster, and a second time there is nothing left to do.
    let (code, text) = marea(&state, &["destroy", "--yes"]);
    assert!(code == 1 && text.contains("--config"), "{text}");
    let (code, text) = marea(&state, &["destroy", "--yes", "--config", &config]);
    assert_eq!(code, 0, "{text}");
    assert!(!plain.infrastructures().await.unwrap().contains(&id) && !state.exists());
}

/// A document without recipes, so that no bundle is needed, on a Dummy cloud, whose machines nobody can reach.
fn site(at: &Path, url: &str, auth: &Path) -> (PathBuf, Vec<String>) {
    let file = |name: &str, text: &str| {
        std::fs::write(at.join(name), text).unwrap();
        at.join(name).display().to_string()
    };
    std::fs::create_dir_all(at.join("bundle")).unwrap();
    file("bundle/index.txt", "");
    let wn = "ec3_max_instances = 100";
    let radl = DOCUMENT
        .replace(wn, "ec3_max_instances = 2 and ec3_golden_images = 'true'")
        .replace("cpu.count>=1 and net", "cpu.count>=1 and memory.size>=512m and net");
    let radl = file("site.radl", &(radl + "deploy front 1\ndeploy wn 1\n"));
    let config = file(
        "marea.toml",
        &format!(
            "provider = \"im\"\n[im]\nurl = \"{url}\"\nauth = \"{}\"\n[autoscaler]\nboot_timeout = \"1s\"\n[service]\ninstall = false\n",
            auth.display()
        ),
    );
    let bundle = at.join("bundle").display().to_string();
    let words = ["bootstrap", &radl, "--config", &config, "--bundle", &bundle].map(str::to_owned);
    (at.join("state"), words.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_makes_one_infrastructure_though_the_answer_is_lost_and_goes_on_over_ssh() {
    let at = tempfile::tempdir().unwrap();
    let Some(server) = ImServer::start("im", at.path()) else { return };
    let auth = auth(at.path(), "right");
    let plain = client(&server.url(), &auth, 60);
    let relay = Relay::before(server.port).await;
    let (state, words) = site(at.path(), &relay.url, &auth);
    let run = || {
        let (state, words) = (state.clone(), words.clone());
        async {
            tokio::task::spawn_blocking(move || marea(&state, &words.iter().map(String::as_str).collect::<Vec<_>>()))
                .await
                .unwrap()
        }
    };
    // Every order is carried out, and no answer to one comes back.
    relay.set(Mode::LosesAnswer);
    let (code, text) = run().await;
    assert_eq!(code, 1, "{text}");
    let known = Infrastructure::read(&state).unwrap().unwrap();
    let id = known.id.expect("it was found by its mark");
    assert_eq!(plain.infrastructures().await.unwrap(), [id.as_str()], "made once");

    relay.set(Mode::Honest);
    let (code, text) = run().await;
    // The machines are there and configured; that of the cloud is not reached, because it is none.
    assert!(code == 1 && text.contains("configured") && text.contains("is at 10.0.0.1"), "{text}");
    assert!(text.contains("no SSH to `front`"), "{text}");
    assert_eq!(names(&plain, &id).await, ["front", "wn-1", "wn-2"], "each once");
    assert_eq!(plain.infrastructures().await.unwrap(), [id.as_str()]);

    // Of the first worker an image was made, and another that is added is made from it.
    let known = Infrastructure::read(&state).unwrap().unwrap();
    assert!(text.contains("its image") && known.images["wn"].ends_with(&format!("{id}-wn")), "{text}");
    let ours = provider(client(&server.url(), &auth, 60), &id, known.by_machine());
    ours.power_off("wn-2", Off::Graceful).await.unwrap();
    ours.power_on("wn-2").await.unwrap();
    assert!(ours.radl("wn-2").await.unwrap().unwrap().contains(&known.images["wn"]));

    // Gone meanwhile: told, and not made anew.
    plain.destroy(&id).await.unwrap();
    let (code, text) = run().await;
    assert!(code == 1 && text.contains(&id) && text.contains("marea destroy"), "{text}");
    assert!(plain.infrastructures().await.unwrap().is_empty());
}

/// A cluster as EC3 and CLUES leave it: a class for workers, and a system of its own for each that was added.
const EC3: &str = "network n ()\nsystem front (cpu.count>=1 and memory.size>=512m and net_interface.0.connection='n' and net_interface.0.dns_name='kubeserver' and \
    disk.0.os.name='linux' and disk.0.image.url='mock0://x' and disk.0.os.credentials.username='u' and disk.0.os.credentials.password='p')\n\
    system wn (cpu.count>=1 and memory.size>=512m and net_interface.0.connection='n' and disk.0.os.name='linux' and ec3_max_instances = 3 and \
    ec3_destroy_interval = 3600 and ec3_destroy_safe = 300 and ec3_node_type = 'wn' and \
    disk.0.image.url='mock0://x' and disk.0.os.credentials.username='u' and disk.0.os.credentials.password='p')\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_running_cluster_of_ec3_is_taken_over_as_it_is() {
    let at = tempfile::tempdir().unwrap();
    let Some(server) = ImServer::start("im", at.path()) else { return };
    let auth = auth(at.path(), "right");
    let plain = client(&server.url(), &auth, 60);
    let id = plain.create(&format!("{EC3}contextualize ()\ndeploy front 1\n")).await.unwrap();
    let node = |n: u32| {
        let (network, rest) = EC3.split_at(EC3.find("system front").unwrap());
        let wn = &rest[rest.find("system wn").unwrap()..];
        let node = wn
            .replace("system wn (", &format!("system wn{n} (ec3_class='wn' and net_interface.0.dns_name='wn{n}' and "));
        format!("{network}{node}deploy wn{n} 1\n")
    };
    plain.add(&id, &node(2), false).await.unwrap();
    let (state, words) = site(at.path(), &server.url(), &auth);
    let kubeconfig = at.path().join("admin.conf");
    std::fs::write(&kubeconfig, "apiVersion: v1\nkind: Config\n").unwrap();
    let take = |id: &str| {
        marea(&state, &["import", "--im", id, "--config", &words[3], "--kubeconfig", &kubeconfig.display().to_string()])
    };
    let (code, text) = take("nowhere");
    assert!(code == 1 && text.contains("Invalid infrastructure ID"), "{text}");
    let (code, text) = take(&id);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("stop CLUES"), "{text}");
    let cluster: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(state.join("cluster.json")).unwrap()).unwrap();
    let machines: Vec<&str> =
        cluster["machines"].as_array().unwrap().iter().map(|machine| machine["name"].as_str().unwrap()).collect();
    assert_eq!(machines, ["kubeserver", "wn1", "wn2", "wn3"], "{text}");
    assert_eq!(cluster["machines"][0]["address"], "10.0.0.1");
    assert!(std::fs::read_to_string(state.join("im-export.json")).unwrap().contains(&id));
    let known = Infrastructure::read(&state).unwrap().unwrap();
    assert_eq!((known.terms["wn"].paid, known.terms["wn"].before), (3600, 300));

    // The one that is there is known, and another is added beside it.
    let ours = provider(client(&server.url(), &auth, 60), &id, known.by_machine());
    assert_eq!(ours.power("wn2").await.unwrap(), Power::On);
    ours.power_on("wn1").await.unwrap();
    assert_eq!(names(&plain, &id).await, ["kubeserver", "wn1", "wn2"]);
    assert!(ours.strangers().await.unwrap().is_empty(), "all that EC3 made are known");
    ours.power_off("wn2", Off::Graceful).await.unwrap();
    assert_eq!(names(&plain, &id).await, ["kubeserver", "wn1"]);
    let (code, text) = take(&id);
    assert_eq!(code, 0, "again: {text}");
    plain.destroy(&id).await.unwrap();
}
