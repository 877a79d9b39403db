//! `marea why`: the reason behind what the daemon does or does not do about one pod or one machine.

#![expect(clippy::print_stdout, reason = "this is what the command is for")]

use std::path::Path;
use std::process::ExitCode;

use super::socket::{Daemon, Format, segment};
use crate::autoscaler::Why;
use crate::model::pod::PodId;

/// Explain why a pod waits, why a machine is on or off, or what a queue wakes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  marea why pod default/train-0\n  marea why node wn-1 --format json\n  marea why queue gateway"
)]
pub struct WhyArgs {
    /// About what.
    #[command(subcommand)]
    pub about: About,
}

/// What is asked about.
#[derive(Debug, clap::Subcommand)]
pub enum About {
    /// A pod: each machine with the first reason that it does not serve.
    Pod {
        /// The pod, as NAMESPACE/NAME.
        #[arg(value_name = "NAMESPACE/NAME", value_parser = pod)]
        id: PodId,
        /// How to write it.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// A queue: what it holds, the pods that are to come, and what each machine is to them.
    Queue {
        /// The queue's name.
        name: String,
        /// How to write it.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// A machine or its node: what keeps it as it is, and the timers that run.
    Node {
        /// The machine's name, which is its node's.
        name: String,
        /// How to write it.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

fn pod(text: &str) -> Result<PodId, String> {
    PodId::try_from(text.to_owned())
}

/// Asks the daemon and shows.
pub async fn run(args: WhyArgs, state: &Path) -> anyhow::Result<ExitCode> {
    let daemon = Daemon::find(state)?;
    let (path, format) = match args.about {
        About::Pod { id, format } => (format!("/v1/why/pod/{}/{}", segment(&id.namespace), segment(&id.name)), format),
        About::Queue { name, format } => (format!("/v1/why/queue/{}", segment(&name)), format),
        About::Node { name, format } => (format!("/v1/why/node/{}", segment(&name)), format),
    };
    let why: Why = daemon.get(&path).await?;
    match format {
        Format::Text => println!("{why}"),
        Format::Json => println!("{}", serde_json::to_string(&why)?),
    }
    Ok(ExitCode::SUCCESS)
}
