//! Debian packages as a source of files: fetched by the administrator's own apt, with its mirror, proxy and keys,
//! and laid out in a folder. Nothing is installed.

use std::path::Path;
use std::process::Command;

use super::compile::run;
use super::{BundleError, at};

/// Lays out the files of these packages below `to`. `cache` keeps the packages themselves.
pub fn lay_out(packages: &[String], cache: &Path, to: &Path) -> Result<(), BundleError> {
    std::fs::create_dir_all(cache).map_err(at(cache))?;
    if to.exists() {
        std::fs::remove_dir_all(to).map_err(at(to))?;
    }
    std::fs::create_dir_all(to).map_err(at(to))?;
    for package in packages {
        let folder = cache.join(package);
        if find(&folder).is_none() {
            std::fs::create_dir_all(&folder).map_err(at(&folder))?;
            let what = format!("apt-get download {package}");
            if run(&mut download(package, &folder), &what).is_err() {
                // A new machine has no package lists yet.
                let _ = run(Command::new("apt-get").args(["update", "-qq"]), "apt-get update");
                run(&mut download(package, &folder), &what)?;
            }
        }
        let file = find(&folder).ok_or_else(|| BundleError::Tool {
            what: format!("apt-get download {package}"),
            reason: "no package came".into(),
        })?;
        run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(to), &format!("dpkg-deb -x of {package}"))?;
    }
    Ok(())
}

fn download(package: &str, folder: &Path) -> Command {
    let mut command = Command::new("apt-get");
    // Root may write here and apt's own user may not; the package's signature chain is checked all the same.
    command.args(["-q", "-o", "APT::Sandbox::User=root", "download", package]).current_dir(folder);
    command
}

fn find(folder: &Path) -> Option<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.flatten().map(|e| e.path()).find(|p| p.extension().is_some_and(|e| e == "deb"))
}
