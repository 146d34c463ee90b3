//! Notices changes of files: by the system's notifications where there are some, and else by looking every second.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::successors;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::Files;
use super::list::Inode;
use crate::log;
use crate::state::State;

/// How long it must be quiet before files are read: programs write a file in several steps.
const QUIET: Duration = Duration::from_millis(20);

/// How long it may take until it is quiet.
const LONGEST_UNREST: Duration = Duration::from_millis(500);

/// How often files are looked at if the system does not tell of changes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How often files are looked at in any case: network file systems tell of changes by the same machine only.
const SAFETY_INTERVAL: Duration = Duration::from_secs(30);

/// Brings each change of the files into `state`. It does not return.
pub fn watch(mut files: Files, state: &State) {
    let (sender, events) = mpsc::channel();
    let mut folders = Folders::new(sender);
    loop {
        log_update(&mut files, state);
        // A file may have changed before its folder was watched.
        while folders.watch(&files.folders()) {
            log_update(&mut files, state);
        }
        folders.wait(&events);
    }
}

fn log_update(files: &mut Files, state: &State) {
    let before = state.revision();
    let report = files.update(state);
    let lines = report.errors.iter().chain(&report.warnings);
    lines.for_each(|line| log::line(line));
    if !report.errors.is_empty() {
        log::line("what has errors stays in force as it was");
    }
    let revision = state.revision();
    if revision != before {
        log::line(&format!("revision {revision}: {} keys", state.key_count()));
    }
}

/// The folders that are watched.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    /// Each with its inode: another folder may take its place.
    watched: BTreeMap<PathBuf, Inode>,
    /// Whether one of them cannot be watched.
    is_polling: bool,
    /// Kept so that waiting for events never ends with an error.
    _sender: Sender<()>,
}

impl Folders {
    fn new(sender: Sender<()>) -> Folders {
        let events = sender.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // The receiver lives as long as this.
                let _ = events.send(());
            }
        });
        let mut folders = Folders {
            watcher: None,
            watched: BTreeMap::new(),
            is_polling: false,
            _sender: sender,
        };
        match watcher {
            Ok(watcher) => folders.watcher = Some(watcher),
            Err(error) => folders.poll(&error.to_string()),
        }
        folders
    }

    fn poll(&mut self, reason: &str) {
        if !self.is_polling {
            log::line(&format!("changes of files are looked for every second: {reason}"));
        }
        self.is_polling = true;
    }

    /// Watches these folders, and no others. Returns whether there is a new one among them.
    fn watch(&mut self, wanted: &BTreeMap<PathBuf, Inode>) -> bool {
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        self.watched.retain(|folder, inode| {
            let stays = wanted.get(folder) == Some(inode);
            if !stays {
                // It may be gone, and its watch with it.
                let _ = watcher.unwatch(folder);
            }
            stays
        });
        let (mut is_new, mut failure) = (false, None);
        for (folder, inode) in wanted {
            if self.watched.contains_key(folder) {
                continue;
            }
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder.clone(), *inode);
                    is_new = true;
                }
                Err(error) => failure = Some(format!("{}: {error}", folder.display())),
            }
        }
        match failure {
            Some(reason) => self.poll(&reason),
            None => self.is_polling = false,
        }
        is_new
    }

    /// Waits until something may have changed, and it is quiet again.
    fn wait(&self, events: &Receiver<()>) {
        let interval = if self.is_polling {
            POLL_INTERVAL
        } else {
            SAFETY_INTERVAL
        };
        let first = events.recv_timeout(interval);
        let end = Instant::now() + LONGEST_UNREST;
        while first.is_ok() && Instant::now() < end {
            if let Err(RecvTimeoutError::Timeout) = events.recv_timeout(QUIET) {
                break;
            }
        }
    }
}

impl Files {
    /// The folders in which a change tells of a change of the files, each under one name: the system has one watch for all its names, so to
    /// unwatch one would unwatch the others.
    fn folders(&self) -> BTreeMap<PathBuf, Inode> {
        let sources = self.sources.iter().map(PathBuf::as_path);
        let files = self.files.keys().map(|path| &**path);
        let parents = sources.chain(files).flat_map(names).map(|name| parent(&name));
        let itself = self.sources.iter().filter(|source| source.is_dir()).cloned();
        let folders: BTreeSet<PathBuf> = parents.chain(itself).collect();
        let inodes = folders
            .into_iter()
            .filter_map(|folder| Some((Inode::of(&folder).ok()?, folder)));
        let by_inode: BTreeMap<Inode, PathBuf> = inodes.collect();
        by_inode.into_iter().map(|(inode, folder)| (folder, inode)).collect()
    }
}

/// The most links on the way to a file, as on Linux.
const MAX_LINKS: usize = 40;

/// The names that decide what a path leads to: the path itself, and if it has symbolic links, each link, each target, and the file's path without
/// links.
fn names(path: &Path) -> Vec<PathBuf> {
    let target = |link: &PathBuf| Some(parent(link).join(link.read_link().ok()?));
    let links = path.ancestors().filter(|part| part.is_symlink());
    let steps = links.flat_map(|link| successors(Some(link.to_owned()), target).take(MAX_LINKS));
    let mut names: Vec<PathBuf> = steps.collect();
    if !names.is_empty() {
        names.extend(path.canonicalize());
    }
    names.push(path.to_owned());
    names
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
