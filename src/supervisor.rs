//! The supervisor: what runs in a function's container around the user's script. It brings the object that the event
//! tells of, runs the script with OSCAR's variables, takes the results to where the function says, and ends with the
//! script's own exit code. It is a small static program, because the user's image may hold nothing but `/bin/sh`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;

use futures::future::{Either, select};

pub mod event;
pub mod install;
mod network;
pub mod outcome;
pub mod providers;
mod result;
mod script;
mod signals;
mod stage;

use event::Event;
use outcome::{Failure, Outcome};
use providers::Config;
use signals::Signals;

/// Where a container has what the supervisor reads. All of it below `/`, or below another folder for a run outside of
/// a container.
#[derive(Debug, Clone)]
pub struct Places {
    config: PathBuf,
    script: PathBuf,
    event: PathBuf,
    secrets: PathBuf,
}

impl Places {
    /// The usual places below `root`.
    pub fn below(root: &Path) -> Self {
        Self {
            config: root.join("oscar/config/function_config.yaml"),
            script: root.join("oscar/config/script.sh"),
            event: root.join("marea/event/event"),
            secrets: root.join("var/run/secrets/providers"),
        }
    }
}

/// Does one run; the answer is the process's exit code.
pub async fn run(places: &Places) -> u8 {
    let outcome = match flow(places).await {
        Ok(outcome) => outcome,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "marea-supervisor: {failure}");
            Outcome { code: failure.code, reason: failure.reason, result: "none" }
        }
    };
    outcome.leave_word();
    outcome.code
}

async fn flow(places: &Places) -> Result<Outcome, Failure> {
    let mut signals = Signals::listen()?;
    let config = Config::read(&places.config, &places.secrets)?;
    let text = event_text(&places.event)?;
    let event = event::parse(&text);
    // A destination that cannot be reached by its name is found out before hours of work, not after.
    let mut stores = config.stores()?;
    let folders = stage::Folders::make()?;

    let staged = {
        let staging = pin!(stage::bring(&config, &mut stores, &event, &text, &folders.input));
        match select(staging, pin!(signals.next())).await {
            Either::Left((staged, _)) => staged?,
            Either::Right((number, _)) => return Ok(Outcome::signal(number)),
        }
    };
    let mut variables: Vec<(&str, OsString)> = vec![
        ("TMP_INPUT_DIR", folders.input.as_os_str().to_owned()),
        ("TMP_OUTPUT_DIR", folders.output.as_os_str().to_owned()),
    ];
    if let Some(path) = staged {
        variables.push(("INPUT_FILE_PATH", path.into_os_string()));
    }
    if let Event::Object(object) = &event {
        variables.push(("STORAGE_OBJECT_KEY", object.key.clone().into()));
        variables.push(("EVENT_TIME", object.time.clone().into()));
        variables.push(("EVENT", object.text.clone().into()));
    }
    // A caller waits for the result.
    let mut said = std::env::var_os("MAREA_SYNC").filter(|v| v == "1").map(|_| script::Said::default());
    let code = script::run(&places.script, &variables, &mut signals, said.as_mut()).await?;
    if code != 0 {
        // Half a result is none: nothing of a script that failed is taken anywhere.
        return Ok(Outcome { code, reason: format!("the script ended with exit code {code}"), result: "none" });
    }
    let files = stage::files(&folders.output)?;
    stage::take(&config, &mut stores, &files).await?;
    let wanted = said.is_some() || matches!(event, Event::Raw(_));
    let result = if wanted { result::print(&folders, &files, said.as_ref())? } else { "none" };
    Ok(Outcome { code: 0, reason: String::new(), result })
}

/// The event: the file when there is one (it takes any length), else the variable `EVENT`.
fn event_text(file: &Path) -> Result<String, Failure> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = std::env::var_os("EVENT").map(|t| t.to_string_lossy().into_owned());
            text.ok_or_else(|| Failure::config(format!("there is no event: neither {} nor EVENT", file.display())))
        }
        Err(error) => Err(Failure::config(format!("{}: {error}", file.display()))),
    }
}
