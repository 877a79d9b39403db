//! An image: one layer of files, made without a registry. The same files give the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use tar::{Builder, EntryType, Header};

use super::digest::{self, Hashing};
use super::manifest::Image;
use super::{BundleError, at};

/// What stands at a path of the layer.
enum Entry {
    Folder,
    File(PathBuf),
    Text(String),
    Link(String),
}

/// Writes the image to `to`. Programs come from `bin`, Debian's files from `tree`.
pub fn write(image: &Image, bin: &Path, tree: Option<&Path>, to: &Path) -> Result<(), BundleError> {
    let mut entries = BTreeMap::new();
    for folder in ["dev", "etc", "proc", "run", "sys", "tmp", "var"] {
        entries.insert(folder.to_owned(), Entry::Folder);
    }
    if let Some(tree) = tree {
        collect(tree, tree, &mut entries)?;
    }
    for (path, program) in &image.programs {
        entries.insert(path.clone(), Entry::File(bin.join(program)));
    }
    for (path, text) in &image.texts {
        entries.insert(path.clone(), Entry::Text(text.clone()));
    }
    for (path, target) in &image.links {
        entries.insert(path.clone(), Entry::Link(target.clone()));
    }
    if let (Some(applets), Some(tree)) = (&image.applets, tree) {
        let list = super::compile::run(std::process::Command::new(tree.join(applets)).arg("--list"), "busybox --list")?;
        let folder = Path::new(applets).parent().unwrap_or(Path::new(""));
        for applet in list.lines().filter(|a| !a.is_empty() && *a != "busybox") {
            entries.insert(folder.join(applet).display().to_string(), Entry::Link("busybox".into()));
        }
    }
    let layer = to.with_extension("layer");
    let diff = write_layer(&entries, &layer)?;
    let result = write_archive(image, &diff, &layer, to);
    std::fs::remove_file(&layer).map_err(at(&layer))?;
    result
}

/// Everything below `folder` but documentation and configuration, which no program of an image reads.
fn collect(top: &Path, folder: &Path, entries: &mut BTreeMap<String, Entry>) -> Result<(), BundleError> {
    for entry in std::fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let name = path.strip_prefix(top).unwrap_or(&path).display().to_string();
        if name.starts_with("usr/share") || name.starts_with("etc/") {
            continue;
        }
        let kind = path.symlink_metadata().map_err(at(&path))?;
        if kind.is_symlink() {
            let target = std::fs::read_link(&path).map_err(at(&path))?;
            entries.insert(name, Entry::Link(target.display().to_string()));
        } else if kind.is_dir() {
            entries.insert(name, Entry::Folder);
            collect(top, &path, entries)?;
        } else if kind.is_file() {
            entries.insert(name, Entry::File(path));
        }
    }
    Ok(())
}

fn write_layer(entries: &BTreeMap<String, Entry>, to: &Path) -> Result<String, BundleError> {
    let file = File::create(to).map_err(at(to))?;
    let mut tar = Builder::new(Hashing::new(BufWriter::with_capacity(1 << 18, file)));
    let mut made = std::collections::BTreeSet::new();
    for (path, entry) in entries {
        for folder in
            Path::new(path).ancestors().skip(1).collect::<Vec<_>>().into_iter().rev().filter(|f| f != &Path::new(""))
        {
            let name = folder.display().to_string();
            if !entries.contains_key(&name) && made.insert(name.clone()) {
                append(&mut tar, &name, EntryType::Directory, 0o755, &[]).map_err(at(to))?;
            }
        }
        match entry {
            Entry::Folder => {
                append(&mut tar, path, EntryType::Directory, if path == "tmp" { 0o1777 } else { 0o755 }, &[])
                    .map_err(at(to))?;
            }
            Entry::Text(text) => {
                append(&mut tar, path, EntryType::Regular, 0o644, text.as_bytes()).map_err(at(to))?;
            }
            Entry::Link(target) => {
                let mut header = header(EntryType::Symlink, 0o777, 0);
                tar.append_link(&mut header, path, target).map_err(at(to))?;
            }
            Entry::File(source) => {
                let mut file = File::open(source).map_err(at(source))?;
                let length = file.metadata().map_err(at(source))?.len();
                tar.append_data(&mut header(EntryType::Regular, 0o755, length), path, &mut file).map_err(at(source))?;
            }
        }
    }
    let (digest, mut file) = tar.into_inner().map_err(at(to))?.finish();
    file.flush().map_err(at(to))?;
    Ok(digest)
}

/// The archive that `ctr images import` and `docker load` read.
fn write_archive(image: &Image, diff: &str, layer: &Path, to: &Path) -> Result<(), BundleError> {
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": if image.entrypoint.is_empty() { serde_json::Value::Null } else { json!(image.entrypoint) },
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{diff}")] },
        "history": [{ "created_by": "marea bundle build" }],
    })
    .to_string();
    let config_name = format!("{}.json", digest::of(&config));
    let layer_name = format!("{diff}/layer.tar");
    let manifest =
        json!([{ "Config": config_name, "RepoTags": [image.reference], "Layers": [layer_name] }]).to_string();
    let file = File::create(to).map_err(at(to))?;
    let mut tar = Builder::new(BufWriter::with_capacity(1 << 18, file));
    append(&mut tar, &config_name, EntryType::Regular, 0o644, config.as_bytes()).map_err(at(to))?;
    let mut data = File::open(layer).map_err(at(layer))?;
    let length = data.metadata().map_err(at(layer))?.len();
    tar.append_data(&mut header(EntryType::Regular, 0o644, length), &layer_name, &mut data).map_err(at(to))?;
    append(&mut tar, "manifest.json", EntryType::Regular, 0o644, manifest.as_bytes()).map_err(at(to))?;
    tar.into_inner().map_err(at(to))?.flush().map_err(at(to))
}

fn append<W: Write>(tar: &mut Builder<W>, path: &str, kind: EntryType, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
    tar.append_data(&mut header(kind, mode, bytes.len() as u64), path, bytes)
}

/// Owner root, time zero: what differs from run to run is left out.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
