//! `marea check`: reads RADL files as one document and says everything that is wrong with it.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::radl::texts::{self, ReadingArgs};
use crate::diagnostic::Severity;
use crate::radl;

/// Used wrongly: the input is at fault.
pub(super) const WRONG_INPUT: u8 = 2;

/// What only a whole cluster must have.
pub(super) const OF_CLUSTER: [&str; 5] = ["R0055", "R0060", "R0061", "R0062", "R0065"];

/// Check RADL files, taken together as one document in the order given.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  marea check radl/elastic-local.radl\n  marea check front.radl pools.radl\n  marea check --format json cluster.radl | jq '.[].message'\n  marea check --compat old.radl\n  marea check --fragment template.radl\n\nExit status: 0 when there is no error (warnings are allowed), 2 when there is one."
)]
pub struct CheckArgs {
    /// The files; `-` is the standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How findings are printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// A part of a cluster, such as a template: it need not make one.
    #[arg(long)]
    pub fragment: bool,
    /// How the texts are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person: the line, a caret, and help; on the standard error.
    Human,
    /// For a program: a JSON array; on the standard output.
    Json,
}

/// Checks, prints, and answers with the exit status. `known` tells which recipes there are.
pub fn run(args: &CheckArgs, known: &dyn Fn(&str) -> bool) -> anyhow::Result<ExitCode> {
    let texts = match texts::gather(&args.files, &args.reading) {
        Ok(texts) => texts,
        Err(message) => {
            let name = message.strip_prefix("cannot read ").and_then(|rest| rest.split(": ").next()).unwrap_or("");
            let help = "give the path of a RADL file that you may read, in UTF-8";
            match args.format {
                Format::Human => {
                    writeln!(std::io::stderr(), "error[R0000]: {message}\n  --> {name}:1:1\nhelp: {help}")?;
                }
                Format::Json => {
                    let one = serde_json::json!([{"file": name, "line": 1, "column": 1, "end_line": 1, "end_column": 1, "code": "R0000",
                        "severity": "error", "message": message, "help": help}]);
                    writeln!(std::io::stdout(), "{one:#}")?;
                }
            }
            return Ok(ExitCode::from(WRONG_INPUT));
        }
    };
    let beside = |name: &str| texts.beside(name);
    let mut loaded = radl::load_as(&texts.input(&args.reading, &beside), known);
    if args.fragment {
        loaded.diagnostics.retain(|found| !OF_CLUSTER.contains(&found.code));
    }
    let wrong = if args.fragment { loaded.faulty() } else { loaded.has_errors() };
    match args.format {
        Format::Json => writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&loaded.located())?)?,
        Format::Human => {
            write!(std::io::stderr(), "{}", loaded.human(styled()))?;
            let errors = loaded.diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
            let warnings = loaded.diagnostics.len() - errors;
            match &loaded.spec {
                Some(spec) => {
                    let workers: u32 = spec.pools.iter().map(|pool| pool.max).fold(0, u32::saturating_add);
                    let (name, pools) = (&spec.name, spec.pools.len());
                    writeln!(
                        std::io::stdout(),
                        "{name}: a front-end and {workers} workers in {pools} pools; {warnings} warnings"
                    )?;
                }
                None if !wrong => writeln!(std::io::stdout(), "a part of a cluster; {warnings} warnings")?,
                None => writeln!(std::io::stderr(), "{errors} errors, {warnings} warnings")?,
            }
        }
    }
    Ok(if wrong { ExitCode::from(WRONG_INPUT) } else { ExitCode::SUCCESS })
}

/// Whether what is printed for a person may be in colour.
pub(super) fn styled() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
