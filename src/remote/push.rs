//! Pushing: brings files of the bundle to a machine that has no view of it. Only what is missing or
//! different travels, each file beside its place first, and it takes its place only when its sum is right.

use std::path::Path;
use std::time::Duration;

use super::{Connection, RemoteError};

/// A file to bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Path below the two folders.
    pub path: String,
    /// Its SHA-256.
    pub sha256: String,
}

impl Connection {
    /// Brings `files` from the folder `from` here to the folder `to` there; returns how many travelled.
    pub async fn push(&self, from: &Path, to: &str, files: &[Push]) -> Result<usize, RemoteError> {
        let broken = |reason: String| RemoteError::Broken { host: self.host.name.clone(), reason };
        let sums: String = files.iter().map(|f| format!("{}  {to}/{}\n", f.sha256, f.path)).collect();
        // A sum file beside each file saves reading gigabytes again: its time must not be older.
        let ask = format!(
            "{{\nwhile read -r sum path; do [ \"$(cat \"$path.sha256\" 2>/dev/null)\" = \"$sum\" ] && [ -s \"$path\" ] || echo \"$path\"; done <<'SUMS'\n{sums}SUMS\n}}\n"
        );
        let answer = self.run(&ask, Duration::from_secs(60)).await?;
        let mut sent = 0;
        for file in files.iter().filter(|f| answer.stdout.lines().any(|l| l == format!("{to}/{}", f.path))) {
            let local = from.join(&file.path);
            let bytes = tokio::fs::read(&local).await.map_err(|source| RemoteError::Local { path: local, source })?;
            let place = "p=$1; s=$2; mkdir -p \"${p%/*}\" && cat > \"$p.new\" && echo \"$s  $p.new\" | sha256sum -c --status && chmod 0755 \"$p.new\" && mv \"$p.new\" \"$p\" && echo \"$s\" > \"$p.sha256\"";
            let path = format!("{to}/{}", file.path);
            let outcome = self
                .pipe(&bytes, &["bash", "-c", place, "push", &path, &file.sha256], Duration::from_secs(600))
                .await?;
            if outcome.code != 0 {
                return Err(broken(format!("{path} did not arrive whole: {}", outcome.last_lines(3).join("; "))));
            }
            sent += 1;
        }
        Ok(sent)
    }
}
