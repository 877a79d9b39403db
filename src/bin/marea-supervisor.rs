//! The program `marea-supervisor`: runs a function's script in the user's own container.
//!
//! `marea-supervisor install DIR` copies itself; `marea-supervisor run` does one run. The exit code is the script's,
//! or 66 the object is gone, 70 it failed itself, 74 an object could not be moved, 78 the function is described wrongly.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use marea::supervisor::outcome::INTERNAL;
use marea::supervisor::{Places, install, run};

const USAGE: &str = "usage: marea-supervisor install DIR | run | --version";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(|a| a.to_str().unwrap_or_default()).collect();
    let say = |text: &str| drop(writeln!(std::io::stderr(), "{text}"));
    match words.as_slice() {
        ["install", folder] => match install::install(Path::new(folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("marea-supervisor: cannot install in {folder}: {error}"));
                ExitCode::from(1)
            }
        },
        ["run"] => work(),
        ["--version"] => {
            let _ = writeln!(std::io::stdout(), "marea-supervisor {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            say(USAGE);
            ExitCode::from(2)
        }
    }
}

fn work() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Outside of a container, what is usually below `/` may be below another folder.
    let root = std::env::var_os("MAREA_ROOT").unwrap_or_else(|| "/".into());
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => ExitCode::from(runtime.block_on(run(&Places::below(Path::new(&root))))),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "marea-supervisor: cannot start: {error}");
            ExitCode::from(INTERNAL)
        }
    }
}
