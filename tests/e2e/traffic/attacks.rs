//! What else a client may send.

use fastrand::Rng;

use super::cast::{OFFICE_KEY, SEARCH_KEY, SECRET_KEY, SITE, SITE_KEY};
use crate::harness::Request;
use crate::harness::witness::numbered;

/// One hostile act.
pub enum Attack {
    /// One request, framed as it should be. It has one answer, or the connection ends.
    Request(Request, Hope),
    /// Bytes on a connection of their own: these requests, or what one may take for them. Those without key or origin have no hope.
    Bytes(Vec<u8>, Vec<Request>),
    /// Bytes, and the connection is closed at once.
    Leave(Vec<u8>),
}

/// What an attacker may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hope {
    /// Whatever is in keeping with the properties.
    Anything,
    /// Nothing: no request of this kind may come to the upstream.
    Nothing,
    /// Nothing from elsewhere.
    OnlyFromTheOffice,
}

/// The headers that the filter or Envoy reads, and some that nobody does.
const HEADERS: [&str; 26] = [
    "Authorization",
    "X-API-Key",
    "Origin",
    "X-Key-Id",
    "X_Key_Id",
    "X-Request-Id",
    "Cookie",
    "Sec-Fetch-Site",
    "Sec-Fetch-Site",
    "Access-Control-Request-Method",
    "Access-Control-Request-Headers",
    "Access-Control-Request-Private-Network",
    "Referer",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "Forwarded",
    "X-Envoy-External-Address",
    "X-Envoy-Original-Path",
    "X-HTTP-Method-Override",
    "X-Original-URL",
    "User-Agent",
    "Accept",
    "Vary",
    "Range",
    "X-Nobody-Reads",
];

/// An attack whose requests are numbered by `number`, which says none where there are to be no more.
pub fn attack(random: &mut Rng, number: &mut dyn FnMut() -> Option<u64>) -> Option<Attack> {
    let first = number()?;
    let one = |(request, hope)| Attack::Request(numbered(request, first), hope);
    Some(match random.u32(0..100) {
        0..10 => one(odd_bytes_in_one_header(random)),
        10..15 => one((high_bytes_in_every_header(random), Hope::Nothing)),
        15..22 => one((repeated_header(random), Hope::Anything)),
        22..26 => one((long_value(random), Hope::Anything)),
        26..34 => one((odd_names(random), Hope::Anything)),
        34..46 => one((absurd_path(random), Hope::Anything)),
        46..50 => one((absurd_method(random), Hope::Anything)),
        50..56 => one((absurd_preflight(random), Hope::Nothing)),
        56..66 => one((forged_origin(random), Hope::Nothing)),
        66..74 => one((forged_key(random), Hope::Nothing)),
        74..80 => one((forged_address(random), Hope::OnlyFromTheOffice)),
        80..83 => no_http(random, first),
        83..88 => pipelined(random, first, number),
        88..92 => upgrade(random, first),
        92..95 => ambiguous_body(random, first, number)?,
        _ => early_close(random, first),
    })
}

fn good() -> Request {
    Request::get("/v1").bearer(SITE_KEY).header("Origin", SITE)
}

fn pick<'t, T: ?Sized>(random: &mut Rng, choices: &[&'t T]) -> &'t T {
    choices[random.usize(..choices.len())]
}

fn bytes(random: &mut Rng, range: std::ops::RangeInclusive<u8>, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.u8(range.clone())).collect()
}

/// In a header that decides, or in another.
fn odd_bytes_in_one_header(random: &mut Rng) -> (Request, Hope) {
    let mut request = good();
    // NUL, too, which Envoy refuses. With a line break it would be another request.
    let odd = if random.bool() {
        random.u8(0x80..)
    } else {
        random.u8(..)
    };
    let odd = if b"\r\n".contains(&odd) { 0 } else { odd };
    if random.bool() {
        let (_, value) = &mut request.headers[random.usize(..2)];
        value.insert(random.usize(..=value.len()), odd);
        // A space or tab before or after a value is no part of it, a blank more before the key no part of that, and Envoy takes a bare
        // CR out; a letter more before the site's domain makes it another, and one before the scheme's end another scheme.
        return (request, Hope::Anything);
    }
    let (_, value) = &mut request.headers[random.usize(..2)];
    value.insert(random.usize(8..value.len()), random.u8(0x80..));
    (
        request.header(pick(random, &HEADERS[3..]), [b"a", [odd].as_slice(), b"b"].concat()),
        Hope::Nothing,
    )
}

