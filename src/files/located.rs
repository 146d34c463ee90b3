//! Positions in a source: of a document of it, or of a text that is a string in it.

use std::collections::{BTreeSet, HashMap};

use keyfence_core::config::config_path::ConfigPath;

use crate::scalar::Block;
use crate::tree::{Mark, Node};

/// A document, and the positions of its values in its source.
#[derive(Debug, Clone)]
pub struct LocatedTree {
    /// `None` if the text is not valid JSON; then it has no positions.
    pub root: Option<Node>,
    /// How its positions map to those in its source.
    pub origin: Origin,
}

/// Maps positions in a text to positions in its source.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// From the inner string to the outer one; empty if the text is the source.
    strings: Vec<StringOrigin>,
}

#[derive(Debug, Clone, Copy)]
enum StringOrigin {
    /// The text is a literal block.
    Block(Block),
    /// The text is a string of another kind. All its positions map to the start of the string.
    At(Mark),
}

/// The position of a value. If its name is repeated, it is the last one's.
#[derive(Debug, Clone, Copy)]
pub struct Location {
    /// The position of the value itself.
    pub value: Mark,
    /// The position of its name, or of the value for an item of a list.
    pub name: Mark,
}

impl Origin {
    /// The origin of the text that this string holds.
    pub fn of_string(&self, string: &Node) -> Origin {
        match string.scalar().and_then(|scalar| scalar.block) {
            Some(block) => self.below(StringOrigin::Block(block)),
            None => self.at(string.mark),
        }
    }

    /// The origin of a text whose positions all map to `mark`.
    pub fn at(&self, mark: Mark) -> Origin {
        self.below(StringOrigin::At(mark))
    }

    fn below(&self, inner: StringOrigin) -> Origin {
        let mut strings = vec![inner];
        strings.extend(&self.strings);
        Origin { strings }
    }

    /// Maps a position in the text to a position in the source.
    pub fn in_source(&self, mark: Mark) -> Mark {
        self.strings.iter().fold(mark, |mark, string| match *string {
            StringOrigin::At(start) => start,
            StringOrigin::Block(block) => Mark {
                line: block.first_line + mark.line - 1,
                column: block.indentation + mark.column,
            },
        })
    }
}

impl LocatedTree {
    /// The position in the source at which the document begins.
    pub fn start(&self) -> Mark {
        let start = self.root.as_ref().map_or(Mark { line: 1, column: 1 }, |root| root.mark);
        self.origin.in_source(start)
    }

    /// Finds the positions in the source of the values at these paths, in the notation of [`ConfigPath`].
    pub fn locate(&self, paths: &[&str]) -> HashMap<String, Location> {
        let mut search = Search {
            wanted: paths.iter().copied().filter(|path| !path.is_empty()).collect(),
            found: HashMap::new(),
        };
        if let Some(root) = &self.root {
            search.visit(root, &ConfigPath::ROOT);
        }
        for location in search.found.values_mut() {
            location.value = self.origin.in_source(location.value);
            location.name = self.origin.in_source(location.name);
        }
        search.found
    }
}

struct Search<'w> {
    wanted: BTreeSet<&'w str>,
    found: HashMap<String, Location>,
}

impl Search<'_> {
    fn visit(&mut self, node: &Node, path: &ConfigPath<'_>) {
        for (index, item) in node.items().iter().enumerate() {
            self.match_path(item, item.mark, &path.item(index));
        }
        for member in node.members() {
            self.match_path(&member.node, member.mark, &path.field(&member.name));
        }
    }

    /// Records the node if its path is wanted, and visits its children if one of theirs may be.
    fn match_path(&mut self, node: &Node, name: Mark, path: &ConfigPath<'_>) {
        let text = path.to_string();
        if self.wanted.contains(text.as_str()) {
            let value = node.mark;
            self.found.insert(text.clone(), Location { value, name });
        }
        // The path of a child begins with the path of its parent.
        let mut below = self.wanted.range(text.as_str()..).skip_while(|wanted| **wanted == text);
        if below.next().is_some_and(|wanted| wanted.starts_with(&text)) {
            self.visit(node, path);
        }
    }
}
