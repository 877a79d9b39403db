//! The manifest: the pinned list of what a bundle holds (`recipes/bundle.toml`), read strictly.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::BundleError;

/// The list that this program was built with.
pub const BUILT_IN: &str = include_str!("../../recipes/bundle.toml");
/// What stands in a list for this program's own version.
const OWN_VERSION: &str = "@VERSION@";

/// The whole list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Go modules that programs are compiled from.
    #[serde(default)]
    pub module: Vec<Module>,
    /// Programs.
    #[serde(default)]
    pub program: Vec<Program>,
    /// Images.
    #[serde(default)]
    pub image: Vec<Image>,
    /// Python packages.
    #[serde(default)]
    pub python: Vec<Python>,
}

/// Python packages as one tar of a folder that Python finds them in.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Python {
    /// Its name in `bin/`, without `.tar`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The Python that they are for, `3.11`.
    pub python: String,
    /// All of them, as `NAME==VERSION`, by the SHA-256 of their wheel.
    pub packages: BTreeMap<String, String>,
}

/// A released Go module.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// What programs call it.
    pub name: String,
    /// Its module path.
    pub path: String,
    /// Its version, `v1.2.3`.
    pub version: String,
    /// Its Go checksum, `h1:...`.
    pub sum: Option<String>,
    /// The version of its own staged parts, where it has such.
    pub staging: Option<String>,
    /// Linker flags.
    #[serde(default = "stripped")]
    pub ldflags: String,
    /// It holds C, and is linked statically with the C library.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub static_c: bool,
    /// A source that is part of Marea itself instead of a module.
    pub source: Option<String>,
}

fn stripped() -> String {
    "-s -w".to_owned()
}

/// One executable.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its name in `bin/`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The module that it is compiled from.
    pub module: Option<String>,
    /// The package of that module.
    pub package: Option<String>,
    /// Where its maker offers it.
    pub url: Option<String>,
    /// SHA-256 of what the URL gives.
    pub sha256: Option<String>,
    /// Its path in the archive, when the URL gives a `.tar.gz`.
    pub member: Option<String>,
    /// It lies beside the program that makes the bundle: a part of Marea itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
}

/// One container image of a single layer.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its name in `images/`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The reference under which it is imported.
    pub reference: String,
    /// Programs of the bundle by their path in the image.
    #[serde(default)]
    pub programs: BTreeMap<String, String>,
    /// Debian packages laid out in it.
    #[serde(default)]
    pub debian: Vec<String>,
    /// Small files by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, String>,
    /// Symbolic links by path.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// A busybox whose applets get links beside it.
    pub applets: Option<String>,
    /// What it runs.
    #[serde(default)]
    pub entrypoint: Vec<String>,
}

impl Manifest {
    /// Reads a list; `name` is told in errors.
    pub fn read(name: &str, text: &str) -> Result<Self, BundleError> {
        let text = &text.replace(OWN_VERSION, env!("CARGO_PKG_VERSION"));
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |s| text[..s.start.min(text.len())].matches('\n').count() + 1);
            BundleError::Manifest(format!("{name}:{line}: {}", error.message()))
        })?;
        manifest.check().map_err(|reason| BundleError::Manifest(format!("{name}: {reason}")))?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let modules: BTreeSet<_> = self.module.iter().map(|m| &m.name).collect();
        let mut programs = BTreeSet::new();
        for program in &self.program {
            if !programs.insert(&program.name) {
                return Err(format!("program `{}` is listed twice", program.name));
            }
            if let Some(module) = program.module.as_ref().filter(|m| !modules.contains(m)) {
                return Err(format!("program `{}` is of module `{module}`, which is not listed", program.name));
            }
            if program.module.is_some() != program.package.is_some() {
                return Err(format!("program `{}` needs both `module` and `package`, or neither", program.name));
            }
            let pinned = program.url.is_some() && program.sha256.is_some();
            if program.beside && (program.module.is_some() || program.url.is_some()) {
                return Err(format!("program `{}` lies beside Marea and needs no other source", program.name));
            }
            if program.module.is_none() && !pinned && !program.beside {
                return Err(format!(
                    "program `{}` has no source: name `module` and `package`, `url` and `sha256`, or `beside`",
                    program.name
                ));
            }
            if let Some(sum) =
                program.sha256.as_ref().filter(|s| s.len() != 64 || !s.bytes().all(|b| b.is_ascii_hexdigit()))
            {
                return Err(format!("program `{}`: `{sum}` is no SHA-256", program.name));
            }
        }
        for image in &self.image {
            if let Some(missing) = image.programs.values().find(|p| !programs.contains(p)) {
                return Err(format!("image `{}` holds the program `{missing}`, which is not listed", image.name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_is_right() {
        let manifest = Manifest::read("recipes/bundle.toml", BUILT_IN).unwrap();
        assert!(manifest.program.iter().any(|p| p.name == "kubelet"));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, part) in [
            ("[[program]]\nname = \"x\"\nversion = \"1\"\nsha = \"\"\n", "m:4: unknown field `sha`"),
            ("[[program]]\nname = \"x\"\nversion = \"1\"\n", "no source"),
            ("[[program]]\nname = \"x\"\nversion = \"1\"\nurl = \"u\"\nsha256 = \"12\"\n", "no SHA-256"),
            ("[[program]]\nname = \"x\"\nversion = \"1\"\nbeside = true\nurl = \"u\"\n", "no other source"),
            ("[[image]]\nname = \"x\"\nversion = \"1\"\nreference = \"r\"\nprograms = { a = \"b\" }\n", "not listed"),
        ] {
            let error = Manifest::read("m", text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
