//! Machines of metal through the config's own words, against real BMCs: `ipmi_sim` and sushy-tools. What they switch
//! is a real process. A machine's address is one where nobody answers, unless the test says otherwise.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use marea::autoscaler::Event;
use marea::cli::providers;
use marea::config::Loaded;
use marea::daemon::observer::{Rounds, observe};
use marea::model::machine::{Off, Power};
use marea::provider::{Provider, ProviderError};

use crate::bmc::{IpmiSim, MeasuringBmc, RedfishBmc, end_machine, process_machine};

/// Reserved for documentation: nobody is there.
const NOBODY: &str = "192.0.2.7";

fn provider(folder: &Path, text: &str) -> Arc<dyn Provider> {
    let config = Loaded::parse("marea.toml", text).unwrap();
    providers::declared(&config, folder).unwrap()
}

fn password(folder: &Path, text: &str) -> String {
    let path = folder.join("password");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn ipmi(folder: &Path, port: u16, user: &str, address: &str) -> String {
    format!(
        "provider = \"ipmi\"\n[power]\noff_patience = \"1500ms\"\n[ipmi]\nuser = \"{user}\"\npassword_file = \"{}\"\ncipher = 3\ntimeout = \"6s\"\n\
         [[machine]]\nname = \"w1\"\npool = \"wn\"\naddress = \"{address}\"\nipmi = {{ address = \"127.0.0.1\", port = {port} }}\n",
        folder.join("password").display()
    )
}

fn calls(script: &Path) -> Vec<String> {
    let text = fs::read_to_string(script.with_extension("calls")).unwrap_or_default();
    text.lines().filter(|line| line.starts_with("set")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_by_ipmi_switches_a_real_machine_in_every_way() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let script = process_machine(at, "m");
    let Some(sim) = IpmiSim::start("ipmi", at, "bmc", "s3cret-word", &script) else { return };
    password(at, "s3cret-word\n");
    let provider = provider(at, &ipmi(at, sim.port, "admin", NOBODY));

    // Whoever looks at the processes of this computer meanwhile sees no password.
    let looking = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let seen = {
        let looking = Arc::clone(&looking);
        std::thread::spawn(move || {
            let mut seen = 0;
            while looking.load(std::sync::atomic::Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    let line = String::from_utf8_lossy(&line).replace('\0', " ");
                    if line.starts_with("ipmitool ") {
                        seen += 1;
                        assert!(!line.contains("s3cret"), "{line}");
                    }
                }
            }
            seen
        })
    };
    assert_eq!(provider.power("w1").await.unwrap(), Power::Off);
    provider.power_on("w1").await.unwrap();
    provider.power_on("w1").await.expect("on again is a success");
    assert_eq!(provider.power("w1").await.unwrap(), Power::On);
    provider.power_off("w1", Off::Graceful).await.unwrap();
    assert_eq!(provider.power("w1").await.unwrap(), Power::Off);
    assert_eq!(calls(&script), ["set power 1", "set shutdown 1"], "nothing is done twice");
    looking.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(seen.join().unwrap() > 0, "ipmitool was seen at work");

    // One that does not hear is an error in its time; then its power is cut.
    provider.power_on("w1").await.unwrap();
    fs::write(at.join("deaf"), "").unwrap();
    let error = provider.power_off("w1", Off::Graceful).await.unwrap_err();
    assert!(matches!(error, ProviderError::TimedOut { what: "power off", .. }), "{error}");
    assert_eq!(provider.power("w1").await.unwrap(), Power::On);
    provider.power_off("w1", Off::Hard).await.unwrap();
    assert_eq!(provider.power("w1").await.unwrap(), Power::Off);

    provider.power_on("w1").await.unwrap();
    let before = fs::read_to_string(at.join("m.pid")).unwrap();
    provider.power_cycle("w1").await.unwrap();
    let mut after = before.clone();
    for _ in 0..100 {
        after = fs::read_to_string(at.join("m.pid")).unwrap_or_default();
        if after != before && !after.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(after != before && !after.is_empty(), "it is another process after a power cycle");
    end_machine(&script);
    assert_eq!(provider.watts("w1").await, None, "this BMC measures nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_bmc_is_named_and_nothing_is_switched() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let script = process_machine(at, "m");
    let Some(sim) = IpmiSim::start("ipmi", at, "bmc", "right", &script) else { return };
    let file = password(at, "wrong\n");
    let text = ipmi(at, sim.port, "admin", NOBODY);
    let one = provider(at, &text);
    let error = one.power_on("w1").await.unwrap_err();
    assert!(
        matches!(&error, ProviderError::Refused { reason, .. } if reason.contains("does not take the password of `admin`")),
        "{error}"
    );
    assert!(!error.to_string().contains("wrong\""), "{error}");
    // A mended password is taken up without a new start.
    fs::write(&file, "right\n").unwrap();
    assert_eq!(one.power("w1").await.unwrap(), Power::Off);

    for (user, cipher, word) in
        [("nobody", "3", "has no user `nobody`"), ("admin", "17", "does not speak cipher suite 17")]
    {
        let text =
            text.replace("\"admin\"", &format!("\"{user}\"")).replace("cipher = 3", &format!("cipher = {cipher}"));
        let error = provider(at, &text).power("w1").await.unwrap_err();
        assert!(
            matches!(&error, ProviderError::Refused { reason, .. } if reason.contains(word)),
            "{user} {cipher}: {error}"
        );
    }
    fs::remove_file(&file).unwrap();
    let error = one.power("w1").await.unwrap_err();
    assert!(matches!(&error, ProviderError::Refused { reason, .. } if reason.contains(&file)), "{error}");
    fs::write(&file, "right\n").unwrap();

    // A BMC that takes a minute to answer: held up by a relay of ours that keeps what it gets.
    let slow = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let text =
        ipmi(at, slow.local_addr().unwrap().port(), "admin", NOBODY).replace("timeout = \"6s\"", "timeout = \"1s\"");
    let error = provider(at, &text).power_on("w1").await.unwrap_err();
    assert!(matches!(error, ProviderError::TimedOut { seconds: 1, .. }), "{error}");
    assert_eq!(calls(&script), [""; 0], "nothing was switched blindly");
}

#[tokio::test(flavor = "multi_thread")]
async fn off_is_not_believed_while_the_machine_answers() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let script = process_machine(at, "m");
    let Some(sim) = IpmiSim::start("ipmi", at, "bmc", "right", &script) else { return };
    password(at, "right\n");
    // The BMC says off, and a kernel answers at the machine's address: this computer's.
    let lies = provider(at, &ipmi(at, sim.port, "admin", "127.0.0.1"));
    let error = lies.power("w1").await.unwrap_err();
    assert!(
        matches!(&error, ProviderError::Unverified { says: "ipmi", but, .. } if but.contains("127.0.0.1")),
        "{error}"
    );
    assert!(error.to_string().starts_with("off-unverified"), "{error}");
    let error = lies.power_off("w1", Off::Hard).await.unwrap_err();
    assert!(matches!(error, ProviderError::Unverified { .. }), "{error}");
    // It may be told to be on: that harms nobody.
    lies.power_on("w1").await.unwrap();
    assert_eq!(lies.power("w1").await.unwrap(), Power::On);
    end_machine(&script);
}

/// What a BMC measures by DCMI is read, and speaks against an off that it says.
#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_by_ipmi_that_measures_is_not_believed_against_its_own_watts() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let script = process_machine(at, "m");
    let Some(bmc) = MeasuringBmc::start("ipmi", at, "right", &script) else { return };
    password(at, "right\n");
    let text = ipmi(at, bmc.port, "admin", NOBODY);
    let one = provider(at, &text);
    assert_eq!(one.watts("w1").await, None, "nothing is measured yet");
    assert_eq!(one.power("w1").await.unwrap(), Power::Off);
    one.power_on("w1").await.unwrap();
    fs::write(&bmc.watts, "214").unwrap();
    assert_eq!((one.power("w1").await.unwrap(), one.watts("w1").await), (Power::On, Some(214)));
    let error = one.power_off("w1", Off::Graceful).await.unwrap_err();
    assert!(matches!(&error, ProviderError::Unverified { but, .. } if but.contains("draws 214 W")), "{error}");
    fs::write(&bmc.watts, "9").unwrap();
    assert_eq!(one.power("w1").await.unwrap(), Power::Off);
    end_machine(&script);
}

fn redfish(folder: &Path, bmc: &RedfishBmc, more: &str) -> String {
    format!(
        "provider = \"redfish\"\n[power]\noff_patience = \"2s\"\nstandby_watts = 20\n[redfish]\nuser = \"admin\"\npassword_file = \"{}\"\n{more}\
         [[machine]]\nname = \"w1\"\npool = \"wn\"\naddress = \"{NOBODY}\"\nredfish = {{ url = \"{}\" }}\n",
        folder.join("password").display(),
        bmc.url
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_by_redfish_switches_a_real_machine_and_measures_it() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let script = process_machine(at, "m");
    let Some(bmc) = RedfishBmc::start("redfish", at, "right", &[&script], true) else { return };
    password(at, "right\n");
    let ca = format!("ca = \"{}\"\n", bmc.ca.display());
    let one = provider(at, &redfish(at, &bmc, &ca));
    assert_eq!(one.power("w1").await.unwrap(), Power::Off);
    one.power_on("w1").await.unwrap();
    assert_eq!(one.power("w1").await.unwrap(), Power::On);
    assert_eq!(one.watts("w1").await, None, "nothing is measured yet");
    // The session ends in between, and is opened anew.
    fs::write(bmc.state.join("end-sessions"), "").unwrap();
    one.power_off("w1", Off::Graceful).await.unwrap();
    assert_eq!(calls(&script), ["set power 1", "set shutdown 1"]);
    let sessions = bmc.requests().iter().filter(|r| r.ends_with("/SessionService/Sessions")).count();
    assert_eq!(sessions, 2, "one session for many requests, and one after it was ended");

    // It is said to be off, and draws power: not off.
    fs::write(bmc.state.join("watts"), "145.4").unwrap();
    let other = provider(at, &redfish(at, &bmc, &ca));
    assert_eq!(other.watts("w1").await, Some(145));
    let error = other.power("w1").await.unwrap_err();
    assert!(matches!(&error, ProviderError::Unverified { but, .. } if but.contains("draws 145 W")), "{error}");
    fs::write(bmc.state.join("watts"), "4").unwrap();
    assert_eq!(other.power("w1").await.unwrap(), Power::Off);

    other.power_on("w1").await.unwrap();
    let before = fs::read_to_string(at.join("m.pid")).unwrap();
    other.power_cycle("w1").await.unwrap();
    assert_ne!(fs::read_to_string(at.join("m.pid")).unwrap(), before);
    other.power_off("w1", Off::Hard).await.unwrap();
    end_machine(&script);
}

/// What a BMC measures reaches the account, and what does not change is not told each time.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_bmc_measures_is_told_when_it_changes() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let script = process_machine(at, "m");
    let Some(bmc) = RedfishBmc::start("redfish", at, "right", &[&script], true) else { return };
    password(at, "right\n");
    fs::write(bmc.state.join("watts"), "140").unwrap();
    let one = provider(at, &redfish(at, &bmc, &format!("ca = \"{}\"\n", bmc.ca.display())));
    one.power_on("w1").await.unwrap();
    let (events, mut inbox) = tokio::sync::mpsc::channel(100);
    let second = std::time::Duration::from_secs(1);
    let rounds = Rounds { machines: vec!["w1".to_owned()], every: second / 5, limit: second * 10, at_once: 1 };
    let seer = tokio::spawn(observe(Arc::clone(&one), rounds, events));
    let mut drawn = async || loop {
        let told = tokio::time::timeout(second * 20, inbox.recv()).await.expect("it is told in time");
        if let Some(Event::Drawn { machine, watts }) = told {
            break (machine, watts);
        }
    };
    assert_eq!(drawn().await, ("w1".to_owned(), 140));
    fs::write(bmc.state.join("watts"), "190").unwrap();
    // It may have been told once more before that.
    while drawn().await.1 != 190 {}
    seer.abort();
    fs::write(bmc.state.join("watts"), "4").unwrap();
    one.power_off("w1", Off::Hard).await.unwrap();
    end_machine(&script);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_redfish_is_named() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let (script, second) = (process_machine(at, "m"), process_machine(at, "n"));
    let Some(bmc) = RedfishBmc::start("redfish", at, "right", &[&script, &second], false) else { return };
    password(at, "right\n");
    let ca = format!("ca = \"{}\"\n", bmc.ca.display());
    let text = redfish(at, &bmc, &ca);
    // Two systems, and no word which.
    let error = provider(at, &text).power_on("w1").await.unwrap_err();
    assert!(matches!(&error, ProviderError::Refused { reason, .. } if reason.contains("2 systems")), "{error}");
    let text = text.replace("\" }", "\", system = \"/redfish/v1/Systems/00000000-0000-0000-0000-000000000002\" }");
    // Without sessions every request carries the password.
    let one = provider(at, &text);
    one.power_on("w1").await.unwrap();
    assert_eq!(one.power("w1").await.unwrap(), Power::On);
    assert_eq!((calls(&script).len(), calls(&second).len()), (0, 1), "the right one");
    one.power_off("w1", Off::Hard).await.unwrap();

    let error = provider(at, &text.replace(&ca, "")).power("w1").await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "an unknown certificate is not trusted: {error}");
    provider(at, &text.replace(&ca, "insecure = true\n")).power("w1").await.expect("unless it is said");
    let missing = text.replace("000000000002", "000000000009");
    let error = provider(at, &missing).power("w1").await.unwrap_err();
    assert!(matches!(&error, ProviderError::Refused { reason, .. } if reason.contains("404")), "{error}");
    password(at, "wrong\n");
    let error = provider(at, &text).power("w1").await.unwrap_err();
    assert!(
        matches!(&error, ProviderError::Refused { reason, .. } if reason.contains("does not take the password")),
        "{error}"
    );
    end_machine(&second);
}

#[tokio::test]
async fn a_person_switches_what_nothing_else_can() {
    let at = tempfile::tempdir().unwrap();
    let text = "provider = \"ssh\"\n[[machine]]\nname = \"w1\"\npool = \"wn\"\naddress = \"127.0.0.1\"\nport = 1\n";
    let one = provider(at.path(), text);
    assert_eq!(one.power("w1").await.unwrap(), Power::On, "a refused connection is a sign of life");
    one.power_on("w1").await.expect("it is on");
    let error = one.power_off("w1", Off::Hard).await.unwrap_err();
    assert!(matches!(error, ProviderError::Refused { .. }), "{error}");
    let gone = provider(at.path(), &text.replace("127.0.0.1", NOBODY));
    assert_eq!(gone.power("w1").await.unwrap(), Power::Off);
    let error = gone.power_on("w1").await.unwrap_err().to_string();
    assert!(error.contains("`hand` cannot power on"), "{error}");
}
