//! Keys from files: those that are there at the start, and each change of them.
//!
//! A file is in force as a whole. One that has errors, or cannot be read, stays in force as it was when it last was right, and does not hold up the
//! others.

mod duplicates;
mod keys;
mod list;
mod positions;
mod references;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fed_key::FedKey;
use crate::state::State;
use duplicates::Places;
use keys::{FileKey, FileKeys};
use list::Stamp;

/// How the files are.
#[derive(Debug, Default)]
pub struct Status {
    wrong: AtomicU64,
}

impl Status {
    /// How many files and folders have errors or cannot be read.
    pub fn wrong(&self) -> u64 {
        self.wrong.load(Ordering::Relaxed)
    }
}

/// Files, and folders of files, with the keys of each.
#[derive(Debug)]
pub struct Files {
    sources: Vec<PathBuf>,
    files: BTreeMap<Arc<Path>, File>,
    /// Why each of these sources cannot be listed.
    source_errors: BTreeMap<PathBuf, String>,
    /// The places of all keys in force.
    places: Places,
    status: Arc<Status>,
}

/// A file that is there, or was.
#[derive(Debug, Default)]
struct File {
    /// What it was like when it was last read. Without one it is read again.
    stamp: Option<Stamp>,
    /// The keys in force.
    keys: Vec<FileKey>,
    /// The keys that come in force unless another file has them.
    next: Option<Vec<FileKey>>,
    /// Why the file is not in force as it is.
    errors: Vec<String>,
    is_gone: bool,
}

/// What an update found, as lines for the log.
#[derive(Debug, Default)]
pub struct Report {
    /// The errors that were not there before.
    pub errors: Vec<String>,
    /// The warnings of the files that were read.
    pub warnings: Vec<String>,
}

impl Files {
    /// These files, and the `*.json`, `*.yaml` and `*.yml` in these folders. [`Files::update`] reads them.
    pub fn new(sources: Vec<PathBuf>) -> Files {
        Files {
            sources,
            files: BTreeMap::new(),
            source_errors: BTreeMap::new(),
            places: Places::default(),
            status: Arc::default(),
        }
    }

    /// How the files are, as each update leaves it.
    pub fn status(&self) -> Arc<Status> {
        self.status.clone()
    }

    /// Reads what has changed, and brings into `state` what is right of it, as one change.
    pub fn update(&mut self, state: &State) -> Report {
        let mut report = Report::default();
        self.read_changed(&mut report);
        self.reject_duplicates(&mut report);
        self.apply(state);
        let wrong = self.files.values().filter(|file| !file.errors.is_empty()).count();
        let wrong = wrong + self.source_errors.len();
        self.status.wrong.store(wrong as u64, Ordering::Relaxed);
        report
    }

    fn read_changed(&mut self, report: &mut Report) {
        let mut present: BTreeSet<Arc<Path>> = BTreeSet::new();
        for source in &self.sources {
            match list::files(source) {
                Ok(files) => {
                    self.source_errors.remove(source);
                    for (path, stamp) in files {
                        let file = self.files.entry(path.clone()).or_default();
                        file.is_gone = false;
                        file.read_if_changed(&path, stamp, report);
                        present.insert(path);
                    }
                }
                Err(error) => {
                    let before = self.source_errors.insert(source.clone(), error.clone());
                    if before.as_ref() != Some(&error) {
                        report.errors.push(error);
                    }
                    // What is there of it stays.
                    let is_of_source = |path: &&Arc<Path>| path.as_ref() == source || path.parent() == Some(source);
                    present.extend(self.files.keys().filter(is_of_source).cloned());
                }
            }
        }
        for (path, file) in &mut self.files {
            if !present.contains(path) {
                file.is_gone = true;
                file.next = Some(Vec::new());
                file.errors.clear();
            }
        }
    }

    /// Leaves files as they were in which a key has the id or an API key of another key.
    fn reject_duplicates(&mut self, report: &mut Report) {
        let mut rejected: HashMap<Arc<Path>, Vec<String>> = HashMap::new();
        // A file that is left as it was may have a key that has moved to another.
        loop {
            let candidates = self.files.iter().filter(|(path, _)| !rejected.contains_key(*path));
            let candidates = candidates.filter_map(|(path, file)| Some((path.clone(), file.next.as_deref()?)));
            let found = self.places.duplicates(&candidates.collect());
            if found.is_empty() {
                break;
            }
            rejected.extend(found);
        }
        for (path, file) in &mut self.files {
            match rejected.remove(path) {
                Some(errors) => file.set_errors(errors, report),
                // It is to come in force.
                None if file.next.is_some() => file.errors.clear(),
                None => {}
            }
        }
    }

    fn apply(&mut self, state: &State) {
        let mut removed: Vec<Arc<str>> = Vec::new();
        let mut set: Vec<FedKey> = Vec::new();
        let accepted = self.files.iter_mut().filter(|(_, file)| file.errors.is_empty());
        let accepted: Vec<_> = accepted
            .filter_map(|(path, file)| Some((path, file.next.take()?, &mut file.keys)))
            .collect();
        for (_, _, before) in &accepted {
            for FileKey { key, .. } in before.iter() {
                self.places.remove(key);
                removed.push(key.id().clone());
            }
        }
        for (path, next, keys) in accepted {
            for file_key in &next {
                self.places.insert(file_key, path);
                set.push(file_key.key.clone());
            }
            *keys = next;
        }
        let set_ids: HashSet<Arc<str>> = set.iter().map(|key| key.id().clone()).collect();
        let removed = removed.iter().filter(|id| !set_ids.contains(*id));
        state.change(set, removed.map(AsRef::as_ref));
        self.files.retain(|_, file| !file.is_gone);
    }
}

impl File {
    fn read_if_changed(&mut self, path: &Path, stamp: Result<Stamp, String>, report: &mut Report) {
        let stamp = match stamp {
            Ok(stamp) if self.stamp == Some(stamp) => return,
            Ok(stamp) => stamp,
            Err(error) => {
                (self.stamp, self.next) = (None, None);
                return self.set_errors(vec![error], report);
            }
        };
        let FileKeys { keys, errors, warnings } = keys::read(path);
        self.stamp = Some(stamp);
        report.warnings.extend(warnings);
        self.next = errors.is_empty().then_some(keys);
        self.set_errors(errors, report);
    }

    fn set_errors(&mut self, errors: Vec<String>, report: &mut Report) {
        if self.errors != errors {
            report.errors.extend(errors.iter().cloned());
            self.errors = errors;
        }
    }
}
