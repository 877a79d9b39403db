//! Compiling: programs from their released Go modules, all of one module by one `go build`, so that what they
//! share is compiled once.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::manifest::{Module, Program};
use super::{BundleError, at};

/// Sources that are part of Marea.
const SOURCES: &[(&str, &str)] = &[("pause", include_str!("../../recipes/pause/main.go"))];

/// The Go compiler that is there, as `go1.26.8`. It is part of what a compiled program is made from.
pub fn go_version() -> Result<String, BundleError> {
    let out = Command::new("go").args(["env", "GOVERSION"]).output().map_err(|e| BundleError::Tool {
        what: "go".into(),
        reason: format!("{e}; what cannot be downloaded is compiled: install Go 1.26 or newer and put it in PATH"),
    })?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Compiles programs of one module into `out`, under the last part of their package's path.
/// Answers with where each of them is.
pub fn compile(module: &Module, programs: &[&Program], work: &Path) -> Result<Vec<PathBuf>, BundleError> {
    let folder = work.join(&module.name);
    let out = folder.join("out");
    std::fs::create_dir_all(&out).map_err(at(&out))?;
    prepare(module, &folder)?;
    let mut command = go(&folder);
    let mut ldflags = module.ldflags.clone();
    command.args(["build", "-trimpath"]);
    if module.static_c {
        ldflags.push_str(" -extldflags -static");
        // Names of users and hosts are looked up by Go itself: the C library cannot do it in a static program.
        command.env("CGO_ENABLED", "1").args(["-tags", "netgo,osusergo"]);
    }
    command.args(["-ldflags", &ldflags, "-o"]).arg(format!("{}/", out.display()));
    if module.source.is_some() {
        command.arg(".");
    } else {
        command.args(programs.iter().filter_map(|p| p.package.as_deref()));
    }
    run(&mut command, &format!("go build of {} {}", module.path, module.version))?;
    Ok(programs.iter().map(|p| out.join(base(p))).collect())
}

/// The name that `go build` gives a package's program: a version as last part is passed over.
fn base(program: &Program) -> &str {
    let package = program.package.as_deref().unwrap_or(&program.name);
    let mut parts = package.rsplit('/');
    let last = parts.next().unwrap_or(package);
    let version = last.strip_prefix('v').is_some_and(|v| v.bytes().all(|b| b.is_ascii_digit()));
    if version { parts.next().unwrap_or(last) } else { last }
}

/// Writes the go.mod of a module of our own that requires the released one, and checks what is released.
fn prepare(module: &Module, folder: &Path) -> Result<(), BundleError> {
    let file = folder.join("go.mod");
    if let Some(name) = &module.source {
        let text = SOURCES.iter().find(|(n, _)| n == name).map(|(_, text)| *text);
        let text = text
            .ok_or_else(|| BundleError::Manifest(format!("module `{}`: no source `{name}` in Marea", module.name)))?;
        std::fs::write(folder.join("main.go"), text).map_err(at(folder))?;
        return std::fs::write(&file, format!("module {}\n\ngo 1.24\n", module.path)).map_err(at(&file));
    }
    let mut asking = go(folder);
    asking.args(["mod", "download", "-json", &format!("{}@{}", module.path, module.version)]).env("GO111MODULE", "on");
    let answer = run(&mut asking, &format!("go mod download of {}", module.path))?;
    let answer: serde_json::Value = serde_json::from_str(&answer)
        .map_err(|e| BundleError::Tool { what: "go mod download".into(), reason: e.to_string() })?;
    let got = answer["Sum"].as_str().unwrap_or_default();
    if let Some(pinned) = module.sum.as_deref().filter(|s| *s != got) {
        return Err(BundleError::Checksum {
            what: format!("{}@{}", module.path, module.version),
            pinned: pinned.into(),
            got: got.into(),
        });
    }
    let theirs = PathBuf::from(answer["GoMod"].as_str().unwrap_or_default());
    let theirs = std::fs::read_to_string(&theirs).map_err(at(&theirs))?;
    let word = |line: &str, n: usize| line.split_whitespace().nth(n).unwrap_or_default().to_owned();
    let version = theirs.lines().find(|l| l.starts_with("go ")).map_or("1.24".to_owned(), |l| word(l, 1));
    let mut text =
        format!("module marea.local/{}\n\ngo {version}\n\nrequire {} {}\n", module.name, module.path, module.version);
    if let Some(staging) = &module.staging {
        // The parts are required as v0.0.0 and live in the module's own repository: each is released on its own, too.
        let mut parts: Vec<String> = theirs
            .lines()
            .map(|l| l.trim().trim_start_matches("require ").trim_start_matches("replace "))
            .filter(|l| l.starts_with("k8s.io/") && (l.ends_with(" v0.0.0") || l.contains("=> ./staging")))
            .map(|l| word(l, 0))
            .collect();
        parts.sort();
        parts.dedup();
        text.push_str("\nreplace (\n");
        for part in parts {
            text.push_str(&format!("\t{part} => {part} {staging}\n"));
        }
        text.push_str(")\n");
    }
    // An unchanged go.mod has a go.sum beside it that need not be made again.
    let _ = std::fs::remove_file(folder.join("go.sum"));
    std::fs::write(&file, text).map_err(at(&file))
}

fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-buildvcs=false -mod=mod")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off");
    command
}

/// Runs a tool to its end; its output, or its last lines as an error.
pub(super) fn run(command: &mut Command, what: &str) -> Result<String, BundleError> {
    let failed = |reason: String| BundleError::Tool { what: what.to_owned(), reason };
    let out = command.output().map_err(|e| failed(e.to_string()))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let lines: Vec<_> = text.lines().collect();
    Err(failed(format!("{}\n{}", out.status, lines[lines.len().saturating_sub(15)..].join("\n"))))
}
