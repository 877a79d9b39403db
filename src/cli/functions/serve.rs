//! `marea functions serve`: the gateway, from its settings and secrets.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::functions::gateway::{self, cluster};
use crate::functions::settings::{Secrets, Settings};

/// Be the gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  marea functions serve --config /etc/marea/functions.toml

In a cluster it uses the pod's service account; outside, the `kubeconfig` of its settings. SIGTERM ends it; what waits
is on disk and goes on when it is started again. docs/functions.md lists every setting.")]
pub struct ServeArgs {
    /// The settings.
    #[arg(long, value_name = "FILE", default_value = "/etc/marea/functions.toml")]
    pub config: PathBuf,
    /// The image that brings the supervisor into a pod, in place of the settings'.
    #[arg(long, value_name = "IMAGE", env = "MAREA_IMAGE", hide = true)]
    pub image: Option<String>,
}

/// Serves until it is told to stop.
pub async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let read = Settings::read(&args.config).and_then(|settings| Ok((Secrets::read(&settings)?, settings)));
    let (secrets, mut settings) = match read {
        Ok(read) => read,
        Err(error) => {
            writeln!(std::io::stderr(), "{error}")?;
            return Ok(ExitCode::from(2));
        }
    };
    if let Some(image) = args.image {
        settings.image = image;
    }
    let client = cluster::connect(settings.kubeconfig.as_deref()).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        futures::future::select(Box::pin(terminate.recv()), Box::pin(interrupt.recv())).await;
    };
    gateway::serve(settings, secrets, client, stop).await?;
    Ok(ExitCode::SUCCESS)
}
