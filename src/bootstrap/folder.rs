//! The state folder as bootstrap sees it: what was brought about, the kubeconfigs, the logs, and a lock
//! so that two bootstraps never work on the same machines. Every file appears whole or not at all.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::cluster::ClusterSpec;
use crate::model::machine::Machine;

/// A state folder.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// What was brought about.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// For each host, the digest of the plan that it was last brought to.
    pub hosts: BTreeMap<String, String>,
    /// For each host, the digest of what Ansible last did there.
    pub ansible: BTreeMap<String, String>,
    /// The cluster, as `marea run` reads it.
    pub cluster: Cluster,
}

/// `cluster.json`: what was asked for and the machines with the shapes their nodes had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// What was asked for.
    pub spec: Option<ClusterSpec>,
    /// All machines.
    pub machines: Vec<Machine>,
}

/// Why the state folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system said no.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another bootstrap is at work.
    #[error("another `marea bootstrap` or `marea destroy` works on {0}; wait for it to end")]
    Locked(PathBuf),
}

impl Folder {
    /// Opens the folder, made if there is none, for its owner only.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let path = std::path::absolute(path).map_err(|source| FolderError::Io {
            what: "resolve",
            path: path.to_owned(),
            source,
        })?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|source| FolderError::Io {
            what: "make",
            path: path.clone(),
            source,
        })?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the lock; it is held until the file is dropped, also by a kill.
    pub fn lock(&self) -> Result<File, FolderError> {
        let path = self.0.join("bootstrap.lock");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = file.map_err(|source| FolderError::Io { what: "open", path: path.clone(), source })?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(_) => Err(FolderError::Locked(self.0.clone())),
        }
    }

    /// Writes a file whole.
    pub fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), FolderError> {
        let path = self.0.join(name);
        let new = self.0.join(format!("{name}.new"));
        let write = || {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            match std::fs::remove_file(&new) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, &path)
        };
        write().map_err(|source| FolderError::Io { what: "write", path: path.clone(), source })
    }

    /// The mark that this cluster leaves on its machines: made up once, the same for ever.
    pub fn owner(&self) -> Result<String, FolderError> {
        let path = self.0.join("owner");
        let failed = |source| FolderError::Io { what: "read", path: path.clone(), source };
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let mut bytes = [0u8; 16];
        std::io::Read::read_exact(&mut File::open("/dev/urandom").map_err(failed)?, &mut bytes).map_err(failed)?;
        let owner: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        self.write("owner", &format!("{owner}\n"), 0o600)?;
        Ok(owner)
    }

    /// Adds to the log of a host. A log that cannot be written stops nothing.
    pub fn log(&self, host: &str, text: &str) {
        let folder = self.0.join("log");
        let _unwritable = std::fs::create_dir_all(&folder);
        if let Ok(mut file) =
            OpenOptions::new().create(true).append(true).mode(0o600).open(folder.join(format!("{host}.log")))
        {
            let _unwritable = file.write_all(text.as_bytes());
        }
    }

    /// Reads what was brought about; a file that is missing or unreadable means: nothing, do it all again.
    pub fn remembered(&self) -> Remembered {
        let read = |name: &str| std::fs::read_to_string(self.0.join(name)).unwrap_or_default();
        Remembered {
            hosts: serde_json::from_str(&read("bootstrap.json")).unwrap_or_default(),
            ansible: serde_json::from_str(&read("ansible.json")).unwrap_or_default(),
            cluster: serde_json::from_str(&read("cluster.json")).unwrap_or_default(),
        }
    }

    /// Writes down what was brought about, the cluster first: the hosts' digests claim that it is there.
    pub fn remember(&self, record: &Remembered) -> Result<(), FolderError> {
        let text = |value: serde_json::Result<String>| value.unwrap_or_default() + "\n";
        self.write("cluster.json", &text(serde_json::to_string_pretty(&record.cluster)), 0o600)?;
        self.write("ansible.json", &text(serde_json::to_string_pretty(&record.ansible)), 0o600)?;
        self.write("bootstrap.json", &text(serde_json::to_string_pretty(&record.hosts)), 0o600)
    }
}
