//! The rules of a set of scopes, compiled into an automaton: a request costs one walk over its path, whatever the number of rules.
//!
//! In a trie of patterns with `*`, several branches can match a segment. The subset construction follows all of them while compiling, so
//! that a request takes exactly one branch at each segment: the literal one if a rule names the segment, else the one for any other.

use std::collections::BTreeMap;
use std::fmt;

use super::allocator;
use super::sorted::sorted;
use crate::config::index::IndexPattern;
use crate::config::scope::{Rule, Scope, Segment};

/// The compiled rules of one set of scopes. Keys with the same scopes share them.
#[derive(Debug, Default)]
pub struct ScopeRules {
    states: Vec<State>,
    rules: Vec<ScopeRule>,
}

/// A state of the automaton. State 0 is before the first segment.
#[derive(Debug, Default)]
struct State {
    /// The next state for each literal segment, sorted by segment.
    literals: Vec<(Box<str>, usize)>,
    /// The next state for any other segment that is not empty.
    other: Option<usize>,
    /// The rules that fit if the path ends here, as indexes into the rules.
    ends: Vec<usize>,
    /// The rules ending in `**`, which fit if one segment or more follow.
    open: Vec<usize>,
}

/// A rule of a scope.
#[derive(Debug)]
pub struct ScopeRule {
    scope: Box<str>,
    /// The rule as the operator wrote it.
    text: Box<str>,
    methods: Methods,
    /// The position of the segment that is the index, from 0.
    index_at: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Methods {
    Any,
    Only(Vec<Box<str>>),
}

impl Methods {
    fn of(rule: &Rule) -> Methods {
        if rule.methods.iter().any(|method| method.0 == "*") {
            return Methods::Any;
        }
        Methods::Only(rule.methods.iter().map(|method| method.0.as_str().into()).collect())
    }

    fn include(&self, method: &[u8]) -> bool {
        match self {
            Methods::Any => true,
            // A server answers `HEAD` as it would `GET`, less the content (RFC 9110, section 9.3.2).
            Methods::Only(names) => names.iter().any(|name| {
                let name = name.as_bytes();
                name == method || name == b"GET" && method == b"HEAD"
            }),
        }
    }

    fn include_all(&self, other: &Methods) -> bool {
        match (self, other) {
            (Methods::Any, _) => true,
            (_, Methods::Any) => false,
            (_, Methods::Only(names)) => names.iter().all(|name| self.include(name.as_bytes())),
        }
    }
}

impl ScopeRule {
    fn new(scope: &str, rule: &Rule) -> ScopeRule {
        ScopeRule {
            scope: scope.into(),
            text: rule.to_string().into(),
            methods: Methods::of(rule),
            index_at: rule.path.segments.iter().position(|segment| *segment == Segment::Index),
        }
    }

    /// An upper bound on its bytes. The vector of rules doubles as it grows.
    fn bytes(&self) -> usize {
        let methods = match &self.methods {
            Methods::Any => 0,
            Methods::Only(names) => names
                .iter()
                .map(|name| size_of::<Box<str>>() + name.len() + OVERHEAD)
                .sum(),
        };
        2 * size_of::<ScopeRule>() + self.scope.len() + self.text.len() + 3 * OVERHEAD + methods
    }
}

/// As in `GET /v1/stats of admin`: the rule as the operator wrote it, and its scope.
impl fmt::Display for ScopeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.text, self.scope)
    }
}

/// A rule that fits the method and the path of a request.
#[derive(Debug, Clone, Copy)]
pub struct RuleMatch<'s, 'r> {
    /// The rule.
    pub rule: &'s ScopeRule,
    /// The segment of the path that is the index by this rule. `None` if the rule has no `{index}`.
    pub index: Option<&'r [u8]>,
}

/// Whether the rules allow a request.
#[derive(Debug, Clone, Copy)]
pub enum ScopeAnswer<'s, 'r> {
    /// No rule fits method and path.
    NoRule,
    /// Rules fit, but none of them finds an index of the list in the path. This is one of them.
    NoIndex(RuleMatch<'s, 'r>),
    /// This rule fits, and so does its index if there is a list.
    Fits(RuleMatch<'s, 'r>),
}

impl<'s, 'r> ScopeAnswer<'s, 'r> {
    /// The rule that fits method and path.
    pub fn rule(self) -> Option<RuleMatch<'s, 'r>> {
        match self {
            ScopeAnswer::NoRule => None,
            ScopeAnswer::NoIndex(found) | ScopeAnswer::Fits(found) => Some(found),
        }
    }
}

/// A rule in the subset construction, and how many of its segments have been matched.
type Position = (usize, usize);

