//! Building a bundle: what is there and made from the same is kept; the rest is downloaded or compiled, then listed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::manifest::{Image, Manifest, Program};
use super::{BundleError, at, compile, debian, digest, fetch, image, python};

/// Where programs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Downloaded where a checksum is pinned and the server answers, else compiled.
    Auto,
    /// Only downloaded.
    Download,
    /// Only compiled.
    Compile,
}

/// How to build.
pub struct Options<'a> {
    /// The bundle's folder.
    pub folder: &'a Path,
    /// Where programs come from.
    pub from: From,
    /// Replaces the scheme and host of every official URL.
    pub mirror: Option<&'a str>,
    /// Told of each piece as it is done.
    pub say: &'a (dyn Fn(&str) + Sync),
}

/// One line of the index.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// Path in the bundle.
    pub path: String,
    /// SHA-256.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Version.
    pub version: String,
    /// Image reference, or nothing.
    pub reference: String,
}

/// Builds what is missing. Killed half-way, the next run goes on from there.
pub async fn build(manifest: &Manifest, options: &Options<'_>) -> Result<Vec<Line>, BundleError> {
    let folder = options.folder;
    for part in ["bin", "images", "keys", "work"] {
        let path = folder.join(part);
        fs::create_dir_all(&path).map_err(at(path))?;
    }
    let lock = File::create(folder.join("lock")).map_err(at(folder.join("lock")))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| BundleError::Busy(folder.to_owned()))?;
    let before: BTreeMap<String, Line> =
        read_index(folder).unwrap_or_default().into_iter().map(|l| (l.path.clone(), l)).collect();

    let mut lines = BTreeMap::new();
    let mut to_compile: BTreeMap<&str, Vec<&Program>> = BTreeMap::new();
    let client = fetch::client()?;
    let go = if options.from == From::Download { String::new() } else { compile::go_version().unwrap_or_default() };
    let mut silent = Vec::new();
    for program in &manifest.program {
        let path = format!("bin/{}", program.name);
        if program.beside {
            beside(folder, program, &before, &mut lines, options)?;
            continue;
        }
        let key = program_key(manifest, program, &go);
        if let Some(line) = kept(folder, &path, &key, &before) {
            lines.insert(path, line);
            continue;
        }
        match download(&client, program, options, &mut silent).await {
            Ok(true) => {
                finish(folder, &path, &key, &program.version, "", &mut lines)?;
                (options.say)(&format!("{path} {} downloaded", program.version));
            }
            Ok(false) => to_compile.entry(program.module.as_deref().unwrap_or_default()).or_default().push(program),
            Err(error) => return Err(error),
        }
    }
    for (name, programs) in to_compile {
        if go.is_empty() {
            compile::go_version()?;
        }
        let Some(module) = manifest.module.iter().find(|m| m.name == name) else { continue };
        (options.say)(&format!("compiling {} {} ({} programs)", module.path, module.version, programs.len()));
        let out = compile::compile(module, &programs, &folder.join("work"))?;
        for (program, made) in programs.iter().zip(out) {
            let path = format!("bin/{}", program.name);
            fs::rename(&made, folder.join(&path)).map_err(at(&made))?;
            finish(folder, &path, &program_key(manifest, program, &go), &program.version, "", &mut lines)?;
            (options.say)(&format!("{path} {} compiled", program.version));
        }
    }
    for image in &manifest.image {
        build_image(folder, image, &before, &mut lines, options)?;
    }
    for packages in &manifest.python {
        let path = format!("bin/{}.tar", packages.name);
        let key = digest::of(format!("tar 1 {}", serde_json::to_string(packages).unwrap_or_default()));
        if let Some(line) = kept(folder, &path, &key, &before) {
            lines.insert(path, line);
            continue;
        }
        let new = python::build(packages, &folder.join("work"))?;
        fs::rename(&new, folder.join(&path)).map_err(at(&new))?;
        finish(folder, &path, &key, &packages.version, "", &mut lines)?;
        (options.say)(&format!("{path} {} downloaded", packages.version));
    }
    let lines: Vec<Line> = lines.into_values().collect();
    write_index(folder, &lines)?;
    Ok(lines)
}

