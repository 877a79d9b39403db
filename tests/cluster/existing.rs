//! Machines that exist: no view of the bundle, an ordinary user with sudo, power by a script, and the daemon as a
//! systemd service on the front-end. They are local machines, but bootstrap is not told so.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::check;
use crate::cluster::{Cluster, MAREA, ok, pause};

/// The machines' own folder, and that of the cluster which is made on them.
const RACK: &str = "/var/lib/marea-test-rack";
const STATE: &str = "/var/lib/marea-test-site";
const SCOPE: [&str; 4] = ["--scope", "mareae", "--subnet", "10.79.0.0/24"];
/// The bridge's own address, which only the machines on it can reach.
const SWITCH: &str = "10.79.0.1:9570";
const HOSTS: [(&str, &str); 3] = [("front", "10.79.0.10"), ("wn-1", "10.79.0.11"), ("spare", "10.79.0.12")];

pub fn from_claim_to_release(_: &Cluster) -> Result<(), String> {
    tidy_up();
    let done = Arc::new(AtomicBool::new(false));
    let result = rack().and_then(|()| {
        let switch = TcpListener::bind(SWITCH).map_err(|e| format!("{SWITCH}: {e}"))?;
        let ended = Arc::clone(&done);
        let thread = std::thread::spawn(move || serve(&switch, &ended));
        let result = story();
        done.store(true, Ordering::SeqCst);
        let _wakes_it = std::net::TcpStream::connect(SWITCH);
        let _ = thread.join();
        result
    });
    if std::env::var("MAREA_KEEP").is_err() {
        tidy_up();
    }
    result
}

