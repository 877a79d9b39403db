//! The old parsers in one long-lived Python process, in an environment that is made once and cached by its pins.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// What is installed. ply comes with them; setuptools is what it imports.
pub const PINS: [&str; 4] = ["RADL==1.3.5", "ec3-cli==2.2.1", "ply==3.11", "PyYAML==6.0.4"];

/// Where environments are cached.
pub fn cache() -> PathBuf {
    std::env::var_os("MAREA_TEST_CACHE").map_or_else(|| PathBuf::from("/var/cache/marea/test"), PathBuf::from)
}

/// The environment's python; made when it is missing. Nothing where it cannot be made.
pub fn environment() -> Result<PathBuf, String> {
    let key: String =
        PINS.join("_").chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let mut root = cache();
    if std::fs::create_dir_all(&root).is_err() {
        root = std::env::temp_dir().join("marea-test");
        std::fs::create_dir_all(&root).map_err(|e| e.to_string())?;
    }
    let folder = root.join(format!("oracle-{key}"));
    let python = folder.join("bin/python");
    let whole = folder.join("whole");
    // One makes it, whoever else asks meanwhile waits for it, in this process or another.
    let lock = std::fs::File::create(root.join(format!("oracle-{key}.lock"))).map_err(|e| e.to_string())?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).map_err(|e| e.to_string())?;
    if whole.exists() {
        return Ok(python);
    }
    let run = |command: &mut Command| -> Result<(), String> {
        let out = command.output().map_err(|e| format!("{command:?}: {e}"))?;
        if out.status.success() {
            Ok(())
        } else {
            Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr)))
        }
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(&python).args(["-m", "pip", "install", "-q", "--no-cache-dir"]).args(PINS))?;
    std::fs::write(&whole, "").map_err(|e| e.to_string())?;
    Ok(python)
}

/// The process.
pub struct Oracle {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Oracle {
    pub fn start() -> Result<Self, String> {
        let python = environment()?;
        // EC3 writes its tables into the home folder.
        let home = python.parent().and_then(Path::parent).unwrap().join("home");
        std::fs::create_dir_all(home.join(".ec3")).map_err(|e| e.to_string())?;
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/oracle.py"))
            .current_dir(&home)
            .env("HOME", &home)
            .env("PYTHONHASHSEED", "0")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Ok(Self { child, input, output })
    }

    pub fn ask(&mut self, request: &Value) -> Value {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{request}").unwrap();
        input.flush().unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?} to {request}"))
    }

    /// The answer, or what the old parser complained.
    #[allow(dead_code, reason = "the benchmark asks for times alone")]
    pub fn get(&mut self, op: &str, text: &str) -> Result<Value, String> {
        let reply = self.ask(&serde_json::json!({"op": op, "text": text}));
        if reply["ok"] == true { Ok(reply["json"].clone()) } else { Err(reply["error"].to_string()) }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.input.take();
        let _ended = self.child.wait();
    }
}