/// A part of Marea itself: taken again whenever it is another one.
fn beside(
    folder: &Path,
    program: &Program,
    before: &BTreeMap<String, Line>,
    lines: &mut BTreeMap<String, Line>,
    options: &Options<'_>,
) -> Result<(), BundleError> {
    let own = std::env::current_exe().map_err(at("/proc/self/exe"))?;
    let source = own.with_file_name(&program.name);
    if !source.is_file() {
        return Err(BundleError::Manifest(format!(
            "program `{}` is part of Marea, and {} is not there: install it beside {} (`make build` makes both)",
            program.name,
            source.display(),
            own.display()
        )));
    }
    let path = format!("bin/{}", program.name);
    let key = digest::of_file(&source)?.0;
    if let Some(line) = kept(folder, &path, &key, before) {
        lines.insert(path, line);
        return Ok(());
    }
    let to = folder.join(&path);
    let new = to.with_extension("new");
    fs::copy(&source, &new).map_err(at(&source))?;
    executable(&new)?;
    fs::rename(&new, &to).map_err(at(&to))?;
    finish(folder, &path, &key, &program.version, "", lines)?;
    (options.say)(&format!("{path} {} taken from {}", program.version, source.display()));
    Ok(())
}

fn build_image(
    folder: &Path,
    image: &Image,
    before: &BTreeMap<String, Line>,
    lines: &mut BTreeMap<String, Line>,
    options: &Options<'_>,
) -> Result<(), BundleError> {
    let path = format!("images/{}.tar", image.name);
    let mut made_from = format!("layout 1 {}", serde_json::to_string(image).unwrap_or_default());
    for program in image.programs.values() {
        let digest = lines.get(&format!("bin/{program}")).map_or("", |l| l.sha256.as_str());
        let _ = write!(made_from, " {digest}");
    }
    let key = digest::of(made_from);
    if let Some(line) = kept(folder, &path, &key, before) {
        lines.insert(path, line);
        return Ok(());
    }
    let tree = folder.join("work/tree").join(&image.name);
    if !image.debian.is_empty() {
        debian::lay_out(&image.debian, &folder.join("work/debian"), &tree)?;
    }
    let new = folder.join(&path).with_extension("new");
    image::write(image, &folder.join("bin"), (!image.debian.is_empty()).then_some(tree.as_path()), &new)?;
    fs::rename(&new, folder.join(&path)).map_err(at(&new))?;
    finish(folder, &path, &key, &image.version, &image.reference, lines)?;
    (options.say)(&format!("{path} {}", image.reference));
    Ok(())
}

/// True when it was downloaded, false when it is to be compiled.
async fn download(
    client: &reqwest::Client,
    program: &Program,
    options: &Options<'_>,
    silent: &mut Vec<String>,
) -> Result<bool, BundleError> {
    let may_compile = program.module.is_some() && options.from != From::Download;
    let (Some(url), Some(sha256)) = (&program.url, &program.sha256) else {
        if may_compile {
            return Ok(false);
        }
        return Err(BundleError::Manifest(format!(
            "program `{}` has no pinned checksum, so it may not be downloaded: pin `sha256`, or compile it (--from compile)",
            program.name
        )));
    };
    if options.from == From::Compile && may_compile {
        return Ok(false);
    }
    let url = mirrored(url, options.mirror);
    let host = url.split('/').nth(2).unwrap_or_default().to_owned();
    if may_compile && silent.contains(&host) {
        return Ok(false);
    }
    let file = options.folder.join("work").join(format!("{}.download", digest::of(&url)));
    match fetch::fetch(client, &url, sha256, &file).await {
        Ok(()) => {}
        Err(BundleError::Download { url, reason }) if may_compile => {
            (options.say)(&format!("cannot download {url} ({reason}): compiling instead"));
            silent.push(host);
            return Ok(false);
        }
        Err(error) => return Err(error),
    }
    let to = options.folder.join("bin").join(&program.name);
    let new = to.with_extension("new");
    match &program.member {
        Some(member) => unpack(&file, member, &new)?,
        None => fs::rename(&file, &new).map_err(at(&file))?,
    }
    executable(&new)?;
    fs::rename(&new, &to).map_err(at(&to))?;
    Ok(true)
}

