//! A planted crash: a test names a moment in `MAREA_CRASH_AT` and the process ends there as if it were
//! killed, without a destructor or a last word. `journaled:power-on` is when a power on is written down
//! and not begun; `done:power-on` is when it is done and nobody knows yet.

/// Where the process is to end, if anywhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Crash(Option<String>);

impl Crash {
    /// Reads the moment from the environment.
    pub(super) fn planted() -> Self {
        Self(std::env::var("MAREA_CRASH_AT").ok())
    }

    /// Ends the process when this is the moment.
    pub(super) fn at(&self, moment: &str, action: &str) {
        if self.0.as_deref().and_then(|planted| planted.split_once(':')) == Some((moment, action)) {
            tracing::error!(moment, action, "a test planted a crash here");
            std::process::abort();
        }
    }
}