impl ScopeRules {
    /// Compiles the rules of these scopes. `left` is as for [`ScopeRules::new`].
    pub fn of_scopes(scopes: &[&Scope], left: &mut usize) -> Option<ScopeRules> {
        let rules = scopes
            .iter()
            .flat_map(|scope| scope.rules.iter().map(|rule| (&*scope.name, rule)));
        ScopeRules::new(&rules.collect::<Vec<_>>(), left)
    }

    /// Compiles rules, each with the name of its scope. Subtracts the bytes that they take from `left`, and returns `None` if these are not
    /// enough: with `*` in many places the number of states can grow exponentially.
    pub fn new(scopes: &[(&str, &Rule)], left: &mut usize) -> Option<ScopeRules> {
        let mut compiled = Vec::new();
        for (scope, rule) in scopes {
            let rule = ScopeRule::new(scope, rule);
            *left = left.checked_sub(rule.bytes())?;
            compiled.push(rule);
        }
        let rules: Vec<&Rule> = scopes.iter().map(|(_, rule)| *rule).collect();
        let rules = rules.as_slice();
        let start: Vec<Position> = (0..rules.len()).map(|rule| (rule, 0)).collect();
        let mut numbers = BTreeMap::from([(start.clone(), 0)]);
        let mut pending = vec![start];
        let mut states = Vec::new();
        while let Some(positions) = pending.get(states.len()).cloned() {
            // The set of positions is here, among those pending and in the map.
            *left = left.checked_sub(3 * (size_of_val(positions.as_slice()) + OVERHEAD))?;
            let mut number_of = |positions: Vec<Position>| -> Option<usize> {
                if positions.is_empty() {
                    return None;
                }
                let next = pending.len();
                Some(*numbers.entry(positions).or_insert_with_key(|positions| {
                    pending.push(positions.clone());
                    next
                }))
            };
            let literals: BTreeMap<&str, Vec<Position>> = literal_steps(rules, &positions);
            let other = wildcard_steps(rules, &positions);
            let state = State {
                literals: literals
                    .into_iter()
                    .filter_map(|(segment, mut next)| {
                        // A segment that a literal names fits the wildcards as well; an empty one fits none.
                        if !segment.is_empty() {
                            next.extend(&other);
                            next = sorted(next);
                        }
                        Some((segment.into(), number_of(next)?))
                    })
                    .collect(),
                other: number_of(other.clone()),
                ends: fitting(&compiled, rules, &positions, false),
                open: fitting(&compiled, rules, &positions, true),
            };
            *left = left.checked_sub(state.bytes())?;
            states.push(state);
        }
        Some(ScopeRules {
            states,
            rules: compiled,
        })
    }

    /// Whether a rule depends on the method. If so, a header that overrides the method would bypass it.
    pub fn names_methods(&self) -> bool {
        self.rules.iter().any(|rule| rule.methods != Methods::Any)
    }

    /// Checks `method` and `path`, which has no query and is not ambiguous. With lists of indexes, the rule must also find an index in the
    /// path that each of them contains. One rule that allows the request is enough.
    pub fn answer<'s, 'r>(
        &'s self,
        method: &[u8],
        path: &'r [u8],
        indexes: [Option<&IndexList>; 2],
    ) -> ScopeAnswer<'s, 'r> {
        let Some(path) = path.strip_prefix(b"/") else {
            return ScopeAnswer::NoRule;
        };
        let mut nearest = ScopeAnswer::NoRule;
        let mut state = self.states.first();
        for segment in path.split(is_slash) {
            let Some(here) = state else { break };
            if let Some(found) = self.consider(&here.open, method, path, indexes, &mut nearest) {
                return ScopeAnswer::Fits(found);
            }
            state = here.next(segment).and_then(|number| self.states.get(number));
        }
        match state.and_then(|end| self.consider(&end.ends, method, path, indexes, &mut nearest)) {
            Some(found) => ScopeAnswer::Fits(found),
            None => nearest,
        }
    }

    /// The first of the rules `numbers` that allows the request. A rule that fits except for its index is stored in `nearest`.
    fn consider<'s, 'r>(
        &'s self,
        numbers: &[usize],
        method: &[u8],
        path: &'r [u8],
        indexes: [Option<&IndexList>; 2],
        nearest: &mut ScopeAnswer<'s, 'r>,
    ) -> Option<RuleMatch<'s, 'r>> {
        let rules = numbers.iter().filter_map(|number| self.rules.get(*number));
        for rule in rules.filter(|rule| rule.methods.include(method)) {
            let index = rule.index_at.and_then(|at| path.split(is_slash).nth(at));
            let found = RuleMatch { rule, index };
            let mut lists = indexes.iter().flatten();
            if lists.all(|list| index.is_some_and(|index| list.contains(index))) {
                return Some(found);
            }
            let is_nearer = match nearest {
                ScopeAnswer::NoIndex(before) => before.index.is_none() && index.is_some(),
                _ => true,
            };
            if is_nearer {
                *nearest = ScopeAnswer::NoIndex(found);
            }
        }
        None
    }
}

