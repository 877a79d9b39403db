//! Installing: an init container copies the supervisor into a volume that the user's container sees, so that it needs
//! neither a shared file system nor a download.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Copies the running program to `folder/marea-supervisor`; it appears whole or not at all.
pub fn install(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join("marea-supervisor.new");
    let _absent = fs::remove_file(&new);
    fs::copy(std::env::current_exe()?, &new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    fs::rename(&new, folder.join("marea-supervisor"))
}
