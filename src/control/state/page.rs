//! One page of an answer, as JSON of a limited size.

use super::{ENVELOPE_BYTES, MAX_PAGE_BYTES};

/// A page that is being written: removed ids first, then keys.
pub struct Page {
    removed: String,
    set: String,
}

impl Page {
    pub fn new() -> Page {
        Page {
            removed: String::new(),
            set: String::new(),
        }
    }

    /// Adds a removed id. Returns false if the page is full.
    #[must_use]
    pub fn remove(&mut self, id: &str) -> bool {
        // Ids have no characters that JSON escapes.
        let fits = self.has_space(id.len() + 3);
        if fits {
            separate(&mut self.removed);
            self.removed.extend(["\"", id, "\""]);
        }
        fits
    }

    /// Adds a key. Returns false if the page is full.
    #[must_use]
    pub fn set(&mut self, json: &str) -> bool {
        let fits = self.has_space(json.len() + 1);
        if fits {
            separate(&mut self.set);
            self.set.push_str(json);
        }
        fits
    }

    fn has_space(&self, bytes: usize) -> bool {
        let is_empty = self.removed.is_empty() && self.set.is_empty();
        is_empty || self.removed.len() + self.set.len() + bytes <= MAX_PAGE_BYTES - ENVELOPE_BYTES
    }

    /// The whole page. `next` is the cursor of the following one.
    pub fn finish(self, epoch: &str, revision: u64, is_complete: bool, next: Option<String>) -> String {
        let Page { removed, set } = self;
        let next = next.map_or("null".into(), |cursor| format!("\"{cursor}\""));
        format!(
            r#"{{"epoch":"{epoch}","revision":{revision},"complete":{is_complete},"removed":[{removed}],"set":[{set}],"next":{next}}}"#
        )
    }
}

fn separate(list: &mut String) {
    if !list.is_empty() {
        list.push(',');
    }
}