fn high_bytes_in_every_header(random: &mut Rng) -> Request {
    HEADERS.iter().fold(Request::get("/"), |request, name| {
        let length = random.usize(1..40);
        request.header(name, bytes(random, 0x80..=0xff, length))
    })
}

fn repeated_header(random: &mut Rng) -> Request {
    let name = pick(random, &HEADERS);
    let value = pick(
        random,
        &[
            SITE,
            SITE_KEY,
            "Bearer site-key-000000000",
            "",
            "a, b",
            "PUT",
            "127.0.0.1",
            "\u{e9}",
        ],
    );
    (0..random.usize(2..=100)).fold(good(), |request, _| request.header(name, value))
}

fn long_value(random: &mut Rng) -> Request {
    let length = random.usize(50_000..=62_000);
    let value = match random.u32(0..4) {
        0 => bytes(random, 0x80..=0xff, length),
        1 => ",".repeat(length).into_bytes(),
        2 => "1.1.1.1, ".repeat(length / 9).into_bytes(),
        _ => "https://yourapp.com ".repeat(length / 20).into_bytes(),
    };
    good().header(pick(random, &HEADERS), value)
}

/// Names that an upstream may read as another.
fn odd_names(random: &mut Rng) -> Request {
    let names = [
        "x_key_id",
        "X-KEY_ID",
        "x.key.id",
        "X.Key-Id",
        "x-key-id.",
        "_x-key-id",
        "authorization_",
        "author.ization",
        "x_api_key",
        "x.api.key",
        "or_igin",
        "origin.",
        "access_control_request_method",
        "sec_fetch_mode",
        "x_http_method_override",
        "x-http.method-override",
        "!#$%&'*+^`|~",
    ];
    let value = pick(random, &["secret", SITE, SITE_KEY, "GET", "\u{e9}\u{80}"]);
    (0..random.usize(1..8)).fold(good(), |request, _| request.header(pick(random, &names), value))
}

fn absurd_path(random: &mut Rng) -> Request {
    let parts: [&[u8]; 26] = [
        b"/",
        b"//",
        b"..",
        b".",
        b"/../",
        b";",
        b"%2f",
        b"%2F..",
        b"%5c",
        b"%00",
        b"%",
        b"%f",
        b"\\",
        b"?",
        b"&",
        b"=",
        b"#",
        b"*",
        b"\xff",
        b"/v1/indexes/products/search",
        b"/v1/indexes/",
        b"search",
        b"?api_key=",
        b"&api%5fkey=site-key-000000000",
        b"api_key",
        b"{index}",
    ];
    let mut path = pick(
        random,
        &[
            b"/".as_slice(),
            b"/v1/",
            b"",
            b"*",
            b"http://evil.example/",
            b"//evil.example",
        ],
    )
    .to_vec();
    for _ in 0..random.usize(1..12) {
        path.extend_from_slice(pick(random, &parts));
    }
    if random.u32(0..20) == 0 {
        path.extend_from_slice(&pick(random, &[b"/a".as_slice(), b"&api_key", b"%2e", b"a"]).repeat(5_000));
    }
    let request = Request::get(path).bearer(pick(random, &[SITE_KEY, SEARCH_KEY]));
    if random.bool() {
        request.header("Origin", SITE)
    } else {
        request
    }
}

fn absurd_method(random: &mut Rng) -> Request {
    let long = "A".repeat(5_000);
    let methods = [
        "get", "GeT", "TRACE", "CONNECT", "PRI", "PROPFIND", "M-SEARCH", "!", "OPTIONS", "options", "HEAD", &long,
    ];
    let mut request = good();
    request.method = pick(random, &methods).to_owned();
    request.header("X-HTTP-Method-Override", "OPTIONS")
}

