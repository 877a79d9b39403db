//! A secret: a password or token, and where it is kept. It is read when it is used, so that a changed one is taken up
//! without a new start, and it shows itself nowhere.

use std::fmt;
use std::path::PathBuf;

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keeper {
    /// The first line of a file.
    File(PathBuf),
    /// A variable of the daemon's environment.
    Variable(String),
}

/// What was kept there. It prints as dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

impl Keeper {
    /// Reads it. The error says where it was sought.
    pub fn read(&self) -> Result<Secret, String> {
        match self {
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| format!("the password file {} cannot be read: {e}", path.display()))?;
                let line = text.lines().next().unwrap_or_default();
                if line.is_empty() {
                    return Err(format!("the password file {} is empty", path.display()));
                }
                Ok(Secret::new(line))
            }
            Self::Variable(name) => std::env::var(name)
                .map(Secret::new)
                .map_err(|_| format!("the variable {name}, which should hold a password, is not set")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself_and_its_absence_names_the_place() {
        let at = tempfile::tempdir().unwrap();
        let file = at.path().join("password");
        assert!(Keeper::File(file.clone()).read().unwrap_err().contains("password"));
        std::fs::write(&file, "s3cret\nmore").unwrap();
        let secret = Keeper::File(file).read().unwrap();
        assert_eq!(secret.reveal(), "s3cret");
        assert!(!format!("{secret:?}").contains("s3cret"));
        assert!(Keeper::Variable("MAREA_NO_SUCH".to_owned()).read().unwrap_err().contains("MAREA_NO_SUCH"));
    }
}
