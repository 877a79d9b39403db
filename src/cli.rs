//! The command line: the words a person types, and where each of them goes.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub mod bootstrap;
pub mod bundle;
pub mod check;
pub mod destroy;
pub mod functions;
pub mod im;
pub mod import;
pub mod journal;
pub mod log;
pub mod machine;
pub mod power;
pub mod providers;
pub mod radl;
pub mod recipe;
pub mod run;
pub mod simulate;
pub mod socket;
pub mod status;
pub mod why;

/// From one RADL file and a rack of machines to an elastic Kubernetes cluster.
///
/// Machines are powered on when pods wait and off when they idle.
#[derive(Debug, Parser)]
#[command(name = "marea", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  marea check radl/elastic-local.radl                 is the template right?
  marea bundle build                                  gather all that a cluster needs
  marea bootstrap radl/elastic-local.radl             make the cluster
  marea run                                           power machines with the work
  marea status                                        what is on, and why

Exit codes: 0 done, 1 failed, 2 used wrongly.")]
pub struct Cli {
    /// Where Marea keeps what it must not lose.
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/marea", env = "MAREA_STATE")]
    pub state: PathBuf,
    /// The bundle: the folder of binaries and images.
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/cache/marea/bundle", env = "MAREA_BUNDLE")]
    pub bundle: PathBuf,
    /// Says more; twice: everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `marea` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check RADL files: every mistake with its place and what to do.
    Check(check::CheckArgs),
    /// Check, lay out, convert, merge or explain RADL files.
    Radl(radl::RadlArgs),
    /// Show the recipes that a document may name.
    Recipe(recipe::RecipeArgs),
    /// Gather, verify or list the bundle: all that a cluster needs.
    Bundle(bundle::BundleArgs),
    /// Make the cluster that RADL files describe; run again, finish or do nothing.
    Bootstrap(bootstrap::BootstrapArgs),
    /// Remove all that bootstrap made.
    Destroy(destroy::DestroyArgs),
    /// Be the daemon: power machines with the work.
    Run(run::RunArgs),
    /// Run a trace of jobs through the daemon's decisions in virtual time: kWh, cost, waiting and boots.
    Simulate(simulate::SimulateArgs),
    /// Show the machines: state, age and use.
    Status(status::StatusArgs),
    /// Say why a pod waits, or why a machine is as it is.
    Why(why::WhyArgs),
    /// Power a machine on or off now.
    Power(power::PowerArgs),
    /// Let the daemon power a machine again.
    Enable(power::EnableArgs),
    /// Have the daemon leave a machine alone.
    Disable(power::DisableArgs),
    /// Functions: run a container for each object that comes into a bucket.
    Functions(functions::FunctionsArgs),
    /// Take over a running cluster that EC3 made.
    Import(import::ImportArgs),
    /// The virtual machines of a cloud: list them, remove those that are nobody's.
    Im(im::ImArgs),
    /// Look into the journal: does it replay to the same bytes?
    Journal(journal::JournalArgs),
    /// Local machines by hand, without a cluster.
    #[command(hide = true)]
    Machine(machine::MachineArgs),
    /// Print a completion script for a shell.
    ///
    /// Example: marea completions bash > /etc/bash_completion.d/marea
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page.
    ///
    /// Example: marea man > /usr/local/share/man/man1/marea.1
    Man,
}

/// Does what was asked.
pub async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let (state, bundle) = (cli.state.as_path(), cli.bundle.as_path());
    match cli.command {
        Command::Check(args) => check::run(&args, &known_recipe),
        Command::Radl(args) => radl::run(&args, &known_recipe),
        Command::Recipe(args) => recipe::run(&args),
        Command::Bundle(args) => bundle::run(args, bundle).await,
        Command::Bootstrap(args) => bootstrap::run(args, state, bundle).await,
        Command::Destroy(args) => destroy::run(args, state).await,
        Command::Run(args) => run::run(args, state).await,
        Command::Simulate(args) => simulate::run(&args, state),
        Command::Status(args) => status::run(args, state).await,
        Command::Why(args) => why::run(args, state).await,
        Command::Power(args) => power::run(args, state).await,
        Command::Enable(args) => power::enable(args, state).await,
        Command::Disable(args) => power::disable(args, state).await,
        Command::Functions(args) => functions::run(args).await,
        Command::Import(args) => import::run(args, state).await,
        Command::Im(args) => im::run(args, state).await,
        Command::Journal(args) => journal::run(args, state),
        Command::Machine(args) => machine::run(args, state, Some(bundle)).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "marea", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            std::io::stdout().write_all(&page)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Says what failed, on one line with its causes, and gives the exit code for it. A closed pipe is no failure.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    let closed = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    if closed.into_iter().any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(std::io::stderr(), "marea: {error:#}");
    ExitCode::from(1)
}

/// True for the recipes that come with the program.
fn known_recipe(name: &str) -> bool {
    crate::recipe::embedded::sources().0.contains_key(&format!("{name}.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_do_not_contradict() {
        Cli::command().debug_assert();
    }
}
