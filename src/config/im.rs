//! `[im]`: where the Infrastructure Manager is, and who we are to it and to its clouds.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, Loaded, Millis, ProviderKind};

/// `[im]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Im {
    url: Option<String>,
    auth: Option<PathBuf>,
    ca: Option<PathBuf>,
    timeout: Option<Millis>,
    at_once: Option<usize>,
    off_patience: Option<Millis>,
    network: Option<String>,
    boot_patience: Option<Millis>,
}

/// The same, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the config")]
pub struct ImAt {
    pub url: String,
    pub auth: PathBuf,
    pub ca: Option<PathBuf>,
    pub timeout_ms: i64,
    /// Machines in one order at most.
    pub at_once: usize,
    pub off_patience_ms: i64,
    /// The network of the document in which machines are reached.
    pub network: Option<String>,
    /// How long machines may take until they are there and configured.
    pub boot_patience_ms: i64,
}

impl Loaded {
    /// What `[im]` says; an error where `provider = "im"` lacks something.
    pub fn im(&self) -> Result<ImAt, ConfigError> {
        let im = &self.config.im;
        let wrong = |message: &str| self.error(0..0, format!("provider = \"im\" needs {message}"));
        let url = im.url.clone().ok_or_else(|| wrong("[im] url = \"https://im.example.org/im\""))?;
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(self.error(0..0, format!("[im] url `{url}` must begin with https:// (or http://)")));
        }
        let auth = im.auth.clone().ok_or_else(|| {
            wrong("[im] auth = \"/etc/marea/auth.dat\", a file with a line `type = InfrastructureManager; ..` and one for each cloud")
        })?;
        if self.config.machines.iter().any(|machine| machine.power.is_none())
            && self.config.provider == ProviderKind::Im
        {
            let entry = &self.config.machines[0];
            let message =
                "[[machine]] is for machines that exist; those of provider = \"im\" are made from the document";
            return Err(self.error(entry.name.span(), message.to_owned()));
        }
        let at_once = im.at_once.unwrap_or(16);
        if at_once == 0 {
            return Err(self.error(0..0, "[im] at_once must be at least 1".to_owned()));
        }
        Ok(ImAt {
            url: url.trim_end_matches('/').to_owned(),
            auth,
            ca: im.ca.clone(),
            timeout_ms: im.timeout.map_or(120_000, |t| t.0),
            at_once,
            off_patience_ms: im.off_patience.map_or(180_000, |t| t.0),
            network: im.network.clone(),
            boot_patience_ms: im.boot_patience.map_or(3_600_000, |t| t.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_infrastructure_manager_needs_is_asked_for() {
        for (text, word) in [
            ("", "url"),
            ("[im]\nurl = \"ftp://x\"\n", "https://"),
            ("[im]\nurl = \"https://x\"\n", "auth"),
            ("[im]\nurl = \"https://x\"\nauth = \"/a\"\nat_once = 0\n", "at_once"),
            (
                "[im]\nurl = \"https://x\"\nauth = \"/a\"\n[[machine]]\nname = \"a\"\npool = \"wn\"\naddress = \"h\"\n",
                "made from the document",
            ),
        ] {
            let error = Loaded::parse("m.toml", &format!("provider = \"im\"\n{text}")).unwrap().im().unwrap_err();
            assert!(error.message.contains(word), "{text}: {error}");
        }
        let right = Loaded::parse("m.toml", "provider = \"im\"\n[im]\nurl = \"https://x/im/\"\nauth = \"/a\"\n");
        let im = right.unwrap().im().unwrap();
        assert_eq!((im.url.as_str(), im.timeout_ms, im.at_once), ("https://x/im", 120_000, 16));
    }
}