fn absurd_preflight(random: &mut Rng) -> Request {
    let origins: [&[u8]; 6] = [
        b"",
        b"https://\xff.yourapp.com",
        SITE.as_bytes(),
        b"null",
        b"https://evil.example, https://yourapp.com",
        b"\t",
    ];
    let asked: [&[u8]; 5] = [b"", b"PUT", b"\xff\xfe", b"\"';", b"OPTIONS"];
    let mut request = Request::new(
        "OPTIONS",
        pick(
            random,
            &[
                "/",
                "/../a",
                "*",
                "/?api_key=site-key-000000000&api_key=",
                "/?api_key=%ff",
            ],
        ),
    )
    .bearer(SITE_KEY)
    .header("Origin", pick(random, &origins))
    .header("Access-Control-Request-Method", pick(random, &asked));
    for _ in 0..random.usize(..3) {
        request = request.header("Access-Control-Request-Headers", "x,".repeat(random.usize(..5_000)));
    }
    request
}

/// The key is the site's, and the origin is not.
fn forged_origin(random: &mut Rng) -> Request {
    let origins: [&[u8]; 31] = [
        b"https://evil-yourapp.com",
        b"https://evilyourapp.com",
        b"https://yourapp.com.evil.example",
        b"https://yourapp.com@evil.example",
        b"https://evil.example@a.yourapp.com",
        b"https://evil.example/.yourapp.com",
        b"https://evil.example#.yourapp.com",
        b"https://evil.example?.yourapp.com",
        b"https://evil.example\\.yourapp.com",
        b"https://yourapp.com/",
        b"https://yourapp.com.",
        b"https://.yourapp.com",
        b"https://a..yourapp.com",
        b"https://YOURAPP.com",
        b"https://yourapp.com:443",
        b"http://yourapp.com",
        b"https://*.yourapp.com",
        b"https://evil.example, https://yourapp.com",
        b"https://evil.example,https://a.yourapp.com",
        b"null",
        b"",
        b"https://\xff.yourapp.com",
        b"https://app--team.preview.example",
        b"https://app-a.b-team.preview.example",
        b"https://app-a@-team.preview.example",
        b"https://app-%60-team.preview.example",
        b"https://app-a-team.preview.example.evil.example",
        b"https://evilapp-a-team.preview.example",
        b"https://app-a:1-team.preview.example:2",
        b"http://localhost:65536",
        b"http://localhost:80.evil.example",
    ];
    let request = Request::get("/v1").bearer(SITE_KEY);
    match random.u32(0..6) {
        0 => request.header("Origin", SITE).header("Origin", SITE),
        1 => request.header("Origin", "https://evil.example").header("Origin", SITE),
        2 => request.header("Origin", format!("https://{}.yourapp.com", "a.".repeat(300))),
        _ => request.header("Origin", pick(random, &origins)),
    }
}

fn forged_key(random: &mut Rng) -> Request {
    let at_site = |request: Request| request.header("Origin", SITE);
    match random.u32(0..9) {
        0 => at_site(Request::get("/").bearer(SITE_KEY).bearer(SITE_KEY)),
        1 => at_site(Request::get("/").bearer(SITE_KEY).header("X-API-Key", "")),
        2 => at_site(Request::get("/?api_key=").bearer(SITE_KEY)),
        3 => at_site(Request::get(format!("/?api_key={SITE_KEY}&%61pi_key={SITE_KEY}"))),
        4 => at_site(
            Request::get("/")
                .header("Cookie", format!("api_key={SITE_KEY}"))
                .header("Authorization", "Basic Og=="),
        ),
        5 => at_site(Request::get("/").bearer(&"k".repeat(random.usize(500..50_000)))),
        6 => at_site(Request::get("/").bearer(SECRET_KEY)),
        7 => at_site(Request::get("/").header("X-API-Key", format!("{SITE_KEY},{SITE_KEY}"))),
        _ => {
            let length = random.usize(1..64);
            at_site(Request::get("/").header(
                "Authorization",
                [b"Bearer ".as_slice(), &bytes(random, 0x80..=0xff, length)].concat(),
            ))
        }
    }
}

