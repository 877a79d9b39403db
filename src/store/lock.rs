//! The lock: at most one daemon on a state directory. It is the kernel's lock on an open file, so it goes
//! with the process however that ends, and a file left behind locks nothing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use super::StoreError;

/// Holds the state directory until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock `marea.lock` in the directory, or tells which process has it.
pub fn lock(directory: &Path) -> Result<Lock, StoreError> {
    let path = directory.join("marea.lock");
    let fault = |source| StoreError::File { path: path.clone(), source };
    // Not truncated before it is ours: it holds the other's process id.
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fault)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
            return Err(StoreError::Locked { path, pid });
        }
        Err(TryLockError::Error(source)) => return Err(fault(source)),
    }
    // The id is a help for people. A full disk must not stop a daemon that could still freeze in good order.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(Lock { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_has_it_and_the_lock_goes_with_its_holder() {
        let directory = tempfile::tempdir().unwrap();
        let first = lock(directory.path()).unwrap();
        let second = lock(directory.path()).unwrap_err().to_string();
        assert!(second.contains(&std::process::id().to_string()), "{second}");
        drop(first);
        lock(directory.path()).unwrap();
    }
}
