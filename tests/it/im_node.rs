//! A machine that is there (`DeployedNode`), made ours by the real Infrastructure Manager over real SSH: its Ansible
//! configures it as the document says, and bootstrap goes on over SSH where it is, with the key of the document.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::bmc::Server;
use crate::im_server::ImServer;

/// A machine in namespaces of its own, with an sshd.
struct Node {
    port: u16,
    key: String,
    _machine: Server,
}

impl Node {
    fn start(folder: &Path, venv: &Path) -> Self {
        let place = folder.join("node");
        fs::create_dir(&place).unwrap();
        let key = folder.join("id");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.is_ok_and(|made| made.success()), "a key is made");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let machine = Command::new("unshare")
            .args(["--mount", "--uts", "--pid", "--fork", "--kill-child", "--propagation", "private"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power/node.sh"))
            .arg(&place)
            .arg(port.to_string())
            .arg(folder.join("id.pub"))
            .arg(venv)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("node.err")).unwrap())
            .spawn()
            .unwrap();
        let machine = Server(machine);
        let answers = (0..300).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        assert!(answers, "no sshd: {}", fs::read_to_string(folder.join("node.err")).unwrap());
        Self { port, key: fs::read_to_string(&key).unwrap(), _machine: machine }
    }

    fn ask(&self, folder: &Path, command: &str) -> String {
        let output = Command::new("ssh")
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"])
            .arg("-i")
            .arg(folder.join("id"))
            .args(["-p", &self.port.to_string(), "root@127.0.0.1", command])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[test]
fn a_machine_that_is_there_is_configured_by_ansible_and_reached_over_ssh() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var("CI").is_err(), "this test must not be skipped: it needs root");
        eprintln!("skipped: a machine with namespaces and a root of its own needs root");
        return;
    }
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let Some(server) = ImServer::start("im", at) else { return };
    let node = Node::start(at, server.venv());
    let file = |name: &str, text: &str| {
        fs::write(at.join(name), text).unwrap();
        at.join(name).display().to_string()
    };
    let auth = file("auth", "type = InfrastructureManager; username = u; password = p\nid = d; type = DeployedNode\n");
    let radl = file(
        "site.radl",
        &format!(
            "network pub (outbound = 'yes' and outports = '{}/tcp-22/tcp')\n\
             system front (cpu.count >= 1 and memory.size >= 512m and net_interface.0.connection = 'pub' and net_interface.0.ip = '127.0.0.1' and \
             disk.0.os.name = 'linux' and disk.0.image.url = 'mock0://x' and disk.0.os.credentials.username = 'root' and \
             disk.0.os.credentials.private_key = '{}')\n\
             configure front (\n@begin\n---\n  - tasks:\n    - name: a file\n      copy: dest=/var/tmp/marea-configured content=\"hello {{{{ IM_NODE_HOSTNAME }}}}\"\n@end\n)\n\
             deploy front 1\n",
            node.port,
            node.key.trim_end()
        ),
    );
    let config = file(
        "marea.toml",
        &format!(
            "provider = \"im\"\n[im]\nurl = \"{}\"\nauth = \"{auth}\"\n[service]\ninstall = false\n",
            server.url()
        ),
    );
    fs::create_dir_all(at.join("bundle")).unwrap();
    file("bundle/index.txt", "");
    let bundle = at.join("bundle").display().to_string();
    let marea = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_marea"))
            .args(words)
            .env("MAREA_STATE", at.join("state"))
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    };
    let (code, text) = marea(&["bootstrap", &radl, "--config", &config, "--bundle", &bundle]);
    let log = fs::read_to_string(at.join("state/log/im.log")).unwrap_or_default();
    assert_eq!(node.ask(at, "cat /var/tmp/marea-configured"), "hello front", "{text}\n{log}");
    assert!(log.contains("a file"), "what Ansible said is kept: {log}");
    assert!(!Path::new("/var/tmp/marea-configured").exists(), "the node has a root of its own");
    // With the key of the document, at the port that its network names. This document asks for no Kubernetes.
    assert!(text.contains("front: configured") && text.contains("front: nothing to do"), "{text}");
    assert!(code == 1 && text.contains("/etc/kubernetes/admin.conf"), "{text}");
    let (code, text) = marea(&["destroy", "--yes", "--config", &config]);
    assert_eq!(code, 0, "{text}");
}
