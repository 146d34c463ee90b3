//! What a key is for: methods, paths and indexes; and the paths and headers that would get around it.

use serde_json::{Value, json};

use super::decision::{Case, allowed, denied, run_with};
use crate::harness::{Gateway, Listener, Request, Upstream, Version};

#[rustfmt::skip]
fn policy() -> Value {
    let key = |id: &str, more: Value| {
        let mut key = json!({"id": id, "api_key": format!("key-of-{id}-00000")});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    };
    json!({
        "scopes": {
            "search": [{"methods": ["GET", "POST"], "path": "/v1/indexes/{index}/search"}],
            "stats": [{"methods": ["GET"], "path": "/v1/stats"}, {"methods": ["GET"], "path": "/v1/indexes/{index}/stats"}],
            "documents": [{"methods": ["PUT", "DELETE"], "path": "/v1/indexes/{index}/documents/**"}],
            "health": [{"methods": ["*"], "path": "/health/*"}, {"methods": ["*"], "path": "/"}],
            "all": [{"methods": ["*"], "path": "/**"}],
            "encoded": [{"methods": ["GET"], "path": "/a%20b/"}],
        },
        "keys": [
            key("open", json!({})),
            key("search", json!({"scopes": ["search"]})),
            key("two", json!({"scopes": ["search", "stats"]})),
            key("documents", json!({"scopes": ["documents"], "indexes": ["products"]})),
            key("health", json!({"scopes": ["health"]})),
            key("all", json!({"scopes": ["all"]})),
            key("encoded", json!({"scopes": ["encoded"]})),
            key("nothing", json!({"scopes": []})),
            key("products", json!({"scopes": ["search", "stats"], "indexes": ["products", "articles-*"]})),
            key("every-index", json!({"scopes": ["search"], "indexes": ["*"]})),
            key("no-index", json!({"scopes": ["search"], "indexes": []})),
            key("unscoped", json!({"indexes": ["products"]})),
            key("site", json!({"scopes": ["search"], "allowed_origins": ["https://yourapp.com"]})),
        ],
        "anonymous": {"scopes": ["health", "search"], "indexes": ["public"]},
    })
}

fn with(key: &str, method: &str, path: impl AsRef<[u8]>) -> Request {
    Request::new(method, path).bearer(&format!("key-of-{key}-00000"))
}

fn run(policy: &Value, cases: &[Case]) {
    for workers in [1, 2] {
        run_with(workers, policy, cases);
    }
}

#[test]
#[rustfmt::skip]
fn methods_and_paths() {
    let missing_key = |name, request| denied(name, 401, "missing_api_key", request);
    let denied = |name, request| denied(name, 403, "scope_not_allowed", request);
    run(
        &policy(),
        &[
            allowed("no scopes: anything", with("open", "PATCH", "/any/thing")),
            allowed("method and path", with("search", "GET", "/v1/indexes/products/search")),
            allowed("HEAD where GET may", with("search", "HEAD", "/v1/indexes/products/search")),
            allowed("another of the methods", with("search", "POST", "/v1/indexes/products/search").body("{}")),
            allowed("any index", with("search", "GET", "/v1/indexes/a%20b/search")),
            allowed("a query", with("search", "GET", "/v1/indexes/products/search?q=a/b//..%2F;")),
            allowed("an empty query", with("search", "GET", "/v1/indexes/products/search?")),
            denied("another method", with("search", "DELETE", "/v1/indexes/products/search")),
            denied("OPTIONS that is no preflight", with("search", "OPTIONS", "/v1/indexes/products/search")),
            denied("another path", with("search", "GET", "/v1/indexes/products/settings")),
            denied("a path that begins so", with("search", "GET", "/v1/indexes/products/search/more")),
            denied("a beginning of it", with("search", "GET", "/v1/indexes/products")),
            denied("with a slash at the end", with("search", "GET", "/v1/indexes/products/search/")),
            denied("in upper case", with("search", "GET", "/v1/indexes/products/SEARCH")),
            denied("encoded though it need not be", with("search", "GET", "/v1/indexes/products/%73earch")),
            denied("in the query", with("search", "GET", "/v2?/v1/indexes/products/search")),
            allowed("one of two scopes", with("two", "POST", "/v1/indexes/products/search")),
            allowed("the other", with("two", "GET", "/v1/stats")),
            allowed("its second rule", with("two", "GET", "/v1/indexes/products/stats")),
            denied("methods of the one, path of the other", with("two", "POST", "/v1/stats")),
            allowed("the rest of the path", with("documents", "PUT", "/v1/indexes/products/documents/1/fields/2")),
            allowed("the rest is empty", with("documents", "PUT", "/v1/indexes/products/documents/")),
            denied("there is no rest", with("documents", "PUT", "/v1/indexes/products/documents")),
            allowed("any method", with("health", "PROPFIND", "/health/live")),
            allowed("the root", with("health", "GET", "/")),
            denied("* is one segment", with("health", "GET", "/health/live/now")),
            denied("and no empty one", with("health", "GET", "/health/")),
            allowed("** is all", with("all", "DELETE", "/a/b/c")),
            allowed("byte for byte", with("encoded", "GET", "/a%20b/")),
            denied("not what it decodes to", with("encoded", "GET", "/a+b/")),
            denied("no scope, nothing", with("nothing", "GET", "/")),
            allowed("anonymous", Request::get("/v1/indexes/public/search")),
            missing_key("anonymous elsewhere", Request::get("/v1/stats")),
        ],
    );
}

