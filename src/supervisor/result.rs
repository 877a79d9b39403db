//! The result: what the script left, for a caller who waits. One file is given as it is, several as a zip archive, and
//! in base64 because a log is text. OSCAR's callers find it as the last line of the output; kubelet mixes a script's two
//! outputs in one log, so a line that a gateway looks for carries a mark, and then it may also be what the script said.

use std::fs::File;
use std::io::{BufReader, Seek as _, Write as _};

use base64::engine::general_purpose::STANDARD;
use base64::write::EncoderWriter;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::outcome::Failure;
use super::script::{KEPT, Said};
use super::stage::{Folders, Left};

/// Prints it, and says what it is. `said` is there when the line is to be marked.
pub(super) fn print(folders: &Folders, files: &[Left], said: Option<&Said>) -> Result<&'static str, Failure> {
    let failed = |e: std::io::Error| Failure::internal(format!("cannot print the result: {e}"));
    let (kind, file) = match files {
        [] => match said {
            None => return Ok("none"),
            Some(said) => {
                short(said.length)?;
                line(&mark(said, "text"), said.text.as_slice()).map_err(failed)?;
                return Ok("text");
            }
        },
        [(_, path)] => ("file", File::open(path).map_err(failed)?),
        several => ("zip", archive(folders, several).map_err(failed)?),
    };
    if said.is_some() {
        short(file.metadata().map_err(failed)?.len())?;
    }
    let mark = said.map_or_else(String::new, |said| mark(said, "file"));
    line(&mark, BufReader::new(file)).map_err(failed)?;
    Ok(kind)
}

/// The mark begins a line, whatever the script left open.
fn mark(said: &Said, kind: &str) -> String {
    format!("{}marea-result-{kind}:", if said.open { "\n" } else { "" })
}

fn short(length: u64) -> Result<(), Failure> {
    if length <= KEPT {
        return Ok(());
    }
    Err(Failure::stage(format!("the result has {length} bytes, and a caller who waits is given {KEPT} at most")))
}

fn line(mark: &str, mut from: impl std::io::Read) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(mark.as_bytes())?;
    let mut encoder = EncoderWriter::new(out, &STANDARD);
    std::io::copy(&mut from, &mut encoder)?;
    let mut out = encoder.finish()?;
    out.write_all(b"\n")?;
    out.flush()
}

fn archive(folders: &Folders, files: &[Left]) -> std::io::Result<File> {
    let path = folders.top.join("result.zip");
    let mut zip = ZipWriter::new(File::options().read(true).write(true).create_new(true).open(path)?);
    for (name, path) in files {
        let options = SimpleFileOptions::default().large_file(path.metadata()?.len() >= u64::from(u32::MAX));
        zip.start_file(name.as_str(), options).map_err(std::io::Error::other)?;
        std::io::copy(&mut File::open(path)?, &mut zip)?;
    }
    let mut file = zip.finish().map_err(std::io::Error::other)?;
    file.rewind()?;
    Ok(file)
}