fn forged_address(random: &mut Rng) -> Request {
    let values = [
        "127.0.0.1",
        "127.0.0.1:80",
        "::ffff:127.0.0.1",
        "0x7f.1",
        "127.0.0.1, 127.0.0.1",
        "127.0.0.1%lo",
        "[::1]",
        "unknown",
        ",,,",
    ];
    let headers = [
        "X-Forwarded-For",
        "X-Real-IP",
        "Forwarded",
        "X-Envoy-External-Address",
        "True-Client-IP",
        "X-Client-IP",
    ];
    let request = Request::get("/").bearer(OFFICE_KEY).header("Origin", SITE);
    (0..random.usize(1..4)).fold(request, |request, _| {
        request.header(pick(random, &headers), pick(random, &values))
    })
}

/// What ends a connection at once.
fn no_http(random: &mut Rng, number: u64) -> Attack {
    let starts: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\x00/ HTTP/1.1\r\n",
        b"GET / HTTP/9.9\r\n",
        b"GET / HTTP/1.0\r\n",
        b"GET nowhere HTTP/1.1\r\n",
        b"\xff\xfe\r\n",
        b"GET / HTTP/1.1\r\nHo\x00st: a\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x00\r\n",
        b"GET / HTTP/1.1\r\n X: folded\r\nHost: a\r\n",
    ];
    let mut sent = pick(random, &starts).to_vec();
    sent.extend_from_slice(
        format!("Authorization: Bearer {SITE_KEY}\r\nX-Number: {number}\r\nConnection: close\r\n\r\n").as_bytes(),
    );
    Attack::Bytes(sent, vec![numbered(Request::get("/"), number)])
}

fn pipelined(random: &mut Rng, first: u64, number: &mut dyn FnMut() -> Option<u64>) -> Attack {
    let more = (1..random.usize(2..7)).map_while(|_| number());
    let mut requests: Vec<_> = std::iter::once(first)
        .chain(more)
        .map(|number| numbered(good(), number))
        .collect();
    for request in &mut requests {
        if random.bool() {
            request.headers.retain(|(name, _)| name != b"Origin");
        }
    }
    Attack::Bytes(requests.iter().flat_map(Request::to_bytes).collect(), requests)
}

fn upgrade(random: &mut Rng, number: u64) -> Attack {
    let protocol = pick(random, &["websocket", "h2c", "TLS/1.0", "\u{e9}", "websocket, h2c", ""]);
    let connection = pick(
        random,
        &[
            "Upgrade",
            "Upgrade, HTTP2-Settings",
            "upgrade, X-Key-Id",
            "Upgrade, Origin, Authorization",
            "close, Upgrade",
        ],
    );
    let request = numbered(good(), number)
        .header("Connection", connection)
        .header("Upgrade", protocol)
        .header("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13");
    let mut sent = request.to_bytes();
    sent.extend_from_slice(b"\x81\x05hello");
    Attack::Bytes(sent, vec![request])
}

/// Bodies that one reads as longer than another does, with a request within, which has no key.
fn ambiguous_body(random: &mut Rng, first: u64, number: &mut dyn FnMut() -> Option<u64>) -> Option<Attack> {
    let within = numbered(Request::get("/within").header("Connection", "close"), number()?);
    let framings = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 0",
        "Content-Length: -1",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "Content_Length: 500",
        "Content-Length: 0x0",
    ];
    let outer = numbered(
        Request::new("POST", "/outer").bearer(SITE_KEY).header("Origin", SITE),
        first,
    );
    let mut sent = outer.to_bytes();
    sent.truncate(sent.len() - 2);
    sent.extend_from_slice(format!("{}\r\n\r\n", pick(random, &framings)).as_bytes());
    if random.bool() {
        sent.extend_from_slice(b"0\r\n\r\n");
    }
    sent.extend_from_slice(&within.to_bytes());
    Some(Attack::Bytes(sent, vec![outer, within]))
}

fn early_close(random: &mut Rng, number: u64) -> Attack {
    let mut sent = numbered(good(), number).to_bytes();
    match random.u32(0..3) {
        0 => sent.truncate(random.usize(..sent.len())),
        1 => {
            sent = numbered(
                Request::new("POST", "/")
                    .bearer(SITE_KEY)
                    .header("Origin", SITE)
                    .body("x".repeat(50_000)),
                number,
            )
            .to_bytes();
            sent.truncate(random.usize(300..sent.len()));
        }
        // Whole, and nobody waits for the answer.
        _ => {}
    }
    Attack::Leave(sent)
}