#[test]
#[rustfmt::skip]
fn indexes() {
    let search = |key: &str, index: &str| with(key, "GET", format!("/v1/indexes/{index}/search"));
    let not_allowed = |name, request| denied(name, 403, "index_not_allowed", request);
    run(
        &policy(),
        &[
            allowed("listed", search("products", "products")),
            allowed("by its beginning", search("products", "articles-2026")),
            allowed("the beginning alone", search("products", "articles-")),
            not_allowed("another", search("products", "users")),
            not_allowed("one that begins so", search("products", "products2")),
            not_allowed("a beginning of it", search("products", "product")),
            not_allowed("in upper case", search("products", "PRODUCTS")),
            not_allowed("less than the beginning", search("products", "articles")),
            not_allowed("with a percent sign", search("products", "articles-%61")),
            not_allowed("encoded", search("products", "p%72oducts")),
            not_allowed("a pattern", search("products", "*")),
            not_allowed("two in one", search("products", "products,users")),
            not_allowed("two in one, behind a beginning", search("products", "articles-1,users")),
            not_allowed("in the query", with("products", "GET", "/v1/indexes/users/search?index=products")),
            not_allowed("the rule names none", with("products", "GET", "/v1/stats")),
            allowed("another rule names one", with("products", "GET", "/v1/indexes/products/stats")),
            denied("scope comes before index", 403, "scope_not_allowed", with("products", "DELETE", "/v1/indexes/users/search")),
            allowed("every index", search("every-index", "users")),
            not_allowed("but none with a percent sign", search("every-index", "%75sers")),
            not_allowed("no index", search("no-index", "products")),
            not_allowed("no scopes say where it is", search("unscoped", "products")),
            allowed("within the rest of a path", with("documents", "DELETE", "/v1/indexes/products/documents/users")),
            not_allowed("not within the rest of a path", with("documents", "DELETE", "/v1/indexes/users/documents/products")),
            not_allowed("anonymous", search_anonymously("products")),
            allowed("anonymous, listed", search_anonymously("public")),
        ],
    );
}

fn search_anonymously(index: &str) -> Request {
    Request::get(format!("/v1/indexes/{index}/search"))
}

