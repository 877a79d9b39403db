//! The service: the daemon on the front-end, under its systemd. It gets this very program, the unit, the config as it
//! was given, and what the bootstrap wrote down. Everything is compared first, so that a second run changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::folder::Folder;
use super::plan::script::{OWNER, quote};
use super::progress::Progress;
use crate::remote::push::Push;
use crate::remote::{Access, Connection, Host, RemoteError};

const UNIT: &str = include_str!("../../systemd/marea.service");
/// Where the program lies; a link leads there from the usual place, which the unit names.
const HOME: &str = "/usr/local/lib/marea";
const LINK: &str = "/usr/local/bin/marea";

/// What the front-end's daemon is given.
#[derive(Debug, Clone)]
pub struct Service {
    /// This program.
    pub program: PathBuf,
    /// The config's text.
    pub config: String,
    /// More files that the config names (keys, passwords, scripts), brought to the same path with the same mode.
    pub files: Vec<PathBuf>,
}

/// Why the daemon could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The connection.
    #[error("the daemon could not be installed on the front-end: {0}")]
    Remote(#[from] RemoteError),
    /// A file here.
    #[error("the daemon could not be installed on the front-end: cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A command there.
    #[error("the daemon could not be installed on the front-end: {what}\n{output}")]
    Failed {
        /// What was done.
        what: &'static str,
        /// What it printed.
        output: String,
    },
}

/// Stops the daemon of an earlier bootstrap, if there is one: two who power the same machines would undo each other's
/// work. [`Service::install`] starts it again. A daemon of another cluster is left alone.
pub async fn rest(front_end: &Host, access: &Access, owner: &str, progress: &Progress) {
    // A front-end that does not answer has no daemon that could do anything.
    let Ok(connection) = Connection::open(front_end, access).await else { return };
    let stop = format!(
        "{{\n[ \"$(cat {OWNER})\" = {owner} ] || exit 3\nsystemctl is-active -q marea || exit 3\ntimeout 60 systemctl stop marea\n}} </dev/null\n"
    );
    if connection.run(&stop, Duration::from_secs(70)).await.is_ok_and(|o| o.code == 0) {
        progress.say(&front_end.name, "its daemon rests until the cluster is whole");
    }
}

/// A file as it is to be on the front-end.
struct Wanted {
    path: String,
    mode: u32,
    bytes: Vec<u8>,
}

impl Service {
    /// Installs it, or sees that it is there; true when something changed.
    pub async fn install(
        &self,
        front_end: &Connection,
        folder: &Folder,
        progress: &Progress,
    ) -> Result<bool, ServiceError> {
        let name = front_end.host.name.clone();
        let program = Self::read(&self.program)?;
        let sum = digest(&program);
        let mut wanted = vec![
            Wanted { path: "/etc/systemd/system/marea.service".into(), mode: 0o644, bytes: UNIT.into() },
            Wanted { path: "/etc/marea/marea.toml".into(), mode: 0o600, bytes: self.config.clone().into() },
        ];
        for file in ["kubeconfig", "cluster.json"] {
            let bytes = Self::read(&folder.path().join(file))?;
            wanted.push(Wanted { path: format!("/var/lib/marea/{file}"), mode: 0o600, bytes });
        }
        let infrastructure = folder.path().join("im.json");
        if infrastructure.exists() {
            let bytes = Self::read(&infrastructure)?;
            wanted.push(Wanted { path: "/var/lib/marea/im.json".into(), mode: 0o600, bytes });
        }
        for file in &self.files {
            use std::os::unix::fs::PermissionsExt as _;
            let failed = |source| ServiceError::Read { path: file.clone(), source };
            let mode = std::fs::metadata(file).map_err(failed)?.permissions().mode() & 0o777;
            wanted.push(Wanted { path: file.to_string_lossy().into_owned(), mode, bytes: Self::read(file)? });
        }
        let sums: String = wanted.iter().map(|w| format!("{}  {}\n", digest(&w.bytes), w.path)).collect();
        let same = format!(
            "{{\n[ {LINK} -ef {HOME}/{sum}/marea ] && systemctl is-active -q marea && systemctl is-enabled -q marea && sha256sum -c --status <<'SUMS'\n{sums}SUMS\n}}\n",
        );
        if front_end.run(&same, Duration::from_secs(30)).await?.code == 0 {
            return Ok(false);
        }
        progress.say(&name, "installing the daemon");
        self.push_program(front_end, &sum).await?;
        for file in &wanted {
            put(front_end, file).await?;
        }
        let runs = format!(
            "{{\nset -e\nln -sfn {HOME}/{sum}/marea {LINK}\n\
             {LINK} --version >/dev/null || {{ echo 'this program does not run there: build it on a system as old as the front-end'; exit 1; }}\n\
             systemctl daemon-reload\nsystemctl enable -q marea\n\
             timeout 90 systemctl restart marea || {{ journalctl -u marea -n 15 --no-pager -o cat; exit 1; }}\n}} </dev/null\n"
        );
        let outcome = front_end.run(&runs, Duration::from_secs(120)).await?;
        if outcome.code == 0 {
            return Ok(true);
        }
        Err(ServiceError::Failed { what: "it did not start", output: outcome.last_lines(15).join("\n") })
    }

    fn read(path: &std::path::Path) -> Result<Vec<u8>, ServiceError> {
        std::fs::read(path).map_err(|source| ServiceError::Read { path: path.to_owned(), source })
    }

    /// Brings the program to a folder of its own sum, beside the one that may be running.
    async fn push_program(&self, front_end: &Connection, sum: &str) -> Result<(), ServiceError> {
        let folder = self.program.parent().unwrap_or(std::path::Path::new("/"));
        let path = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let push = Push { path: path.clone(), sha256: sum.to_owned() };
        front_end.push(folder, &format!("{HOME}/{sum}"), &[push]).await?;
        if path != "marea" {
            let link = format!("ln -sfn {} {HOME}/{sum}/marea\n", quote(&path));
            front_end.run(&link, Duration::from_secs(20)).await?;
        }
        Ok(())
    }
}

/// Puts a small file in its place, whole.
async fn put(front_end: &Connection, file: &Wanted) -> Result<(), ServiceError> {
    let place = "p=$1; m=$2; mkdir -p \"${p%/*}\" && ( umask 077; cat > \"$p.marea-new\" ) && chmod \"$m\" \"$p.marea-new\" && mv \"$p.marea-new\" \"$p\"";
    let mode = format!("{:o}", file.mode);
    let argv = ["bash", "-c", place, "put", &file.path, &mode];
    let outcome = front_end.pipe(&file.bytes, &argv, Duration::from_secs(60)).await?;
    if outcome.code == 0 {
        return Ok(());
    }
    Err(ServiceError::Failed { what: "a file could not be written", output: outcome.last_lines(3).join("; ") })
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
