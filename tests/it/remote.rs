//! SSH against a real sshd of our own on loopback. `MAREA_SSHD` names another sshd than `/usr/sbin/sshd`.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use marea::provider::sight::MeansError;
use marea::provider::ssh::Door;
use marea::remote::push::Push;
use marea::remote::{Access, Connection, Host};

struct Sshd {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success());
}

impl Sshd {
    /// None, with a word on standard error, where there is no sshd or no root to run it.
    fn start(test: &str) -> Option<Self> {
        let program = PathBuf::from(std::env::var("MAREA_SSHD").unwrap_or_else(|_| "/usr/sbin/sshd".to_owned()));
        let possible = program.exists() && rustix::process::geteuid().is_root();
        if !possible {
            assert!(
                std::env::var("CI").is_err(),
                "{test} must not be skipped: it needs root and {}",
                program.display()
            );
            eprintln!("skipped {test}: it needs root and {}", program.display());
            return None;
        }
        // sshd judges the modes of every folder above a key, so not below /tmp of somebody else.
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let at = |name: &str| folder.path().join(name);
        keygen(&at("host"));
        keygen(&at("id"));
        fs::copy(at("id.pub"), at("authorized")).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(&program)
            .args([
                "-D",
                "-e",
                "-f",
                "/dev/null",
                "-o",
                "ListenAddress=127.0.0.1",
                "-o",
                "StrictModes=no",
                "-o",
                "PidFile=none",
            ])
            .args(["-o", "PermitRootLogin=prohibit-password", "-o", "UsePAM=no"])
            .args(["-o", &format!("Port={port}"), "-h"])
            .arg(at("host"))
            .args(["-o", &format!("AuthorizedKeysFile={}", at("authorized").display())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        Some(Self { child, folder, port })
    }

    fn access(&self, accept_new: bool) -> Access {
        let at = |name: &str| self.folder.path().join(name);
        Access { key: Some(at("id")), known_hosts: at("known"), control: at("run"), accept_new }
    }

    fn host(&self) -> Host {
        Host { name: "loop".to_owned(), address: "127.0.0.1".to_owned(), port: self.port, user: "root".to_owned() }
    }

    async fn open(&self) -> Connection {
        let opened = Connection::wait(&self.host(), &self.access(true), Duration::from_secs(20)).await;
        opened.unwrap_or_else(|e| panic!("{e}\n{}", fs::read_to_string(self.folder.path().join("log")).unwrap()))
    }
}

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_script_has_its_output_and_its_exit_code() {
    let Some(sshd) = Sshd::start("a_script_has_its_output_and_its_exit_code") else { return };
    let c = sshd.open().await;
    let outcome = c.run("echo out; echo err >&2; exit 255\n", LIMIT).await.unwrap();
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (255, "out\n", "err\n"));
    let outcome = c.run("kill -9 $$\n", LIMIT).await.unwrap();
    assert_ne!(outcome.code, 0, "ended by a signal");
    assert_eq!(c.run("echo still here\n", LIMIT).await.unwrap().stdout, "still here\n");
    c.close().await;
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_ended_over_there() {
    let Some(sshd) = Sshd::start("a_script_that_takes_too_long_is_ended_over_there") else { return };
    let c = sshd.open().await;
    let mark = sshd.folder.path().join("mark");
    let script = format!("trap 'echo ended > {}; exit' TERM\nsleep 30 &\nwait\n", mark.display());
    let outcome = c.run(&script, Duration::from_secs(1)).await.unwrap();
    assert_eq!(outcome.code, 124);
    assert!(mark.exists(), "it was told to end");
}

#[tokio::test]
async fn more_scripts_than_sshd_has_sessions_all_run() {
    let Some(sshd) = Sshd::start("more_scripts_than_sshd_has_sessions_all_run") else { return };
    let c = sshd.open().await;
    let scripts: Vec<String> = (0..30).map(|n| format!("sleep 0.2; echo {n}\n")).collect();
    let outcomes = futures::future::join_all(scripts.iter().map(|s| c.run(s, LIMIT))).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.unwrap().stdout.trim(), n.to_string());
    }
}

