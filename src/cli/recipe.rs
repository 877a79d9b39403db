//! `marea recipe`: which recipes there are, and what each of them can be told.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::check::WRONG_INPUT;
use crate::recipe::{Sources, Value, embedded};

/// Show the recipes that `disk.0.applications` may name.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marea recipe list
  marea recipe list --recipes ./recipes
  marea recipe show kubernetes

Exit status: 0 done, 2 when there is no such recipe.")]
pub struct RecipeArgs {
    /// What to show.
    #[command(subcommand)]
    pub command: RecipeCommand,
    /// A folder of recipes of your own; one of a known name takes its place.
    #[arg(long, global = true, value_name = "DIR")]
    pub recipes: Option<PathBuf>,
}

/// What can be shown.
#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// The name and purpose of each.
    List,
    /// One recipe: its parameters and steps.
    Show {
        /// Its name.
        name: String,
    },
}

/// Shows it.
pub fn run(args: &RecipeArgs) -> anyhow::Result<ExitCode> {
    let sources = sources(args.recipes.as_deref())?;
    let names: Vec<&str> = sources.0.keys().filter_map(|file| file.strip_suffix(".toml")).collect();
    let mut out = std::io::stdout().lock();
    match &args.command {
        RecipeCommand::List => {
            let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
            for name in names {
                let summary = sources.read(name).map_or_else(|_| "cannot be read".to_owned(), |recipe| recipe.summary);
                writeln!(out, "{name:width$}  {summary}")?;
            }
        }
        RecipeCommand::Show { name } => match sources.read(name) {
            Ok(recipe) => {
                writeln!(out, "{}: {}", recipe.name.get_ref(), recipe.summary)?;
                for required in &recipe.requires {
                    writeln!(out, "  needs {}", required.get_ref())?;
                }
                for (name, parameter) in &recipe.parameters {
                    let default = match &parameter.default {
                        _ if parameter.secret => "a secret".to_owned(),
                        None => "must be given".to_owned(),
                        Some(Value::Flag(flag)) => flag.to_string(),
                        Some(Value::Number(number)) => number.to_string(),
                        Some(Value::Text(text)) => format!("'{text}'"),
                    };
                    writeln!(out, "  parameter {name} = {default}: {}", parameter.help)?;
                }
                for step in &recipe.steps {
                    writeln!(out, "  step {}", step.name.get_ref())?;
                }
            }
            Err(_) if !names.contains(&name.as_str()) => {
                let all = names.join(", ");
                writeln!(std::io::stderr(), "error: there is no recipe `{name}`\nhelp: there are {all}")?;
                return Ok(ExitCode::from(WRONG_INPUT));
            }
            Err(findings) => {
                let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
                writeln!(std::io::stderr(), "{}", all.join("\n"))?;
                return Ok(ExitCode::from(WRONG_INPUT));
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// The recipes: those inside this program, and the user's over them.
pub fn sources(folder: Option<&Path>) -> anyhow::Result<Sources> {
    let mut sources = embedded::sources();
    let Some(folder) = folder else { return Ok(sources) };
    for entry in std::fs::read_dir(folder).map_err(|e| anyhow::anyhow!("--recipes {}: {e}", folder.display()))? {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            sources.0.insert(name, std::fs::read_to_string(&path)?);
        }
    }
    Ok(sources)
}
