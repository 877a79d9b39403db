//! The store: what happened and what was decided about it, on disk before anything is done. A journal
//! line is one event with the actions it led to; the state is the fold of the lines since the last
//! snapshot. Whoever opens the store folds them again and must get the same bytes.

pub mod journal;
pub mod lock;

use std::path::PathBuf;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another daemon has this state directory. Stop that one, or name another directory.
    #[error("{path} is in use by process {pid}; stop it, or give `--state` another directory")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as it wrote itself down.
        pid: String,
    },
    /// A file or folder cannot be made or read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite cannot read or write: a full disk, a read-only file system, a broken disk. It may pass.
    #[error("journal {path}: {source}")]
    Database {
        /// The database file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A line or snapshot is not what this program writes. It does not pass.
    #[error(
        "journal {path}, line {seq}: {reason}; it was written by another version or damaged: move the file \
         away and start again, machines are then taken over as they are seen"
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// The line's number.
        seq: i64,
        /// What is wrong with it.
        reason: String,
    },
}