#[tokio::test]
async fn the_first_key_is_pinned_and_another_one_refused() {
    let Some(sshd) = Sshd::start("the_first_key_is_pinned_and_another_one_refused") else { return };
    let strict = Connection::wait(&sshd.host(), &sshd.access(false), Duration::from_secs(5)).await;
    assert!(strict.is_err(), "an unknown host is refused when nothing may be pinned");
    sshd.open().await.close().await;
    let known = sshd.folder.path().join("known");
    assert!(fs::read_to_string(&known).unwrap().contains("ed25519"));
    Connection::open(&sshd.host(), &sshd.access(false)).await.unwrap().close().await;
    keygen(&sshd.folder.path().join("other"));
    let other = fs::read_to_string(sshd.folder.path().join("other.pub")).unwrap();
    fs::write(&known, format!("[127.0.0.1]:{} {other}", sshd.port)).unwrap();
    assert!(Connection::open(&sshd.host(), &sshd.access(true)).await.is_err(), "another key than the pinned one");
}

/// Who answers with another key may be another machine: it is not powered off.
#[tokio::test]
async fn a_machine_whose_host_key_changed_is_not_powered_off() {
    let Some(sshd) = Sshd::start("a_machine_whose_host_key_changed_is_not_powered_off") else { return };
    let at = |name: &str| sshd.folder.path().join(name);
    // Whatever it is told, it does nothing but leave a mark: the test must not end this computer.
    let key = fs::read_to_string(at("id.pub")).unwrap();
    fs::write(at("authorized"), format!("command=\"touch {}\" {key}", at("told").display())).unwrap();
    let door = Door { host: sshd.host(), access: sshd.access(true) };
    for _ in 0..100 {
        if std::net::TcpStream::connect(("127.0.0.1", sshd.port)).is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    keygen(&at("other"));
    let other = fs::read_to_string(at("other.pub")).unwrap();
    fs::write(at("known"), format!("[127.0.0.1]:{} {other}", sshd.port)).unwrap();
    let error = door.off().await.unwrap_err();
    assert!(matches!(&error, MeansError::Refused(reason) if reason.contains("another SSH host key")), "{error}");
    assert!(!at("told").exists(), "it was told something");
    // With the right key it is told.
    fs::remove_file(at("known")).unwrap();
    let _ = door.off().await;
    assert!(at("told").exists());
}

#[tokio::test]
async fn only_what_is_missing_travels_and_a_wrong_sum_is_refused() {
    let Some(sshd) = Sshd::start("only_what_is_missing_travels_and_a_wrong_sum_is_refused") else { return };
    let c = sshd.open().await;
    let (from, to) = (sshd.folder.path().join("from"), sshd.folder.path().join("to"));
    fs::create_dir_all(from.join("bin")).unwrap();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
    fs::write(from.join("bin/tool"), &bytes).unwrap();
    let sum = Command::new("sha256sum").arg(from.join("bin/tool")).output().unwrap();
    let sha256 = String::from_utf8(sum.stdout).unwrap().split(' ').next().unwrap().to_owned();
    let there = to.display().to_string();
    let files = vec![Push { path: "bin/tool".to_owned(), sha256 }];
    assert_eq!(c.push(&from, &there, &files).await.unwrap(), 1);
    assert_eq!(fs::read(to.join("bin/tool")).unwrap(), bytes);
    assert_eq!(c.push(&from, &there, &files).await.unwrap(), 0, "nothing is missing");
    let wrong = vec![Push { path: "bin/tool".to_owned(), sha256: "0".repeat(64) }];
    assert!(c.push(&from, &there, &wrong).await.is_err());
    assert_eq!(fs::read(to.join("bin/tool")).unwrap(), bytes, "what is there stays whole");
}
