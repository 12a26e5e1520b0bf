//! Reads and writes the PEM files. Keys are created with mode 0600 before a byte is in them, and
//! every file is replaced by a rename, so that a crash leaves the old one or the new one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::Error;

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |source| Error::File { path: path.to_owned(), source }
}

/// Reads a text file.
pub(super) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(at(path))
}

/// Makes the directory where there is none, for its owner only.
pub(super) fn create_directory(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// Writes a file whole, readable by its owner only.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Error> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    // A file left by a crash may have another mode; `mode` only acts on creation.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(at(temporary)(error));
        }
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)
        .map_err(at(temporary))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(at(temporary))?;
    fs::rename(temporary, path).map_err(at(path))
}