fn is_slash(byte: &u8) -> bool {
    *byte == b'/'
}

/// An upper bound on the bytes that an allocation and the vector that it belongs to take besides the content.
const OVERHEAD: usize = 2 * allocator::OVERHEAD;

impl State {
    /// An upper bound on its bytes. The vector of states doubles as it grows.
    fn bytes(&self) -> usize {
        let literal = |(text, _): &(Box<str>, usize)| size_of::<(Box<str>, usize)>() + text.len() + OVERHEAD;
        let literals: usize = self.literals.iter().map(literal).sum();
        let numbers = (self.ends.len() + self.open.len()) * size_of::<usize>() + 2 * OVERHEAD;
        3 * size_of::<State>() + 2 * literals + numbers
    }

    fn next(&self, segment: &[u8]) -> Option<usize> {
        let literal = self.literals.binary_search_by(|(name, _)| name.as_bytes().cmp(segment));
        match literal.ok().and_then(|index| self.literals.get(index)) {
            Some((_, number)) => Some(*number),
            None => self.other.filter(|_| !segment.is_empty()),
        }
    }
}

fn segment_at<'r>(rules: &[&'r Rule], (rule, at): Position) -> Option<&'r Segment> {
    rules.get(rule)?.path.segments.get(at)
}

fn literal_steps<'r>(rules: &[&'r Rule], positions: &[Position]) -> BTreeMap<&'r str, Vec<Position>> {
    let mut steps: BTreeMap<&str, Vec<Position>> = BTreeMap::new();
    for &(rule, at) in positions {
        if let Some(Segment::Literal(text)) = segment_at(rules, (rule, at)) {
            steps.entry(text).or_default().push((rule, at + 1));
        }
    }
    steps
}

fn wildcard_steps(rules: &[&Rule], positions: &[Position]) -> Vec<Position> {
    let is_wildcard =
        |position: &&Position| matches!(segment_at(rules, **position), Some(Segment::Any | Segment::Index));
    positions
        .iter()
        .filter(is_wildcard)
        .map(|&(rule, at)| (rule, at + 1))
        .collect()
}

/// The rules whose segments have all been matched. A rule is left out if an earlier one allows everything that it allows.
fn fitting(compiled: &[ScopeRule], rules: &[&Rule], positions: &[Position], open_ended: bool) -> Vec<usize> {
    let mut numbers: Vec<usize> = Vec::new();
    for &(number, at) in positions {
        let (Some(rule), Some(path)) = (compiled.get(number), rules.get(number).map(|rule| &rule.path)) else {
            continue;
        };
        let is_covered = || {
            let mut before = numbers.iter().filter_map(|number| compiled.get(*number));
            before.any(|other| other.index_at == rule.index_at && other.methods.include_all(&rule.methods))
        };
        if path.segments.len() == at && path.open_ended == open_ended && !is_covered() {
            numbers.push(number);
        }
    }
    numbers.shrink_to_fit();
    numbers
}

/// The indexes that a key may use: names, and prefixes of names.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct IndexList {
    /// Sorted, for a binary search.
    names: Box<[Box<str>]>,
    prefixes: Box<[Box<str>]>,
}

impl IndexList {
    /// Compiles the entries of a key's `indexes`.
    pub fn new(entries: &[IndexPattern<'_>]) -> IndexList {
        let (prefixes, names): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.is_prefix);
        let texts = |entries: Vec<&IndexPattern<'_>>| {
            let texts: Vec<Box<str>> = entries.iter().map(|entry| entry.name.as_ref().into()).collect();
            sorted(texts).into_boxed_slice()
        };
        IndexList {
            names: texts(names),
            prefixes: texts(prefixes),
        }
    }

    /// Whether the list contains `index`, a segment of a request's path.
    pub fn contains(&self, index: &[u8]) -> bool {
        let has = |prefix: &str| index.strip_prefix(prefix.as_bytes()).is_some_and(is_of_one_name);
        self.names.binary_search_by(|name| name.as_bytes().cmp(index)).is_ok()
            || self.prefixes.iter().any(|prefix| has(prefix))
    }
}

