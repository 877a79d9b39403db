//! An outcome: with what exit code a run ends and why, told in a line for people and to Kubernetes.

use std::fmt;
use std::path::Path;

use crate::s3::S3Error;

/// The object was gone before it could be brought: trying again is in vain.
pub const GONE: u8 = 66;
/// The supervisor itself failed.
pub const INTERNAL: u8 = 70;
/// An object could not be brought or taken: trying again may help.
pub const STAGE: u8 = 74;
/// The function's configuration is wrong: trying again is in vain.
pub const CONFIG: u8 = 78;

/// What Kubernetes reads as the container's last words.
const LAST_WORDS: &str = "/dev/termination-log";

/// Why a run could not be done; the script's own failure is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// One line.
    pub reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Failure {
    /// Wrong configuration.
    pub fn config(reason: String) -> Self {
        Self { code: CONFIG, reason }
    }

    /// Something local that should not fail.
    pub fn internal(reason: String) -> Self {
        Self { code: INTERNAL, reason }
    }

    /// An object that did not come.
    pub fn bring(error: &S3Error) -> Self {
        Self { code: if error.is_missing() { GONE } else { STAGE }, reason: format!("cannot stage in: {error}") }
    }

    /// A result that did not arrive.
    pub fn take(error: &S3Error) -> Self {
        Self::stage(format!("cannot stage out: {error}"))
    }

    /// Something that could not be moved.
    pub fn stage(reason: String) -> Self {
        Self { code: STAGE, reason }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code.
    pub code: u8,
    /// One line; empty when all went well.
    pub reason: String,
    /// What the last line of the output is, in base64: `none` of the result, one `file`, a `zip` of several, or the
    /// `text` that the script said.
    pub result: &'static str,
}

impl Outcome {
    /// Ended by a signal before the script began.
    pub fn signal(number: u8) -> Self {
        Self { code: 128 + number, reason: format!("stopped by signal {number}"), result: "none" }
    }

    /// Writes the container's last words, where there is somebody who reads them.
    pub fn leave_word(&self) {
        let place = Path::new(LAST_WORDS);
        if place.exists() {
            let word = serde_json::json!({ "code": self.code, "reason": self.reason, "result": self.result });
            let _nobody_reads = std::fs::write(place, word.to_string());
        }
    }
}
