//! `marea journal`: the daemon's memory, looked at from outside.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::autoscaler::{self, Core};
use crate::store::journal::Journal;

/// The journal.
#[derive(Debug, Args)]
pub struct JournalArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub order: JournalOrder,
}

/// What may be done with a journal.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum JournalOrder {
    /// Fold every line again and compare with what was written.
    ///
    /// Example: marea journal verify
    Verify,
}

/// Does it.
pub fn run(args: JournalArgs, state: &Path) -> anyhow::Result<ExitCode> {
    let JournalOrder::Verify = args.order;
    if !state.join("journal.db").exists() {
        anyhow::bail!("there is no journal in {}; name a state directory with `--state`", state.display());
    }
    let checked = Journal::open(state)?.verify::<Core>(autoscaler::step)?;
    if let Some(line) = checked.parted {
        anyhow::bail!("line {line} does not replay to the bytes that were written: another version of Marea wrote it");
    }
    let (lines, snapshots) = (checked.lines, checked.snapshots);
    writeln!(std::io::stdout(), "{lines} events and {snapshots} snapshots replayed to the same bytes")?;
    Ok(ExitCode::SUCCESS)
}