/// Whether the rest of a name after a prefix has unreserved characters only (RFC 3986, section 2.3). Search engines read some others as
/// operators: `articles-1,orders` names two indexes.
fn is_of_one_name(rest: &[u8]) -> bool {
    let is_unreserved = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    rest.iter().all(is_unreserved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::scope::PathPattern;
    use crate::config::token::Method;

    fn rule_of(text: &str) -> Rule {
        let (methods, path) = text.split_once(' ').unwrap();
        Rule {
            methods: methods.split(',').map(|name| Method(name.into())).collect(),
            path: PathPattern::parse(path).unwrap(),
        }
    }

    fn list(entries: &[&str]) -> IndexList {
        let entries = entries
            .iter()
            .map(|entry| IndexPattern::parse((*entry).into()).unwrap());
        IndexList::new(&entries.collect::<Vec<_>>())
    }

    /// A [`ScopeAnswer`] without its match.
    #[derive(Debug, PartialEq)]
    enum Found {
        NoRule,
        NoIndex,
        Fits,
    }

    #[test]
    fn requests_against_rules() {
        use Found::*;
        let search: &[&str] = &[
            "GET,POST /v1/indexes/{index}/search",
            "GET /v1/stats",
            "* /health/*",
            "PUT /files/**",
        ];
        let overlap: &[&str] = &[
            "GET /a/{index}/c",
            "GET /a/b/*",
            "POST /a/b/c",
            "GET /{index}/x/y",
            "DELETE /a/b/**",
        ];
        let products: Option<&[&str]> = Some(&["products", "articles-*"]);
        for (rules, indexes, request, expected) in [
            (search, None, "GET /v1/indexes/products/search", Fits),
            (search, None, "POST /v1/indexes/products/search", Fits),
            (search, None, "DELETE /v1/indexes/products/search", NoRule),
            (search, None, "get /v1/indexes/products/search", NoRule),
            (search, None, "HEAD /v1/indexes/products/search", Fits),
            (search, None, "head /v1/indexes/products/search", NoRule),
            (&["HEAD /a", "POST /b"], None, "GET /a", NoRule),
            (&["HEAD /a", "POST /b"], None, "HEAD /a", Fits),
            (&["HEAD /a", "POST /b"], None, "HEAD /b", NoRule),
            (search, None, "GET /v1/indexes//search", NoRule),
            (search, None, "GET /v1/indexes/products/search/", NoRule),
            (search, None, "GET /v1/indexes/products", NoRule),
            (search, None, "GET /V1/stats", NoRule),
            (search, None, "GET /v1/stats", Fits),
            (search, None, "BREW /health/x", Fits),
            (search, None, "GET /health/", NoRule),
            (search, None, "PUT /files/a/b", Fits),
            (search, None, "PUT /files/", Fits),
            (search, None, "PUT /files", NoRule),
            (search, None, "GET /", NoRule),
            (search, None, "GET *", NoRule),
            (search, None, "GET ", NoRule),
            (search, products, "GET /v1/indexes/products/search", Fits),
            (search, products, "GET /v1/indexes/product/search", NoIndex),
            (search, products, "GET /v1/indexes/products2/search", NoIndex),
            (search, products, "GET /v1/indexes/articles-2026/search", Fits),
            (search, products, "GET /v1/indexes/articles-/search", Fits),
            (search, products, "GET /v1/indexes/articles-2026_a.b~c/search", Fits),
            (search, products, "GET /v1/indexes/articles-1,users/search", NoIndex),
            (search, products, "GET /v1/indexes/articles-*/search", NoIndex),
            (search, products, "GET /v1/indexes/articles-1:users/search", NoIndex),
            (search, products, "GET /v1/indexes/articles-1+users/search", NoIndex),
            (search, Some(&["a,b"]), "GET /v1/indexes/a,b/search", Fits),
            (search, Some(&["*"]), "GET /v1/indexes/a-1/search", Fits),
            (search, Some(&["*"]), "GET /v1/indexes/a,b/search", NoIndex),
            (search, products, "GET /v1/indexes/articles/search", NoIndex),
            (search, products, "GET /v1/indexes/articles-%61/search", NoIndex),
            (search, products, "GET /v1/indexes/p%72oducts/search", NoIndex),
            (search, products, "GET /v1/stats", NoIndex),
            (search, products, "PUT /v1/stats", NoRule),
            (search, Some(&[]), "GET /v1/indexes/products/search", NoIndex),
            (overlap, None, "GET /a/b/c", Fits),
            (overlap, None, "POST /a/b/c", Fits),
            (overlap, None, "POST /a/x/c", NoRule),
            (overlap, None, "GET /a/b/d", Fits),
            (overlap, None, "GET /a/x/d", NoRule),
            (overlap, None, "GET /a/x/y", Fits),
            (overlap, None, "DELETE /a/b/c/d", Fits),
            (overlap, Some(&["a"]), "GET /a/x/y", Fits),
            (overlap, Some(&["x"]), "GET /a/x/y", NoIndex),
            (overlap, Some(&["b"]), "GET /a/b/c", Fits),
            (overlap, Some(&["b"]), "GET /a/b/d", NoIndex),
            (&["GET /**"], None, "GET /", Fits),
            (&["GET /"], None, "GET /", Fits),
            (&["GET /v1/"], None, "GET /v1/", Fits),
            (&["GET /v1/"], None, "GET /v1", NoRule),
            (&[], None, "GET /", NoRule),
        ] {
            let rules: Vec<Rule> = rules.iter().map(|text| rule_of(text)).collect();
            let rules: Vec<(&str, &Rule)> = rules.iter().map(|rule| ("scope", rule)).collect();
            let compiled = ScopeRules::new(&rules, &mut (4 << 20)).unwrap();
            let indexes = indexes.map(list);
            let (method, path) = request.split_once(' ').unwrap();
            let answer = compiled.answer(method.as_bytes(), path.as_bytes(), [indexes.as_ref(), None]);
            let found = match answer {
                ScopeAnswer::NoRule => NoRule,
                ScopeAnswer::NoIndex(_) => NoIndex,
                ScopeAnswer::Fits(_) => Fits,
            };
            assert_eq!(found, expected, "{request} with {indexes:?}");
        }
    }

    #[test]
    fn rules_that_explode_are_refused() {
        let rules: Vec<Rule> = (0..16)
            .map(|at| rule_of(&format!("GET /{}x{}", "*/".repeat(at), "/*".repeat(16 - at))))
            .collect();
        let rules: Vec<(&str, &Rule)> = rules.iter().map(|rule| ("scope", rule)).collect();
        assert!(ScopeRules::new(&rules, &mut (4 << 20)).is_none());
    }

    #[test]
    fn an_answer_names_its_rule_and_index() {
        let rules: &[&str] = &[
            "GET /v1/stats",
            "GET,POST /v1/{index}/search",
            "POST /v1/{index}/search",
            "* /v1/{index}/search",
            "GET /v2/**",
            "GET /v2/{index}/search",
        ];
        let products: &[&str] = &["products"];
        for (indexes, request, rule, index) in [
            (None, "GET /v1/stats", "GET /v1/stats", None),
            (None, "POST /v1/a/search", "GET, POST /v1/{index}/search", Some("a")),
            (None, "PUT /v1/a/search", "* /v1/{index}/search", Some("a")),
            (None, "GET /v2/a/search", "GET /v2/**", None),
            (
                Some(products),
                "GET /v2/products/search",
                "GET /v2/{index}/search",
                Some("products"),
            ),
            (Some(products), "GET /v2/a/search", "GET /v2/{index}/search", Some("a")),
            (Some(products), "GET /v2/a/b", "GET /v2/**", None),
            (Some(products), "GET /v1/stats", "GET /v1/stats", None),
        ] {
            let rules: Vec<Rule> = rules.iter().map(|text| rule_of(text)).collect();
            let rules: Vec<(&str, &Rule)> = rules.iter().map(|rule| ("scope", rule)).collect();
            let compiled = ScopeRules::new(&rules, &mut (4 << 20)).unwrap();
            let indexes: Option<IndexList> = indexes.map(list);
            let (method, path) = request.split_once(' ').unwrap();
            let found = match compiled.answer(method.as_bytes(), path.as_bytes(), [indexes.as_ref(), None]) {
                ScopeAnswer::NoRule => panic!("{request} fits no rule"),
                ScopeAnswer::NoIndex(found) | ScopeAnswer::Fits(found) => found,
            };
            assert_eq!(found.rule.to_string(), format!("{rule} of scope"), "{request}");
            assert_eq!(found.index, index.map(str::as_bytes), "{request}");
        }
    }

    /// A request is checked against one of several rules that allow the same.
    #[test]
    fn a_rule_that_adds_nothing_is_not_looked_at() {
        let rules: Vec<Rule> = (0..1_000).map(|_| rule_of("GET,POST /a")).collect();
        let rules: Vec<(&str, &Rule)> = rules.iter().map(|rule| ("scope", rule)).collect();
        let compiled = ScopeRules::new(&rules, &mut (4 << 20)).unwrap();
        assert!(compiled.states.iter().all(|state| state.ends.len() <= 1));
    }
}
