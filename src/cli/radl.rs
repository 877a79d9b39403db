//! `marea radl`: RADL files checked, laid out, turned into another form, merged and explained.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::check::{self, CheckArgs, WRONG_INPUT};
use crate::radl::{self, Loaded};

pub mod texts;

use texts::{ReadingArgs, Texts};

/// Check, lay out, convert, merge or explain RADL files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marea radl check front.radl pools.radl
  marea radl fmt --check *.radl
  marea radl convert --to json cluster.radl
  marea radl merge kubernetes ubuntu --templates ./templates > cluster.radl
  marea radl explain cluster.radl | grep memory.size

Exit status: 0 done, 2 when there is an error in the input.")]
pub struct RadlArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RadlCommand,
}

/// What can be done with RADL.
#[derive(Debug, Subcommand)]
pub enum RadlCommand {
    /// Say everything that is wrong; also `marea check`.
    Check(CheckArgs),
    /// Lay texts out as RADL is usually written, comments kept.
    Fmt(FmtArgs),
    /// Print the document in IM's dialect, in EC3's, or as JSON.
    Convert(ConvertArgs),
    /// Merge EC3's templates into one document of IM's dialect, as `ec3 launch --dry-run -p` does.
    Merge(MergeArgs),
    /// Show which file and line set each feature.
    Explain(ExplainArgs),
}

/// `marea radl fmt`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  marea radl fmt cluster.radl\n  marea radl fmt --write radl/*.radl\n  marea radl fmt --check radl/*.radl"
)]
pub struct FmtArgs {
    /// The files; `-` is the standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write the files instead of printing them.
    #[arg(long, conflicts_with = "check")]
    pub write: bool,
    /// Change nothing; fail when a file is laid out differently.
    #[arg(long)]
    pub check: bool,
    /// How the texts are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// `marea radl convert`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  marea radl convert --to json cluster.radl\n  marea radl convert --to im cluster.json\n  marea radl convert --to ec3 cluster.radl"
)]
pub struct ConvertArgs {
    /// The files, one document; RADL in either dialect, or in JSON.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Into what.
    #[arg(long, value_enum)]
    pub to: Form,
    /// How the texts are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// A form of RADL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// IM's dialect.
    Im,
    /// EC3's dialect.
    Ec3,
    /// IM's JSON.
    Json,
}

/// `marea radl merge`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  marea radl merge kubernetes ubuntu\n  marea radl merge cluster --add 'system wn ( ec3_max_instances = 8 )'\n  marea radl merge --compat --templates ~/.ec3/templates slurm image"
)]
pub struct MergeArgs {
    /// Templates: names, or paths of files.
    #[arg(required = true, value_name = "TEMPLATE")]
    pub templates_named: Vec<String>,
    /// A piece of RADL that is laid over the templates.
    #[arg(long, value_name = "RADL")]
    pub add: Vec<String>,
    /// Print EC3's JSON.
    #[arg(long)]
    pub json: bool,
    /// How the texts are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// `marea radl explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  marea radl explain front.radl wn.radl\n  marea radl explain --format json cluster.radl | jq '.[] | select(.file == \"wn.radl\")'"
)]
pub struct ExplainArgs {
    /// The files, one document.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = check::Format::Human)]
    pub format: check::Format,
    /// How the texts are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// Does what was asked. `known` tells which recipes there are.
pub fn run(args: &RadlArgs, known: &dyn Fn(&str) -> bool) -> anyhow::Result<ExitCode> {
    match &args.command {
        RadlCommand::Check(args) => check::run(args, known),
        RadlCommand::Fmt(args) => fmt(args),
        RadlCommand::Convert(args) => {
            let texts = texts::gather(&args.files, &args.reading);
            print(texts, &args.reading, |loaded| match args.to {
                Form::Im => Ok(loaded.im_text()),
                Form::Ec3 => loaded.ec3_text().map(|text| text + "\n"),
                Form::Json => Ok(format!("{:#}\n", loaded.im_json())),
            })
        }
        RadlCommand::Merge(args) => {
            let texts = texts::named(&args.templates_named, &args.add, &args.reading);
            let mut reading = args.reading.clone();
            reading.dialect = texts::DialectName::Ec3;
            print(texts, &reading, |loaded| {
                Ok(if args.json { format!("{:#}\n", loaded.json()) } else { loaded.im_text() })
            })
        }
        RadlCommand::Explain(args) => {
            let texts = texts::gather(&args.files, &args.reading);
            print(texts, &args.reading, |loaded| Ok(explain(loaded, args.format)))
        }
    }
}

/// Reads, says what is wrong, and prints what `made` makes of it unless there is an error.
fn print(
    texts: Result<Texts, String>,
    reading: &ReadingArgs,
    made: impl Fn(&Loaded<'_>) -> Result<String, String>,
) -> anyhow::Result<ExitCode> {
    let texts = match texts {
        Ok(texts) => texts,
        Err(message) => {
            writeln!(std::io::stderr(), "error: {message}")?;
            return Ok(ExitCode::from(WRONG_INPUT));
        }
    };
    let beside = |name: &str| texts.beside(name);
    let input = texts.input(reading, &beside);
    let mut loaded = radl::load_as(&input, &|_| true);
    // Whether it makes a cluster is for `check` to say.
    loaded.diagnostics.retain(|found| !check::OF_CLUSTER.contains(&found.code));
    write!(std::io::stderr(), "{}", loaded.human(check::styled()))?;
    if loaded.faulty() {
        return Ok(ExitCode::from(WRONG_INPUT));
    }
    match made(&loaded) {
        Ok(text) => {
            write!(std::io::stdout(), "{text}")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(message) => {
            writeln!(std::io::stderr(), "error: {message}")?;
            Ok(ExitCode::from(WRONG_INPUT))
        }
    }
}

fn fmt(args: &FmtArgs) -> anyhow::Result<ExitCode> {
    let texts = match texts::gather(&args.files, &args.reading) {
        Ok(texts) => texts,
        Err(message) => {
            writeln!(std::io::stderr(), "error: {message}")?;
            return Ok(ExitCode::from(WRONG_INPUT));
        }
    };
    let mut code = ExitCode::SUCCESS;
    for (path, text) in &texts.files {
        let dialect = args.reading.dialect.given().unwrap_or_else(|| radl::dialect::Dialect::of(text));
        let faulty =
            radl::parse_in(text, dialect).1.iter().any(|one| one.severity == crate::diagnostic::Severity::Error);
        if faulty {
            writeln!(std::io::stderr(), "{path}: not laid out, for it has errors: see `marea radl check {path}`")?;
            code = ExitCode::from(WRONG_INPUT);
            continue;
        }
        let laid = radl::format(text, dialect);
        if args.check && laid != *text {
            writeln!(std::io::stderr(), "{path}: is laid out differently: run `marea radl fmt --write {path}`")?;
            code = ExitCode::from(1);
        } else if args.write && laid != *text {
            std::fs::write(path, laid)?;
        } else if !args.check && !args.write {
            write!(std::io::stdout(), "{laid}")?;
        }
    }
    Ok(code)
}

fn explain(loaded: &Loaded<'_>, format: check::Format) -> String {
    let origins = loaded.origins();
    if format == check::Format::Json {
        return serde_json::to_string_pretty(&origins).unwrap_or_default() + "\n";
    }
    let mut text = String::new();
    for origin in &origins {
        let what = format!("{} {}", origin.aspect, origin.feature);
        let place = if origin.file.is_empty() { "-".to_owned() } else { format!("{}:{}", origin.file, origin.line) };
        text.push_str(&format!("{:<60} {place}\n", what.trim_end()));
    }
    text
}
