//! A local machine as a server in a rack: whoever powers it knows its BMC, its network card and its SSH, and nothing of
//! the local provider. Its BMCs are real ones (`ipmi_sim`, sushy-tools), and so is the magic packet on its bridge.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use marea::cli::providers;
use marea::config::Loaded;
use marea::model::machine::{Off, Power};
use marea::provider::Provider;

use super::site::site;
use crate::bmc::{IpmiSim, RedfishBmc, script};

const CARD: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_boots_and_stops_by_its_bmcs_by_a_magic_packet_and_by_ssh() {
    let Some(site) = site("mareath", 9) else {
        return;
    };
    let (machine, other) = (site.spec("m1", 11), site.spec("other", 12));
    site.local.create_all(vec![machine.clone(), other]).await.unwrap();
    // The other one only keeps the bridge alive.
    site.local.power_on("other").await.unwrap();
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let marea = format!(
        "'{}' --state '{}' machine --scope {} --subnet {}",
        env!("CARGO_BIN_EXE_marea"),
        site.settings.state.display(),
        site.settings.scope,
        site.settings.subnet
    );
    let quiet = format!(">> '{}' 2>&1 < /dev/null", at.join("log").display());
    let supply = script(
        at,
        "supply",
        &format!("! {marea} list 2>/dev/null | grep -Eq '^m1 .*  off$'"),
        &format!("{marea} on m1 {quiet}"),
        &format!("{marea} off --hard m1 {quiet}"),
        // A power button answers at once.
        &format!("setsid {marea} off m1 {quiet} &"),
    );
    let (Some(ipmi), Some(redfish)) =
        (IpmiSim::start("metal", at, "bmc", "word", &supply), RedfishBmc::start("metal", at, "word", &[&supply], true))
    else {
        site.local.destroy_all().await.unwrap();
        return;
    };
    std::fs::write(at.join("password"), "word\n").unwrap();
    let network = site.settings.subnet.replace(".0/24", "");
    // Whoever hears the packet on the bridge gives the machine power, as its network card would.
    let ear = UdpSocket::bind("0.0.0.0:0").unwrap();
    ear.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let port = ear.local_addr().unwrap().port();
    let listens = Arc::new(AtomicBool::new(true));
    let (until, heard) = (Arc::clone(&listens), supply.clone());
    let card = std::thread::spawn(move || {
        let (mut packets, mut from) = (0, None);
        let mut bytes = [0; 200];
        while until.load(Ordering::SeqCst) {
            let Ok((count, sender)) = ear.recv_from(&mut bytes) else { continue };
            if count == 102 && bytes[..6] == [0xff; 6] && bytes[6..102].chunks(6).all(|part| part == CARD) {
                from = Some(sender.ip().to_string());
                packets += 1;
                std::process::Command::new(&heard).args(["set", "power", "1"]).status().unwrap();
            }
        }
        (packets, from)
    });
    let text = |power: &str| {
        format!(
            "provider = \"ipmi\"\n[power]\noff_patience = \"60s\"\n[ssh]\nkey = \"{key}\"\n\
             [ipmi]\nuser = \"admin\"\npassword_file = \"{at}/password\"\ncipher = 3\ntimeout = \"20s\"\n\
             [redfish]\nuser = \"admin\"\npassword_file = \"{at}/password\"\nca = \"{ca}\"\ntimeout = \"20s\"\n\
             [wol]\nbroadcast = \"{network}.255\"\nport = {port}\nfrom = \"{network}.1\"\n\
             [[machine]]\nname = \"m1\"\npool = \"wn\"\naddress = \"{network}.11\"\npower = {power}\n\
             ipmi = {{ address = \"127.0.0.1\", port = {bmc} }}\nredfish = {{ url = \"{url}\" }}\nwol = {{ mac = \"52:54:00:12:34:56\" }}\n",
            key = site.local.ssh_key().display(),
            at = at.display(),
            ca = redfish.ca.display(),
            bmc = ipmi.port,
            url = redfish.url,
        )
    };
    for (power, how) in [
        ("\"ipmi\"", Off::Graceful),
        ("\"redfish\"", Off::Hard),
        ("{ on = \"wol\", off = \"ssh\", observe = \"ipmi\" }", Off::Graceful),
    ] {
        let config = Loaded::parse("marea.toml", &text(power)).unwrap();
        let one: Arc<dyn Provider> = providers::declared(&config, at).unwrap();
        assert_eq!(one.power("m1").await.unwrap(), Power::Off, "{power}");
        one.power_on("m1").await.unwrap();
        // The machine itself says that it is up: another boot each time.
        assert_eq!(site.says(&machine, "hostname"), "m1", "{power}");
        assert_eq!(one.power("m1").await.unwrap(), Power::On, "{power}");
        let off = one.power_off("m1", how).await;
        assert!(off.is_ok(), "{power}: {off:?} {}", std::fs::read_to_string(at.join("log")).unwrap_or_default());
        assert_eq!(one.power("m1").await.unwrap(), Power::Off, "{power}");
        assert_eq!(site.power("m1").await, Power::Off, "{power}: it has no process left");
    }
    listens.store(false, Ordering::SeqCst);
    let (packets, from) = card.join().unwrap();
    assert_eq!((packets > 0, from), (true, Some(format!("{network}.1"))), "{packets}");
    site.local.destroy_all().await.unwrap();
    std::fs::remove_dir(&site.settings.state).unwrap();
}
