//! Which files there are, and whether they have changed.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// What differs when a file has changed or is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// The time of the last change of the inode, in seconds and nanoseconds: programs can set `modified` back.
    changed: (i64, i64),
    inode: Inode,
}

/// What differs when something else has the name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inode(u64, u64);

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: Inode(metadata.dev(), metadata.ino()),
        }
    }
}

impl Inode {
    /// The inode that has this name.
    pub fn of(path: &Path) -> io::Result<Inode> {
        let metadata = fs::metadata(path)?;
        Ok(Inode(metadata.dev(), metadata.ino()))
    }
}

/// A file, and its stamp or why it has none.
pub type Listed = (Arc<Path>, Result<Stamp, String>);

/// The file itself, or the policies in a folder: its `*.json`, `*.yaml` and `*.yml` whose names do not begin with a dot. The error says why it
/// cannot be listed. A folder without files is an error: a volume that is not mounted must not remove all keys.
pub fn files(source: &Path) -> Result<Vec<Listed>, String> {
    let failed = |error: io::Error| format!("{}: error: {error}", source.display());
    if !fs::metadata(source).map_err(failed)?.is_dir() {
        return Ok(vec![(source.into(), stamp(source))]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(source).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if is_policy(&path) && !path.is_dir() {
            let stamp = stamp(&path);
            files.push((path.into(), stamp));
        }
    }
    if files.is_empty() {
        return Err(format!(
            "{}: error: the folder has no *.json, *.yaml or *.yml; for no keys at all, write a file with \"keys\": []",
            source.display()
        ));
    }
    Ok(files)
}

fn is_policy(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    let extension = path.extension().and_then(OsStr::to_str);
    name.is_some_and(|name| !name.starts_with('.')) && matches!(extension, Some("json" | "yaml" | "yml"))
}

/// The stamp of a regular file. Others may have no end, or wait for another program.
fn stamp(path: &Path) -> Result<Stamp, String> {
    let failed = |reason: &dyn fmt::Display| format!("{}: error: {reason}", path.display());
    let metadata = fs::metadata(path).map_err(|error| failed(&error))?;
    match metadata.is_file() {
        true => Ok(Stamp::of(&metadata)),
        false => Err(failed(&"it is not a regular file")),
    }
}