#[test]
#[rustfmt::skip]
fn ambiguous_paths() {
    let ambiguous = |name, path: &str| denied(name, 400, "ambiguous_path", with("all", "GET", path));
    let site = |path: &str| with("site", "GET", path);
    run(
        &policy(),
        &[
            ambiguous("two slashes", "//"),
            ambiguous("two slashes at the start", "//admin"),
            ambiguous("within", "/a//b"),
            ambiguous("at the end", "/a//"),
            ambiguous("a dot", "/./a"),
            ambiguous("a dot at the end", "/a/."),
            ambiguous("two dots", "/a/../b"),
            ambiguous("two dots at the end", "/a/.."),
            ambiguous("an encoded slash", "/a%2Fb"),
            ambiguous("in lower case", "/a%2fb"),
            ambiguous("encoded twice", "/a%252Fb"),
            ambiguous("an encoded backslash", "/a%5Cb"),
            ambiguous("an encoded dot", "/a%2Eb"),
            ambiguous("encoded dots", "/%2e%2e/a"),
            ambiguous("an encoded NUL", "/a%00b"),
            ambiguous("a backslash", "/a\\b"),
            ambiguous("a semicolon", "/a;b=c"),
            ambiguous("dots with a parameter", "/..;a=b/admin"),
            ambiguous("before the query", "/a//b?c"),
            ambiguous("an encoded semicolon behind dots", "/..%3B/admin"),
            ambiguous("an encoded semicolon", "/a%3bb"),
            ambiguous("encoded twice, a semicolon", "/a%253Bb"),
            ambiguous("dots in overlong UTF-8", "/%c0%ae%c0%ae/admin"),
            ambiguous("a surrogate", "/%ED%A0%80"),
            ambiguous("UTF-8 cut off", "/caf%C3"),
            ambiguous("Latin-1", "/caf%E9"),
            ambiguous("not UTF-8 when decoded twice", "/caf%25E9"),
            ambiguous("%u", "/%u002e%u002e/admin"),
            ambiguous("%U, encoded twice", "/%25U002E/admin"),
            ambiguous("an encoded line break", "/a%0d%0aX-Key-Id:%20admin"),
            ambiguous("dots and an encoded tab", "/..%09/admin"),
            ambiguous("dots and an encoded space", "/..%20/admin"),
            ambiguous("dots and a no-break space", "/..%C2%A0/admin"),
            ambiguous("a dot and an encoded space at the end", "/a/.%20"),
            ambiguous("an encoded DEL", "/a%7F"),
            ambiguous("an encoded control character of C1", "/a%C2%85"),
            ambiguous("an encoded question mark", "/admin%3Fa"),
            ambiguous("encoded twice, a question mark", "/admin%253fa"),
            ambiguous("an encoded number sign", "/admin%23a"),
            allowed("UTF-8", with("all", "GET", "/caf%C3%A9/%E2%82%AC")),
            allowed("UTF-8, encoded twice", with("all", "GET", "/caf%25C3%25A9")),
            allowed("a percent sign and a space", with("all", "GET", "/100%25%20off")),
            allowed("a percent sign and a u", with("all", "GET", "/100%25up")),
            allowed("spaces elsewhere", with("all", "GET", "/a%20b/...%20/c")),
            allowed("no scopes, escapes of any kind", with("open", "GET", "/..%3B/%c0%ae%c0%ae/%0d%0a")),
            allowed("in the query", with("all", "GET", "/a?b=//../%2F;\\")),
            allowed("three dots", with("all", "GET", "/a/.../b")),
            allowed("a dot in a name", with("all", "GET", "/a.b/.c")),
            allowed("an encoded percent sign", with("all", "GET", "/a%25b")),
            allowed("no scopes, no doubt", with("open", "GET", "//a/..;/%2F")),
            denied("origin comes before path", 403, "origin_not_allowed", site("//")),
            denied("path comes before scope", 400, "ambiguous_path", site("//").header("Origin", "https://yourapp.com")),
            denied("no rules at all", 400, "ambiguous_path", with("nothing", "GET", "//")),
            denied("anonymous", 401, "missing_api_key", Request::get("/health//live")),
        ],
    );
}

/// Bytes that few clients would send. Envoy refuses most of them itself.
#[test]
fn bytes_that_are_no_path() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy()))
        .start();
    let odd = (0..=b' ').chain(0x7f..=0xff).chain(*b"#").map(|byte| vec![byte]);
    for odd in odd.chain(["é".into(), "\u{2215}".into()]) {
        let request = with("all", "GET", [b"/a", odd.as_slice(), b"b"].concat());
        for version in Version::BOTH {
            if odd == b"#" && version == Version::Http2 {
                // This client keeps a fragment to itself.
                continue;
            }
            if let Ok(response) = request.send(version, gateway.address("main")) {
                assert_eq!(response.status / 100, 4, "{odd:x?} ({version:?}): {response:?}");
            }
            assert_eq!(upstream.take().len(), 0, "{odd:x?} ({version:?}) at the upstream");
        }
    }
}

#[test]
#[rustfmt::skip]
fn headers_that_stand_for_another_method() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy()))
        .start();
    // The key, and whether its scopes tell methods apart.
    let keys = [
        (with("search", "POST", "/v1/indexes/a/search"), true),
        (with("two", "POST", "/v1/indexes/a/search"), true),
        (Request::new("POST", "/v1/indexes/public/search"), true),
        (with("health", "POST", "/health/live"), false),
        (with("all", "POST", "/a"), false),
        (with("open", "POST", "/a"), false),
    ];
    let names = [
        "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override",
        "x_http_method_override", "X_HTTP-Method", "x-method_override",
        "X.HTTP.Method.Override", "X+HTTP!Method", "x~method~override",
    ];
    for version in Version::BOTH {
        for (request, scoped) in &keys {
            for name in names {
                let request = request.clone().header(name, "DELETE").header(name, "PUT").header("X-Other", "kept");
                let response = gateway.send_over(version, "main", &request);
                assert_eq!(response.status, 200, "{request:?}: {response:?}");
                let received = upstream.take_one();
                assert_eq!(received.all(name).is_empty(), *scoped, "{name} ({version:?}): {received:?}");
                assert_eq!(received.all("x-other"), ["kept"]);
            }
        }
    }
}
