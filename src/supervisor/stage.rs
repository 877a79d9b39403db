//! Staging: the object is brought into a folder before the script runs, and what the script left in another folder is
//! taken to the function's outputs. Files pass through in the memory of a few megabytes, however big they are.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::io::BufWriter;

use super::event::Event;
use super::outcome::Failure;
use super::providers::{Config, Stores};
use crate::s3::S3Error;

/// The run's own two folders; they go when it ends.
pub(super) struct Folders {
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
    pub(super) top: PathBuf,
}

impl Folders {
    /// Makes them where this user may write: an image need not have `/tmp`.
    pub(super) fn make() -> Result<Self, Failure> {
        let own = std::env::current_exe().ok().and_then(|p| p.parent().map(Path::to_owned));
        let given = std::env::var_os("TMPDIR").map(PathBuf::from);
        let candidates = given.into_iter().chain(["/tmp".into(), "/var/tmp".into()]).chain(own).chain(["/".into()]);
        let name = format!("marea-run-{}", std::process::id());
        for place in candidates {
            let top = place.join(&name);
            // One that a killed run left behind is nobody's.
            let _absent = fs::remove_dir_all(&top);
            let made = fs::create_dir(&top)
                .and_then(|()| fs::create_dir(top.join("input")))
                .and_then(|()| fs::create_dir(top.join("output")));
            if made.is_ok() {
                return Ok(Self { input: top.join("input"), output: top.join("output"), top });
            }
        }
        Err(Failure::internal("no folder can be written: mount one and name it in TMPDIR".into()))
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.top);
    }
}

/// Brings the event's input into `folder`: where it is, or nothing when the script brings it itself.
pub(super) async fn bring(
    config: &Config,
    stores: &mut Stores,
    event: &Event,
    text: &str,
    folder: &Path,
) -> Result<Option<PathBuf>, Failure> {
    let object = match event {
        Event::Object(object) => object,
        Event::Raw(bytes) => {
            let path = folder.join("event-file");
            let written = fs::write(&path, bytes);
            written.map_err(|e| Failure::internal(format!("{} bytes of event: {e}", text.len())))?;
            return Ok(Some(path));
        }
    };
    let name = object.key.rsplit('/').next().unwrap_or_default();
    if config.stages_in_itself || matches!(name, "" | "." | "..") {
        return Ok(None);
    }
    let store = config.store(&config.provider_of(object), stores)?;
    let path = folder.join(name);
    let local = |source| S3Error::Local { what: format!("object {}", object.key), source };
    let file = tokio::fs::File::create(&path).await.map_err(|e| Failure::bring(&local(e)))?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    store.download(&object.bucket, &object.key, &mut file).await.map_err(|e| Failure::bring(&e))?;
    Ok(Some(path))
}

/// A file that the script left: its name below the output folder, and where it is.
pub(super) type Left = (String, PathBuf);

/// All files below `folder`, in order of name.
pub(super) fn files(folder: &Path) -> Result<Vec<Left>, Failure> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let unread = |e: std::io::Error| Failure::internal(format!("{}: {e}", next.display()));
        for entry in fs::read_dir(&next).map_err(unread)? {
            let path = entry.map_err(unread)?.path();
            // A link counts as what it leads to, but a link to a folder may lead in a circle.
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.is_file() {
                let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
                found.push((name, path));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Takes each file to every output that wants it.
pub(super) async fn take(config: &Config, stores: &mut Stores, files: &[Left]) -> Result<(), Failure> {
    for output in &config.outputs {
        let store = config.store(&output.storage_provider, stores)?;
        let (bucket, folder) = output.parts();
        for (name, path) in files.iter().filter(|(name, _)| output.takes(name)) {
            let key = format!("{folder}{name}");
            let local = |source| S3Error::Local { what: format!("file {name}"), source };
            let mut file = tokio::fs::File::open(path).await.map_err(|e| Failure::take(&local(e)))?;
            let size = file.metadata().await.map_err(|e| Failure::take(&local(e)))?.len();
            store.upload(bucket, &key, &mut file, size).await.map_err(|e| Failure::take(&e))?;
        }
    }
    Ok(())
}
