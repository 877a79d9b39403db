//! Why a local machine could not be made, powered, seen or removed.

use std::path::{Path, PathBuf};

/// What went wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// What was asked for cannot be: a name, an address, a size. Change the input.
    #[error("{0}")]
    Input(String),
    /// Something that is not ours is in the way. Nothing was changed.
    #[error("{what} is already used by {by}; {hint}")]
    AlreadyUsed {
        /// The folder, link, subnet or address.
        what: String,
        /// Who has it, as far as it could be seen.
        by: String,
        /// What to do.
        hint: &'static str,
    },
    /// Only root can boot machines.
    #[error("local machines need root: run as root, or with sudo")]
    NotRoot,
    /// Programs are missing.
    #[error("local machines need {programs}, not found on this computer; on Debian: apt-get install {packages}")]
    ToolsMissing {
        /// The programs.
        programs: String,
        /// Debian packages that have them.
        packages: String,
    },
    /// There is no such machine here.
    #[error("there is no local machine `{0}`; `marea machine list` shows those that exist")]
    NoMachine(String),
    /// Processes of the machine live although it has no init: starting it would run two machines on one disk.
    #[error("`{machine}` is fenced: it has no init, but processes {pids} of it still live; power it off first")]
    Fenced {
        /// The machine.
        machine: String,
        /// Their process ids.
        pids: String,
    },
    /// A file, folder or kernel interface answered with an error.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, such as `read`.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The answer.
        source: std::io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed ({status}){output}")]
    Tool {
        /// Its command line.
        command: String,
        /// How it ended.
        status: String,
        /// Its last lines, each on a line of its own.
        output: String,
    },
    /// The machine ended while it was being powered on.
    #[error("`{machine}` did not boot: {word}; the end of {}:{console}", log.display())]
    NoBoot {
        /// The machine.
        machine: String,
        /// What is known of its end.
        word: String,
        /// Its console.
        log: PathBuf,
        /// Last lines of its console.
        console: String,
    },
    /// Something did not happen in its time; the machine may be in either state.
    #[error("`{machine}`: {what} not seen within {seconds} s")]
    Slow {
        /// The machine.
        machine: String,
        /// What was waited for.
        what: &'static str,
        /// For how long.
        seconds: u64,
    },
    /// A fault of Marea itself.
    #[error("a worker thread broke: {0}; please report this")]
    Broken(String),
}

/// Adds to an I/O error what was tried, and where.
pub(super) trait At<T> {
    /// `what` is a verb, such as `read`.
    fn at(self, what: &'static str, path: impl AsRef<Path>) -> Result<T, LocalError>;
}

impl<T, E: Into<std::io::Error>> At<T> for Result<T, E> {
    fn at(self, what: &'static str, path: impl AsRef<Path>) -> Result<T, LocalError> {
        self.map_err(|source| LocalError::Io { what, path: path.as_ref().to_path_buf(), source: source.into() })
    }
}
