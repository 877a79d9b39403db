//! The oracle: the real kube-scheduler's filters behind a pipe. The program (`oracle/main.go`) is compiled from
//! the Kubernetes module that the bundle pins, once for each version of it, and kept by its content.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

const MAIN: &str = include_str!("oracle/main.go");
const BUNDLE: &str = include_str!("../../recipes/bundle.toml");

/// A running oracle.
pub(crate) struct Oracle {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Oracle {
    pub(crate) fn start(program: &Path) -> Self {
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// What the scheduler says of a scenario.
    pub(crate) fn ask(&mut self, scenario: &Value) -> Value {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{scenario}").unwrap();
        input.flush().unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the oracle answered {line:?}: {error}"))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// The program, compiled where it has not been yet; why not, when it cannot be.
pub(crate) fn program() -> Result<PathBuf, String> {
    let version = Command::new("go").args(["env", "GOVERSION"]).output();
    let version = version.map_err(|error| format!("go cannot be run: {error}"))?;
    let mut hasher = DefaultHasher::new();
    (MAIN, pinned("version"), pinned("sum"), &version.stdout).hash(&mut hasher);
    let cache = PathBuf::from("/var/cache/marea/test");
    let cache = if fs::create_dir_all(&cache).is_ok_and(|()| !is_read_only(&cache)) {
        cache
    } else {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
    };
    let folder = cache.join(format!("scheduler-oracle-{:016x}", hasher.finish()));
    let program = folder.join("oracle");
    // One compiles, whoever else asks meanwhile waits for it, in this process or another.
    let lock = fs::File::create(folder.with_extension("lock")).map_err(|error| error.to_string())?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).map_err(|error| error.to_string())?;
    if program.exists() {
        return Ok(program);
    }
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    fs::write(folder.join("main.go"), MAIN).unwrap();
    fs::write(folder.join("go.mod"), go_mod(&folder)?).unwrap();
    // Under another name first: a run that is cut off leaves no half program behind.
    let half = format!("half-{}", std::process::id());
    go(&folder, &["build", "-trimpath", "-o", &half, "."])?;
    fs::rename(folder.join(half), &program).unwrap();
    Ok(program)
}

fn is_read_only(folder: &Path) -> bool {
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    let written = fs::write(&probe, "").is_ok();
    let _ = fs::remove_file(probe);
    !written
}

/// What the bundle says of the Kubernetes module.
fn pinned(key: &str) -> String {
    let bundle: toml::Table = BUNDLE.parse().unwrap();
    let modules = bundle["module"].as_array().unwrap();
    let kubernetes = modules.iter().find(|module| module["name"].as_str() == Some("kubernetes")).unwrap();
    kubernetes[key].as_str().unwrap().to_owned()
}

/// Kubernetes requires its own parts as v0.0.0, from its own repository: each is released by itself, too.
fn go_mod(folder: &Path) -> Result<String, String> {
    let (path, version, staging) = (pinned("path"), pinned("version"), pinned("staging"));
    let answer = go(folder, &["mod", "download", "-json", &format!("{path}@{version}")])?;
    let answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
    assert_eq!(answer["Sum"].as_str(), Some(pinned("sum").as_str()), "the module is not the one that the bundle pins");
    let theirs = fs::read_to_string(answer["GoMod"].as_str().unwrap()).unwrap();
    let language = theirs.lines().find(|line| line.starts_with("go ")).unwrap();
    let mut text =
        format!("module marea.local/scheduler-oracle\n\n{language}\n\nrequire {path} {version}\n\nreplace (\n");
    let mut parts: Vec<&str> = theirs
        .lines()
        .map(|line| line.trim().trim_start_matches("require ").trim_start_matches("replace "))
        .filter(|line| line.starts_with("k8s.io/") && (line.ends_with(" v0.0.0") || line.contains("=> ./staging")))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    parts.sort_unstable();
    parts.dedup();
    for part in parts {
        text.push_str(&format!("\t{part} => {part} {staging}\n"));
    }
    Ok(text + ")\n")
}

fn go(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let out = Command::new("go")
        .args(arguments)
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-buildvcs=false -mod=mod")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .output()
        .map_err(|error| format!("go cannot be run: {error}"))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    Err(format!("go {}: {}", arguments.join(" "), String::from_utf8_lossy(&out.stderr)))
}