fn story() -> Result<(), String> {
    // Somebody else's work is not taken over, and nothing is changed where it runs.
    ssh(
        "wn-1",
        "printf '[Service]\nExecStart=/bin/sleep 600\n' > /etc/systemd/system/k3s.service; systemctl daemon-reload; systemctl start k3s",
    )?;
    let refused = marea(&["bootstrap", &file("site.radl"), "--config", &file("marea.toml")]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    check!(refused.status.code() == Some(1), "{:?}\n{said}", refused.status);
    check!(said.contains("the service k3s runs on it") && said.contains("nothing on it was changed"), "{said}");
    let touched = ssh("wn-1", "ls -d /var/lib/marea /usr/local/bin/containerd 2>/dev/null; true")?;
    check!(touched.is_empty(), "it was changed: {touched}");
    ssh("wn-1", "systemctl stop k3s; rm /etc/systemd/system/k3s.service; systemctl daemon-reload")?;

    ok(&marea(&["bootstrap", &file("site.radl"), "--config", &file("marea.toml")]))?;
    let active = ssh("front", "systemctl is-active marea; systemctl is-enabled marea; marea status")?;
    check!(active.starts_with("active\nenabled\n") && active.contains("wn-1"), "{active}");
    check!(!on("wn-1")?, "the worker is beyond the pool's minimum, and still on");

    // The front-end's own daemon powers the worker for a pod, and off after it.
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: work}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - {name: c, image: 'marea.local/busybox:1', imagePullPolicy: Never, command: [sleep, '1'], resources: {requests: {cpu: 100m}}}\n";
    fs::write(file("job.yaml"), job).map_err(|e| e.to_string())?;
    kubectl(&["apply", "-f", &file("job.yaml")])?;
    kubectl(&["wait", "--for=condition=complete", "job/work", "--timeout=90s"]).map_err(|e| {
        format!("{e}\n{}", ssh("front", "marea status; journalctl -u marea -n 30 --no-pager").unwrap_or_default())
    })?;
    wait("the worker is off again", 90, || on("wn-1").is_ok_and(|on| !on))?;

    let again = marea(&["bootstrap", &file("site.radl"), "--config", &file("marea.toml")]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    check!(again.status.success() && said.contains("nothing to do"), "{said}");

    // Another cluster does not take them.
    let other = Command::new(MAREA)
        .args(["--state", &format!("{STATE}/other"), "bootstrap", &file("site.radl"), "--config", &file("marea.toml")])
        .output()
        .expect("marea runs");
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    check!(other.status.code() == Some(1) && said.contains("belongs to another cluster"), "{said}");
    check!(ssh("front", "systemctl is-active marea")?.trim() == "active", "the daemon was touched");
    let _ = fs::remove_dir_all(format!("{STATE}/other"));

    // Without a key to the machines nothing is forgotten.
    let refused = marea(&["bootstrap", &file("site.radl"), "--config", &file("deaf.toml")]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    check!(refused.status.code() == Some(1) && said.contains("no SSH to `front`"), "{said}");

    ok(&marea(&["destroy", "--yes", "--config", &file("marea.toml")]))?;
    machine(&["on", "wn-1"])?;
    for name in ["front", "wn-1"] {
        wait("it answers", 30, || ssh(name, "true").is_ok())?;
        let left = ssh(
            name,
            "ls -d /var/lib/marea /etc/marea/*.yaml /etc/marea/marea.toml /etc/kubernetes /var/lib/kubelet/* /var/lib/containerd/* /var/lib/etcd/* /usr/local/bin/* /usr/local/sbin/marea-[jr]* /etc/systemd/system/{kubelet,containerd,marea,marea-routes}.service 2>/dev/null; \
             for u in kubelet containerd marea; do systemctl is-active -q $u && echo $u runs; done; ip -br link show cni0 2>/dev/null; iptables-save | grep -e KUBE -e marea; true",
        )?;
        check!(left.trim().is_empty(), "{name} still has\n{left}");
    }
    check!(!std::path::Path::new(&format!("{STATE}/removal.json")).exists(), "the state folder is not empty");
    Ok(())
}

/// Three machines with an ordinary user; the front-end is on, as front-ends are.
fn rack() -> Result<(), String> {
    for (name, address) in HOSTS {
        let cpus = if name == "front" { "2" } else { "1" };
        machine(&["create", name, "--address", address, "--cpus", cpus, "--memory-mib", "3072", "--without-bundle"])?;
    }
    machine(&["on", "front", "wn-1"])?;
    for name in ["front", "wn-1"] {
        wait("it answers", 30, || ssh(name, "true").is_ok())?;
        ssh(
            name,
            "useradd -m -s /bin/bash admin && mkdir -m 0700 ~admin/.ssh && cp ~root/.ssh/authorized_keys ~admin/.ssh/ 2>/dev/null || cp /etc/ssh/authorized_keys/root ~admin/.ssh/authorized_keys; \
             chown -R admin: ~admin/.ssh && echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin",
        )?;
    }
    fs::create_dir_all(STATE).map_err(|e| e.to_string())?;
    let text = |name: &str, text: &str| fs::write(file(name), text).map_err(|e| e.to_string());
    text(
        "power",
        &format!(
            "#!/bin/bash\n# VERB NAME: asks the rack's switch.\nexec 3<>/dev/tcp/{} || exit 9\necho \"$1 $2\" >&3\nread -r code <&3\nexit \"$code\"\n",
            SWITCH.replace(':', "/")
        ),
    )?;
    fs::set_permissions(file("power"), fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    text("site.radl", include_str!("existing.radl"))?;
    let entry = |name: &str, pool: &str, address: &str| {
        let verb = |verb: &str| format!("[\"{}\", \"{verb}\", \"{name}\"]", file("power"));
        format!(
            "[[machine]]\nname = \"{name}\"\npool = \"{pool}\"\naddress = \"{address}\"\non = {}\noff = {}\noff_hard = {}\nstatus = {}\n",
            verb("on"),
            verb("off"),
            verb("hard"),
            verb("status")
        )
    };
    let config = format!(
        "provider = \"command\"\n[service]\nfiles = [\"{}\"]\n[autoscaler]\nidle_timeout = \"5s\"\n[ssh]\nuser = \"admin\"\nkey = \"{RACK}/ssh/id\"\n{}{}",
        file("power"),
        entry("front", "front", HOSTS[0].1),
        entry("wn-1", "wn", HOSTS[1].1)
    );
    text("marea.toml", &config)?;
    let deaf = config.replace("boot_timeout", "").replace("[autoscaler]\n", "[autoscaler]\nboot_timeout = \"3s\"\n");
    text("deaf.toml", &deaf.replace(&format!("{RACK}/ssh/id"), "/dev/null"))
}

/// The rack's switch: a line `VERB NAME`, answered by an exit code.
fn serve(switch: &TcpListener, ended: &AtomicBool) {
    for stream in switch.incoming() {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let code = match line.trim().split_once(' ') {
                Some(("on", name)) => i32::from(machine(&["on", name]).is_err()),
                Some(("off", name)) => i32::from(machine(&["off", name]).is_err()),
                Some(("hard", name)) => i32::from(machine(&["off", name, "--hard"]).is_err()),
                Some(("status", name)) => on(name).map_or(9, |on| i32::from(!on)),
                _ => 9,
            };
            let _ = writeln!(stream, "{code}");
        });
    }
}

fn on(name: &str) -> Result<bool, String> {
    let list = machine(&["list"])?;
    let line = list.lines().find(|l| l.starts_with(&format!("{name} "))).ok_or(format!("no {name} in\n{list}"))?;
    Ok(!line.trim_end().ends_with(" off"))
}

fn file(name: &str) -> String {
    format!("{STATE}/{name}")
}

fn marea(args: &[&str]) -> Output {
    Command::new(MAREA).args(["--state", STATE]).args(args).stdin(Stdio::null()).output().expect("marea runs")
}

fn machine(args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(MAREA);
    command.args(["--state", RACK, "machine"]).args(SCOPE).args(args).stdin(Stdio::null());
    ok(&command.output().expect("marea runs"))
}

fn kubectl(args: &[&str]) -> Result<String, String> {
    let bundle = std::env::var("MAREA_BUNDLE").unwrap_or_else(|_| "/var/cache/marea/bundle".to_owned());
    let mut command = Command::new(format!("{bundle}/bin/kubectl"));
    command.args(["--kubeconfig", &file("admin.kubeconfig")]).args(args);
    ok(&command.stdin(Stdio::null()).output().expect("kubectl runs"))
}

/// Runs a script as root on a machine, as whoever built the rack would.
fn ssh(name: &str, script: &str) -> Result<String, String> {
    let address = HOSTS.iter().find(|(n, _)| *n == name).map_or(name, |(_, address)| address);
    let mut command = Command::new("ssh");
    command
        .args(["-q", "-oBatchMode=yes", "-oConnectTimeout=5", "-oStrictHostKeyChecking=yes"])
        .arg(format!("-oUserKnownHostsFile={RACK}/ssh/known_hosts"))
        .args(["-i", &format!("{RACK}/ssh/id"), &format!("root@{address}"), script]);
    ok(&command.stdin(Stdio::null()).output().expect("ssh runs"))
}

fn wait(what: &str, seconds: u64, mut done: impl FnMut() -> bool) -> Result<(), String> {
    for _ in 0..seconds * 5 {
        if done() {
            return Ok(());
        }
        pause(200);
    }
    Err(format!("waited {seconds} s in vain: {what}"))
}

fn tidy_up() {
    let _ = machine(&["destroy", "--all"]);
    let _ = fs::remove_dir_all(RACK);
    let _ = fs::remove_dir_all(STATE);
}
