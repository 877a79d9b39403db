//! The texts that a command reads: files by their paths, templates by their names along EC3's search path, and those
//! that they include.

use std::path::{Component, Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::radl::dialect::Dialect;
use crate::radl::{self, File, Input};

/// How texts are read.
#[derive(Debug, Clone, Default, Args)]
pub struct ReadingArgs {
    /// The dialect that the texts are in; `auto` finds it out.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = DialectName::Auto)]
    pub dialect: DialectName,
    /// Accept what IM's and EC3's own parsers accept, with a warning for each quirk.
    #[arg(long)]
    pub compat: bool,
    /// A folder of EC3 templates, before ./templates, ~/.ec3/templates and /etc/ec3/templates.
    #[arg(long = "templates", value_name = "DIR")]
    pub template_folders: Vec<PathBuf>,
}

/// A dialect's name on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum DialectName {
    /// Found out from the words that only one of them has.
    #[default]
    Auto,
    /// The Infrastructure Manager's.
    Im,
    /// That of EC3's templates.
    Ec3,
}

impl DialectName {
    /// The dialect, if it is given.
    pub fn given(self) -> Option<Dialect> {
        match self {
            Self::Auto => None,
            Self::Im => Some(Dialect::Im),
            Self::Ec3 => Some(Dialect::Ec3),
        }
    }
}

/// All that was read.
#[derive(Debug, Default)]
pub struct Texts {
    /// The files, in order.
    pub files: Vec<File>,
    added: Vec<File>,
    library: Vec<File>,
    folders: Vec<PathBuf>,
}

impl Texts {
    /// As the parser takes it.
    pub fn input<'a>(&'a self, reading: &ReadingArgs, beside: &'a dyn Fn(&str) -> Option<String>) -> Input<'a> {
        Input {
            files: &self.files,
            added: &self.added,
            library: &self.library,
            beside: Some(beside),
            dialect: reading.dialect.given(),
            compat: reading.compat,
        }
    }

    /// The text of a file beside the templates. A name that leads out of their folders names nothing.
    pub fn beside(&self, name: &str) -> Option<String> {
        let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let found = self.folders.iter().map(|folder| folder.join(name)).find(|path| inside && path.is_file())?;
        std::fs::read_to_string(found).ok()
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        let file = format!("{name}.radl");
        self.folders.iter().map(|folder| folder.join(&file)).find(|path| path.is_file())
    }

    /// Reads what is included, and what that includes.
    fn include(&mut self) -> Result<(), String> {
        let mut at = 0;
        let mut names: Vec<String> =
            self.files.iter().chain(&self.added).flat_map(|(_, text)| radl::includes(text)).collect();
        while let Some(name) = names.get(at).cloned() {
            at += 1;
            // One that is not found is reported at the place that includes it.
            if names.iter().take(at - 1).any(|known| *known == name) {
                continue;
            }
            if let Some(path) = self.find(&name) {
                let file = read(&path)?;
                names.extend(radl::includes(&file.1));
                self.library.push(file);
            }
        }
        Ok(())
    }
}

/// EC3's search path, the folders given first.
fn folders(reading: &ReadingArgs) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".ec3/templates"));
    let own = [Some(PathBuf::from("templates")), home, Some(PathBuf::from("/etc/ec3/templates"))];
    reading.template_folders.iter().cloned().chain(own.into_iter().flatten()).collect()
}

/// Reads files, and what they include if they are EC3's.
pub fn gather(paths: &[PathBuf], reading: &ReadingArgs) -> Result<Texts, String> {
    let mut texts = Texts { folders: folders(reading), ..Texts::default() };
    for path in paths {
        texts.files.push(read(path)?);
        texts.folders.extend(path.parent().map(Path::to_owned));
    }
    if reading.dialect.given().unwrap_or_else(|| radl::dialect_of(&texts.files)) == Dialect::Ec3 {
        texts.include()?;
    }
    Ok(texts)
}

/// Reads templates by their names, pieces of RADL, and what they include.
pub fn named(names: &[String], added: &[String], reading: &ReadingArgs) -> Result<Texts, String> {
    let mut texts = Texts { folders: folders(reading), ..Texts::default() };
    for name in names {
        let path = Path::new(name);
        let file = if path.extension().is_some_and(|ending| ending == "radl") && path.is_file() {
            texts.folders.extend(path.parent().map(Path::to_owned));
            path.to_owned()
        } else {
            texts.find(name).ok_or_else(|| {
                let folders: Vec<String> = texts.folders.iter().map(|folder| folder.display().to_string()).collect();
                format!("there is no {name}.radl in {}; say where it is with --templates", folders.join(", "))
            })?
        };
        texts.files.push(read(&file)?);
    }
    let piece = |(at, text): (usize, &String)| (format!("--add {}", at + 1), text.clone());
    texts.added = added.iter().enumerate().map(piece).collect();
    texts.include()?;
    Ok(texts)
}

fn read(path: &Path) -> Result<File, String> {
    let name = path.display().to_string();
    let text =
        if path.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    text.map(|text| (name.clone(), text)).map_err(|error| format!("cannot read {name}: {error}"))
}
