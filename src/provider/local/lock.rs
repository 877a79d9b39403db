//! A lock: a file that one holder at a time has, in this process or another. The kernel lets go of it when the holder
//! dies, however it dies.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::error::{At as _, LocalError};

/// Held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// The lock as something that a child can inherit: it is let go of when all who have it closed it, or died.
    pub(super) fn share(&self) -> std::io::Result<File> {
        self.0.try_clone()
    }
}

/// Waits for the lock and takes it.
pub(super) fn take(path: &Path) -> Result<Lock, LocalError> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path).at("open", path)?;
    loop {
        match flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(Lock(file)),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e).at("lock", path),
        }
    }
}
