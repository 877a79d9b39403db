//! Why: the reasons behind what the core does and does not do, for people. Each is a tree of lines.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::state::State;
use crate::model::machine::Role;
use crate::model::pod::PodId;

/// A line and the lines that explain it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The line.
    pub text: String,
    /// What explains it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Why>,
}

/// A machine as `marea status` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// Front-end or worker.
    pub role: Role,
    /// Where it is in its life: `off`, `powering-on`, `on` and so on.
    pub state: String,
    /// Since when.
    pub since: Timestamp,
    /// For how long, in milliseconds.
    pub age_ms: i64,
    /// The daemon leaves it alone.
    pub disabled: bool,
    /// The part of its CPU that pods ask for, from 0 to 1, when it is on.
    pub cpu_used: Option<f64>,
    /// The part of its memory that pods ask for, likewise.
    pub memory_used: Option<f64>,
    /// Pods on it that are not finished.
    pub pods: u64,
    /// What it waits for or what went wrong, in one line.
    pub detail: String,
}

/// The machines, in order of name.
pub fn status(state: &State, now: Timestamp) -> Vec<MachineStatus> {
    let _ = (state, now);
    Vec::new()
}

/// Why a pod waits, runs or does not matter.
pub fn why_pod(state: &State, id: &PodId, now: Timestamp) -> Why {
    let _ = (state, id, now);
    Why::default()
}

/// Why a machine or node is as it is.
pub fn why_node(state: &State, name: &str, now: Timestamp) -> Why {
    let _ = (state, name, now);
    Why::default()
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn branch(why: &Why, indent: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for (index, line) in why.because.iter().enumerate() {
                let last = index + 1 == why.because.len();
                write!(f, "\n{indent}{} {}", if last { "└─" } else { "├─" }, line.text)?;
                branch(line, &format!("{indent}{}  ", if last { " " } else { "│" }), f)?;
            }
            Ok(())
        }
        f.write_str(&self.text)?;
        branch(self, "", f)
    }
}
