//! The log: lines on stderr for a terminal or the journal, which adds the time itself.

use tracing_subscriber::EnvFilter;

/// Starts logging. `MAREA_LOG` (such as `marea=debug`) wins over `-v`.
pub fn start(verbose: u8) {
    // The client of Kubernetes calls every retry an error; what it means for us is said by our own watch.
    let level = match verbose {
        0 => "marea=info,kube_client=off,warn",
        1 => "marea=debug,kube_client=warn,info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("MAREA_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
