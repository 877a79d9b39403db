//! `marea bundle`: gather what a cluster needs, check it, list it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::bundle::BundleError;
use crate::bundle::build::{self, From, Options, read_index};
use crate::bundle::manifest::{BUILT_IN, Manifest};
use crate::clock;

/// The bundle: all that a cluster needs, in one folder.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub order: BundleOrder,
}

/// What may be done with a bundle.
#[derive(Debug, Subcommand)]
pub enum BundleOrder {
    /// Make what is missing; the second run takes seconds.
    ///
    /// Example: marea bundle build --from compile
    Build {
        /// A list of your own instead of the one that this program was built with.
        #[arg(long, value_name = "FILE")]
        manifest: Option<PathBuf>,
        /// Where programs come from.
        #[arg(long, value_enum, default_value_t = Source::Auto)]
        from: Source,
        /// A mirror that keeps the paths of the official addresses, such as <https://mirror.example.org/k8s>.
        /// Proxies are taken from the environment.
        #[arg(long, value_name = "URL", env = "MAREA_MIRROR")]
        mirror: Option<String>,
    },
    /// Read every piece and compare it with the list.
    Verify,
    /// Show what it holds.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Where programs come from.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Source {
    /// Download what is pinned and reachable, compile the rest.
    Auto,
    /// Only download.
    Download,
    /// Only compile.
    Compile,
}

/// Does it.
pub async fn run(args: BundleArgs, folder: &Path) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    match args.order {
        BundleOrder::Build { manifest, from, mirror } => {
            build(folder, manifest.as_deref(), from, mirror.as_deref()).await
        }
        BundleOrder::Verify => {
            let (lines, wrong) = build::verify(folder).map_err(no_bundle)?;
            for line in &wrong {
                writeln!(out, "{line}")?;
            }
            if !wrong.is_empty() {
                anyhow::bail!(
                    "{} of {} pieces are wrong; `marea bundle build` makes them again once they are removed",
                    wrong.len(),
                    lines.len()
                );
            }
            writeln!(out, "{} pieces, all as listed", lines.len())?;
            Ok(ExitCode::SUCCESS)
        }
        BundleOrder::List { json } => {
            let lines = read_index(folder).map_err(no_bundle)?;
            if json {
                writeln!(out, "{}", serde_json::to_string_pretty(&lines)?)?;
                return Ok(ExitCode::SUCCESS);
            }
            for l in &lines {
                #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
                let megabytes = l.size as f64 / 1e6;
                writeln!(
                    out,
                    "{:<36} {:<10} {megabytes:>7.1} MB  {}  {}",
                    l.path,
                    l.version,
                    &l.sha256[..l.sha256.len().min(12)],
                    l.reference
                )?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn build(folder: &Path, manifest: Option<&Path>, from: Source, mirror: Option<&str>) -> anyhow::Result<ExitCode> {
    let read = match manifest {
        None => Manifest::read("recipes/bundle.toml", BUILT_IN),
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => Manifest::read(&path.display().to_string(), &text),
            Err(error) => Err(BundleError::Manifest(format!("cannot read {}: {error}", path.display()))),
        },
    };
    let manifest = match read {
        Ok(manifest) => manifest,
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let started = clock::monotonic();
    let say = |text: &str| {
        let _ = writeln!(std::io::stderr(), "{:>6.1} s  {text}", started.elapsed().as_secs_f64());
    };
    let from = match from {
        Source::Auto => From::Auto,
        Source::Download => From::Download,
        Source::Compile => From::Compile,
    };
    let lines = build::build(&manifest, &Options { folder, from, mirror, say: &say }).await?;
    let bytes: u64 = lines.iter().map(|l| l.size).sum();
    say(&format!("{} holds {} pieces, {} MB", folder.display(), lines.len(), bytes / 1_000_000));
    Ok(ExitCode::SUCCESS)
}

fn no_bundle(error: BundleError) -> anyhow::Error {
    anyhow::anyhow!("there is no bundle ({error}); run `marea bundle build`")
}
