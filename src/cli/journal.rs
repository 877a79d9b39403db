//! `marea journal`: the daemon's memory, looked at from outside.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::autoscaler::{self, State};
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
    let mut journal = Journal::open(state)?;
    let replayed = journal.replay::<State>(autoscaler::step)?;
    if let Some(line) = replayed.parted {
        anyhow::bail!("line {line} does not replay to the bytes that were written: another version of Marea wrote it");
    }
    writeln!(std::io::stdout(), "{} events since the last snapshot, each replayed to the same bytes", replayed.lines)?;
    Ok(ExitCode::SUCCESS)
}
