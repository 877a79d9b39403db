//! `marea journal`: what the journal holds and whether it still folds to what was written.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::autoscaler::{self, State};
use crate::store::journal::Journal;

/// Look into the journal of a state directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  marea journal verify     while no daemon runs on the state directory, or while one does")]
pub struct JournalArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: What,
}

/// What can be done with a journal.
#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// Fold every line that is kept and compare each decision and snapshot, byte for byte, with what was written.
    Verify,
}

/// Does it.
pub fn run(args: &JournalArgs, state: &Path) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Verify => verify(state),
    }
}

fn verify(state: &Path) -> anyhow::Result<ExitCode> {
    if !state.join("journal.db").exists() {
        anyhow::bail!("there is no journal in {}; name a state directory with `--state`", state.display());
    }
    let checked = Journal::open(state)?.verify::<State>(autoscaler::step)?;
    let mut out = std::io::stdout();
    if let Some(seq) = checked.parted {
        writeln!(out, "line {seq} of {} events folds to other bytes than were written", checked.lines)?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(out, "{} events and {} snapshots fold to the same bytes", checked.lines, checked.snapshots)?;
    Ok(ExitCode::SUCCESS)
}