/// The URL on a mirror that keeps the same paths.
fn mirrored(url: &str, mirror: Option<&str>) -> String {
    let Some(mirror) = mirror else { return url.to_owned() };
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    format!("{}/{path}", mirror.trim_end_matches('/'))
}

fn unpack(archive: &Path, member: &str, to: &Path) -> Result<(), BundleError> {
    let file = File::open(archive).map_err(at(archive))?;
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(file));
    for entry in tar.entries().map_err(at(archive))? {
        let mut entry = entry.map_err(at(archive))?;
        if entry.path().map_err(at(archive))? == Path::new(member) {
            entry.unpack(to).map_err(at(to))?;
            return Ok(());
        }
    }
    Err(BundleError::Manifest(format!("{} holds no `{member}`", archive.display())))
}

fn executable(path: &Path) -> Result<(), BundleError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(at(path))
}

/// What a program is made from: when it is the same, so is the program.
fn program_key(manifest: &Manifest, program: &Program, go: &str) -> String {
    let module = manifest.module.iter().find(|m| Some(&m.name) == program.module.as_ref());
    digest::of(format!(
        "{go} {} {}",
        serde_json::to_string(program).unwrap_or_default(),
        serde_json::to_string(&module).unwrap_or_default()
    ))
}

fn kept(folder: &Path, path: &str, key: &str, before: &BTreeMap<String, Line>) -> Option<Line> {
    let same = fs::read_to_string(key_file(folder, path)).is_ok_and(|k| k.lines().next() == Some(key));
    let line = before.get(path)?;
    let whole = fs::metadata(folder.join(path)).is_ok_and(|m| m.len() == line.size);
    (same && whole).then(|| line.clone())
}

fn key_file(folder: &Path, path: &str) -> PathBuf {
    folder.join("keys").join(path.replace('/', "-"))
}

fn finish(
    folder: &Path,
    path: &str,
    key: &str,
    version: &str,
    reference: &str,
    lines: &mut BTreeMap<String, Line>,
) -> Result<(), BundleError> {
    let (sha256, size) = digest::of_file(&folder.join(path))?;
    lines.insert(
        path.to_owned(),
        Line { path: path.into(), sha256, size, version: version.into(), reference: reference.into() },
    );
    // The list first, so that a key never stands for a piece that no list knows.
    let mut all: BTreeMap<String, Line> =
        read_index(folder).unwrap_or_default().into_iter().map(|l| (l.path.clone(), l)).collect();
    all.extend(lines.clone());
    write_index(folder, &all.into_values().collect::<Vec<_>>())?;
    let file = key_file(folder, path);
    let new = file.with_extension("new");
    fs::write(&new, format!("{key}\n")).map_err(at(&new))?;
    fs::rename(&new, &file).map_err(at(&file))
}

/// The index of a bundle.
pub fn read_index(folder: &Path) -> Result<Vec<Line>, BundleError> {
    let path = folder.join("index.txt");
    let text = fs::read_to_string(&path).map_err(at(&path))?;
    let lines = text.lines().map(|line| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let mut next = || words.next().unwrap_or_default();
        Line { path: next(), sha256: next(), size: next().parse().unwrap_or(0), version: next(), reference: next() }
    });
    Ok(lines.collect())
}

fn write_index(folder: &Path, lines: &[Line]) -> Result<(), BundleError> {
    let mut text = String::new();
    for l in lines {
        let _ = writeln!(text, "{} {} {} {} {}", l.path, l.sha256, l.size, l.version, l.reference);
    }
    let path = folder.join("index.txt");
    let new = folder.join("index.new");
    fs::write(&new, text).map_err(at(&new))?;
    fs::rename(&new, &path).map_err(at(&path))
}

/// Reads every piece again; the paths of those that are not what the index says.
pub fn verify(folder: &Path) -> Result<(Vec<Line>, Vec<String>), BundleError> {
    let lines = read_index(folder)?;
    let mut wrong = Vec::new();
    for line in &lines {
        match digest::of_file(&folder.join(&line.path)) {
            Ok((sha256, _)) if sha256 == line.sha256 => {}
            Ok((sha256, _)) => wrong.push(format!("{}: listed {}, is {sha256}", line.path, line.sha256)),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    Ok((lines, wrong))
}
