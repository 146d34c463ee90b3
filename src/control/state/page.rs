//! One page of an answer, as JSON of a limited size.

/// The most bytes of a page. A gateway reads no page of more than 262,144.
pub const MAX_PAGE_BYTES: usize = 256_000;

/// The most bytes of a key, so that every page can hold one.
pub const MAX_KEY_BYTES: usize = MAX_PAGE_BYTES - ENVELOPE_BYTES;

/// What a page has beside its keys and ids: epoch, revision and cursor.
const ENVELOPE_BYTES: usize = 512;

/// A page that has several keys or ids is full from this number of bytes on, and of entries. A gateway applies a page without a pause, and a
/// key takes it some microseconds: so no request waits long.
const FULL_BYTES: usize = 50_000;
const FULL_ENTRIES: usize = 1_000;

/// A page that is being written: removed ids first, then keys.
pub struct Page {
    removed: String,
    set: String,
    entries: usize,
}

impl Page {
    pub fn new() -> Page {
        Page {
            removed: String::new(),
            set: String::new(),
            entries: 0,
        }
    }

    /// Adds a removed id. Returns false if the page is full.
    #[must_use]
    pub fn remove(&mut self, id: &str) -> bool {
        // Ids have no characters that JSON escapes.
        let fits = self.has_space(id.len() + 3);
        if fits {
            self.entries += 1;
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
            self.entries += 1;
            separate(&mut self.set);
            self.set.push_str(json);
        }
        fits
    }

    fn has_space(&self, bytes: usize) -> bool {
        let all_bytes = self.removed.len() + self.set.len() + bytes;
        self.entries == 0 || self.entries < FULL_ENTRIES && all_bytes <= FULL_BYTES
    }

    /// The whole page. `next` is the cursor of the following one.
    pub fn finish(self, epoch: &str, revision: u64, is_complete: bool, next: Option<String>) -> String {
        let Page { removed, set, .. } = self;
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
