//! BMCs for tests, each a real server whose power really starts and stops something: `ipmi_sim` of Debian's openipmi
//! and sushy-tools' Redfish emulator. What they switch is a script: `SCRIPT get power`, `SCRIPT set power 1`.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A process of a test; it ends with the test.
pub struct Server(pub Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes a script that acts as a machine's power supply.
pub fn script(folder: &Path, name: &str, get: &str, on: &str, off: &str, soft: &str) -> PathBuf {
    let path = folder.join(name);
    let text = format!(
        "#!/bin/sh\n# get power | set power 0 | set power 1 | set shutdown 1\necho \"$*\" >> '{calls}'\n\
         case \"$*\" in\n  'get power') if {get}; then echo power:1; else echo power:0; fi ;;\n  'set power 1') {on} ;;\n  \
         'set power 0') {off} ;;\n  'set shutdown 1') {soft} ;;\n  get*) shift; for p in \"$@\"; do echo \"$p:0\"; done ;;\nesac\nexit 0\n",
        calls = folder.join(format!("{name}.calls")).display(),
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A machine that is one process: on while it lives. A file `deaf` beside it makes it ignore a graceful order.
pub fn process_machine(folder: &Path, name: &str) -> PathBuf {
    let pid = folder.join(format!("{name}.pid"));
    let (pid, deaf) = (pid.display(), folder.join("deaf").display().to_string());
    script(
        folder,
        name,
        &format!("kill -0 \"$(cat '{pid}' 2>/dev/null)\" 2>/dev/null"),
        &format!(
            "kill -0 \"$(cat '{pid}' 2>/dev/null)\" 2>/dev/null || {{ sleep 600 >/dev/null 2>&1 & echo $! > '{pid}'; }}"
        ),
        &format!("kill -9 \"$(cat '{pid}' 2>/dev/null)\" 2>/dev/null; rm -f '{pid}'"),
        &format!("[ -e '{deaf}' ] || {{ kill \"$(cat '{pid}')\"; rm -f '{pid}'; }}"),
    )
}

/// Ends what [`process_machine`] started, if it still lives.
pub fn end_machine(script: &Path) {
    let _ = Command::new(script).args(["set", "power", "0"]).status();
}

/// An `ipmi_sim` with one BMC: user `admin`.
pub struct IpmiSim {
    pub port: u16,
    _server: Server,
}

impl IpmiSim {
    /// None, with a word on standard error, where it is not installed.
    pub fn start(test: &str, folder: &Path, name: &str, password: &str, script: &Path) -> Option<Self> {
        let found = ["/usr/bin/ipmi_sim", "/usr/bin/ipmitool"].iter().all(|p| Path::new(p).exists());
        if !found {
            assert!(
                std::env::var("CI").is_err(),
                "{test} must not be skipped: it needs Debian's openipmi and ipmitool"
            );
            eprintln!("skipped {test}: it needs Debian's openipmi and ipmitool");
            return None;
        }
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = |suffix: &str| folder.join(format!("{name}.{suffix}"));
        fs::create_dir_all(at("state")).unwrap();
        fs::write(
            at("conf"),
            format!(
                "name \"{name}\"\nset_working_mc 0x20\nstartlan 1\n addr 127.0.0.1 {port}\n priv_limit admin\n \
                 allowed_auths_admin md5\n allowed_auths_operator md5\n allowed_auths_user md5\n guid a123456789abcdefa123456789abcdef\nendlan\nchassis_control \"{}\"\n\
                 user 2 true \"admin\" \"{password}\" admin 10 md5\n",
                script.display()
            ),
        )
        .unwrap();
        fs::write(
            at("cmd"),
            "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n",
        )
        .unwrap();
        let child = Command::new("ipmi_sim")
            .arg("-c")
            .arg(at("conf"))
            .arg("-f")
            .arg(at("cmd"))
            .arg("-s")
            .arg(at("state"))
            .arg("-n")
            .stdin(Stdio::null())
            .stdout(fs::File::create(at("out")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sim = Self { port, _server: Server(child) };
        // It answers once its port is taken.
        for _ in 0..200 {
            if UdpSocket::bind(("127.0.0.1", port)).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(sim)
    }
}

/// A BMC by IPMI that measures, which `ipmi_sim` does not: of PyPI's pyghmi. User `admin`.
pub struct MeasuringBmc {
    pub port: u16,
    /// What its machine draws; without the file nothing is measured.
    pub watts: PathBuf,
    _server: Server,
}

impl MeasuringBmc {
    pub fn start(test: &str, folder: &Path, password: &str, script: &Path) -> Option<Self> {
        let python = venv(test, &["pyghmi==1.6.19"])?.join("bin/python");
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let watts = folder.join("watts");
        let child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power/dcmi.py"))
            .args([&port.to_string(), password])
            .args([script, &watts])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("dcmi.err")).unwrap())
            .spawn()
            .unwrap();
        let server = Server(child);
        // It answers once its port is taken.
        let up = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            UdpSocket::bind(("127.0.0.1", port)).is_err()
        });
        assert!(up, "the BMC did not start: {}", fs::read_to_string(folder.join("dcmi.err")).unwrap());
        Some(Self { port, watts, _server: server })
    }
}

/// A Python environment with these packages: made once on a computer and kept by their names.
pub fn venv(test: &str, packages: &[&str]) -> Option<PathBuf> {
    let skip = |why: &str| {
        assert!(std::env::var("CI").is_err(), "{test} must not be skipped: {why}");
        eprintln!("skipped {test}: {why}");
        None
    };
    let root = Path::new("/var/cache/marea/test");
    let root = if fs::create_dir_all(root).is_ok() { root.to_owned() } else { std::env::temp_dir().join("marea-test") };
    fs::create_dir_all(&root).unwrap();
    let name = packages.join("+").replace("==", "-").to_lowercase();
    let (place, lock) = (root.join(format!("venv-{name}")), root.join(format!("venv-{name}.lock")));
    let lock = fs::File::create(lock).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    if !place.join("whole").exists() {
        let _ = fs::remove_dir_all(&place);
        let made = Command::new("python3").args(["-m", "venv"]).arg(&place).output();
        if !made.is_ok_and(|made| made.status.success()) {
            return skip("it needs python3 with venv (Debian: python3-venv)");
        }
        let pip = Command::new(place.join("bin/pip"))
            .args(["install", "-q", "--disable-pip-version-check"])
            .args(packages)
            .output()
            .unwrap();
        if !pip.status.success() {
            return skip(&format!(
                "pip could not install {}: {}",
                packages.join(" "),
                String::from_utf8_lossy(&pip.stderr)
            ));
        }
        fs::write(place.join("whole"), "").unwrap();
    }
    Some(place)
}

/// A certificate for this computer that nobody has signed but itself, and its key.
pub fn self_signed(folder: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("tls.pem"), folder.join("tls.key"));
    let subject = [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .args(subject)
        .output();
    assert!(made.is_ok_and(|made| made.status.success()), "openssl makes a certificate");
    (certificate, key)
}

/// A Redfish BMC with a certificate of its own.
pub struct RedfishBmc {
    pub url: String,
    /// The certificate, to be trusted.
    pub ca: PathBuf,
    /// Where it notes requests, and where a test writes `watts` and `end-sessions`.
    pub state: PathBuf,
    _server: Server,
}

impl RedfishBmc {
    pub fn start(test: &str, folder: &Path, password: &str, scripts: &[&Path], sessions: bool) -> Option<Self> {
        let venv = venv(test, &["sushy-tools==2.2.0"])?;
        let ((certificate, key), state) = (self_signed(folder), folder.join("redfish"));
        fs::create_dir_all(&state).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(venv.join("bin/python"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power/redfish.py"))
            .arg(port.to_string())
            .args([&certificate, &key])
            .arg(password)
            .args(scripts)
            .env("STATE", &state)
            .env("SESSIONS", if sessions { "yes" } else { "no" })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(state.join("err")).unwrap())
            .spawn()
            .unwrap();
        let server = Server(child);
        let up = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        assert!(up, "the Redfish emulator did not start: {}", fs::read_to_string(state.join("err")).unwrap());
        Some(Self { url: format!("https://127.0.0.1:{port}"), ca: certificate, state, _server: server })
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<String> {
        fs::read_to_string(self.state.join("requests")).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}
