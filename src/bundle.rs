//! The bundle: a folder of pinned, checksummed programs and images, all that a cluster needs. It is built once, by
//! download or from released Go modules, and carried to where there is no network.
//!
//! `DIR/bin/NAME` are programs, `DIR/images/NAME.tar` images, and `DIR/index.txt` lists them, one a line:
//! `PATH SHA256 BYTES VERSION [IMAGE REFERENCE]`. `DIR/keys` remembers from what each was made, so that nothing is
//! made twice.

use std::path::PathBuf;

pub mod build;
pub mod compile;
pub mod debian;
pub mod digest;
pub mod fetch;
pub mod image;
pub mod manifest;
pub mod python;

/// Why a bundle could not be built or trusted.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The manifest is wrong: mend it.
    #[error("{0}")]
    Manifest(String),
    /// What came is not what was pinned: it was thrown away.
    #[error(
        "{what}: wrong checksum\n  pinned {pinned}\n  got    {got}\nnothing was kept; the source or a mirror between is not to be trusted"
    )]
    Checksum {
        /// What was fetched.
        what: String,
        /// What it should have been.
        pinned: String,
        /// What it was.
        got: String,
    },
    /// The network or the server failed: try again, or compile.
    #[error("cannot download {url}: {reason}")]
    Download {
        /// From where.
        url: String,
        /// What was seen.
        reason: String,
    },
    /// A tool is missing or failed.
    #[error("{what} failed: {reason}")]
    Tool {
        /// What was run.
        what: String,
        /// Its last words.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another build of the same bundle is under way.
    #[error("{0} is being built by another `marea bundle build`: wait for it")]
    Busy(PathBuf),
}

/// Ties an error of the file system to its path.
pub(crate) fn at(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> BundleError {
    let path = path.into();
    move |source| BundleError::File { path, source }
}
