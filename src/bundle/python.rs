//! Python packages: wheels fetched by pip, each by its pinned checksum, and laid out as the folder that Python finds
//! them in. Nothing is compiled, and nothing of this computer's Python gets in.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::compile::run;
use super::manifest::Python;
use super::{BundleError, at};

/// Makes the tar; answers where it is.
pub fn build(packages: &Python, work: &Path) -> Result<PathBuf, BundleError> {
    let tool = work.join("pip");
    let pip = tool.join("bin/python");
    if !pip.exists() {
        run(
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&tool),
            "python3 -m venv (Debian: python3-venv)",
        )?;
    }
    let wanted = work.join(format!("{}.requirements", packages.name));
    let mut text = String::new();
    for (package, sha256) in &packages.packages {
        let _ = writeln!(text, "{package} --hash=sha256:{sha256}");
    }
    fs::write(&wanted, text).map_err(at(&wanted))?;
    let folder = work.join(format!("{}.site", packages.name));
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(at(&folder))?;
    }
    let abi = format!("cp{}", packages.python.replace('.', ""));
    let mut install = Command::new(&pip);
    install.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-compile"]);
    install.args([
        "--only-binary=:all:",
        "--require-hashes",
        "--implementation",
        "cp",
        "--python-version",
        &packages.python,
    ]);
    for platform in ["manylinux2014_x86_64", "manylinux_2_28_x86_64", "any"] {
        install.args(["--platform", platform]);
    }
    for abi in [abi.as_str(), "abi3", "none"] {
        install.args(["--abi", abi]);
    }
    install.arg("--target").arg(&folder).arg("-r").arg(&wanted);
    run(&mut install, &format!("pip install of {}", packages.name))?;
    let tar = work.join(format!("{}.tar", packages.name));
    let file = fs::File::create(&tar).map_err(at(&tar))?;
    let mut archive = tar::Builder::new(file);
    // The same bytes whenever and by whomever it is made.
    archive.mode(tar::HeaderMode::Deterministic);
    for path in files(&folder)? {
        let name = path.strip_prefix(&folder).unwrap_or(&path);
        archive.append_path_with_name(&path, name).map_err(at(&path))?;
    }
    archive.into_inner().and_then(|file| file.sync_all()).map_err(at(&tar))?;
    Ok(tar)
}

/// All files of a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>, BundleError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = entry.map_err(at(&folder))?.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}
