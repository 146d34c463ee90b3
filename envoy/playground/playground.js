"use strict";

// The page has two roles. At the top it is what a person sees. In a frame, which lives at the origin that was chosen, it is
// the sender: it makes the requests that the top asks for and reports what it was allowed to read.

const MADE_UP_KEY = "made-up-by-the-playground";
const TIMEOUT_MS = 10_000;
const FRAME_TIMEOUT_MS = 5_000;
const BODY_SHOWN = 20_000;
const FRESH_TOKENS = "The tokens of this demo end a week after they were made, when the gateway was started. Start it again with `make run`, then reload this page.";

// ---------------------------------------------------------------- requests

const SAFELISTED_METHODS = ["GET", "HEAD", "POST"];
const SAFELISTED_TYPES = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
const UNSAFE_BYTES = /[\x00-\x08\x0a-\x1f"():<>?@[\\\]{}\x7f]/;

/** Fetch, "CORS-safelisted request-header". */
function isSafelisted(name, value) {
  if (value.length > 128) return false;
  switch (name) {
    case "accept":
      return !UNSAFE_BYTES.test(value);
    case "accept-language":
    case "content-language":
      return /^[0-9A-Za-z *,\-.;=]*$/.test(value);
    case "content-type":
      return !UNSAFE_BYTES.test(value) && SAFELISTED_TYPES.includes(value.split(";")[0].trim().toLowerCase());
    case "range":
      return /^bytes=\d+-\d*$/.test(value);
    default:
      return false;
  }
}

function withKey(request, value) {
  return { ...request, key: { ...request.key, value } };
}

/** What `fetch` is called with. The browser drops the headers that a page may not set. */
function toFetch(request) {
  const url = new URL(request.path, request.gateway);
  const headers = new Headers();
  for (const [name, value] of request.headers) headers.append(name, value);
  if (request.key.value) {
    if (request.key.place === "query") url.searchParams.append("api_key", request.key.value);
    else if (request.key.place === "x-api-key") headers.append("X-API-Key", request.key.value);
    else headers.append("Authorization", `Bearer ${request.key.value}`);
  }
  const body = ["GET", "HEAD"].includes(request.method) ? undefined : request.body;
  return new Request(url, { method: request.method, headers, body, credentials: request.credentials, cache: "no-store" });
}

/** The preflight that the browser sends before this request, by the Fetch standard; null where it sends none. */
function preflightOf(request) {
  const sent = toFetch(request);
  if (new URL(sent.url).origin === request.origin) return null;
  const headers = [...sent.headers].filter(([name, value]) => !isSafelisted(name, value)).map(([name]) => name);
  const method = SAFELISTED_METHODS.includes(sent.method) ? null : sent.method;
  return headers.length || method ? { url: sent.url, method: sent.method, unsafeMethod: method, headers: headers.sort() } : null;
}

/** The headers that were asked for and that the browser does not let a page set, such as `Cookie`. */
function droppedHeaders(request) {
  const kept = toFetch(request).headers;
  return request.headers.map(([name]) => name).filter((name) => !kept.has(name));
}

// ---------------------------------------------------------------- the sender

async function attempt(request, options = {}) {
  const init = { signal: AbortSignal.timeout(TIMEOUT_MS), ...options };
  let response;
  try {
    response = await fetch(toFetch(request), init);
  } catch (error) {
    return { outcome: error.name === "TimeoutError" ? "timeout" : "withheld", message: error.message };
  }
  if (response.type === "opaque") return { outcome: "opaque" };
  if (response.type === "opaqueredirect") return { outcome: "redirect" };
  const body = await response.text().catch(() => "");
  return {
    outcome: "readable",
    status: response.status,
    statusText: response.statusText,
    headers: [...response.headers],
    body: body.slice(0, BODY_SHOWN),
    cut: body.length > BODY_SHOWN,
  };
}

/**
 * Requests that differ from the one that failed by one thing each. All but the last carry a made-up key or none, so that the
 * gateway refuses them by itself and they count for no rate limit. The query keeps remembered preflights from answering.
 */
function probesFor(request) {
  const fresh = new URL(request.path, request.gateway);
  fresh.searchParams.append("playground", crypto.getRandomValues(new Uint32Array(1))[0]);
  const bare = { ...request, path: fresh.href, method: "GET", headers: [], credentials: "omit", body: undefined };
  const noKey = withKey(bare, "");
  const made = withKey(bare, MADE_UP_KEY);
  const base = request.key.value ? made : noKey;
  const place = { bearer: "in Authorization", "x-api-key": "in X-API-Key", query: "in the query" }[request.key.place];

  const probes = [
    { id: "reach", says: "GET that asks to read nothing (no-cors)", request: noKey, options: { mode: "no-cors" } },
    { id: "simple", says: "GET without a key, which needs no preflight", request: noKey },
    { id: "key", says: `GET with a made-up key ${place}`, request: made },
  ];
  if (!SAFELISTED_METHODS.includes(request.method)) {
    probes.push({ id: "method", says: `${request.method} with a made-up key`, request: { ...made, method: request.method } });
  }
  for (const [name, value] of request.headers) {
    if (isSafelisted(name.toLowerCase(), value) || droppedHeaders(request).includes(name)) continue;
    probes.push({ id: "header", name, says: `GET with the header ${name}`, request: { ...base, headers: [[name, value]] } });
  }
  if (request.credentials === "include") {
    probes.push({ id: "credentials", says: "GET with credentials", request: { ...base, credentials: "include" } });
  }
  if (request.key.value) {
    const same = { ...withKey(request, MADE_UP_KEY), path: fresh.href, body: undefined };
    probes.push({ id: "same", says: "The same request with a made-up key", request: same });
    if (["GET", "HEAD"].includes(request.method)) {
      probes.push({ id: "redirect", says: "The same request, not following redirects", request, options: { redirect: "manual" } });
    }
  }
  return probes;
}

async function experiment(request) {
  const result = await attempt(request);
  if (result.outcome !== "withheld") return { result };
  const evidence = await Promise.all(
    probesFor(request).map(async ({ id, name, says, request, options }) => {
      const { outcome, status } = await attempt(request, options);
      return { id, name, says, outcome, status };
    }),
  );
  return { result, evidence, findings: conclude(request, evidence) };
}

// ---------------------------------------------------------------- the diagnosis

/** What follows from the probes. `sure` is false where another reason would look the same from a page. */
function conclude(request, evidence) {
  const seen = (id) => evidence.find((probe) => probe.id === id);
  const passes = (id) => seen(id)?.outcome === "readable";
  const fails = (id) => seen(id)?.outcome === "withheld";
  const keyed = Boolean(request.key.value);
  const needsPreflight = preflightOf(request) !== null;
  const origin = request.origin;
  const gateway = new URL(request.gateway).origin;

  const notSent = "The browser asked the gateway first, with the preflight, and was not given leave. The request itself never left the browser.";
  const sent = "The request did reach the gateway; a browser holds back the answer, not the request.";

  if (evidence.some((probe) => probe.outcome === "timeout")) {
    return [{
      code: "unknown",
      title: "The gateway answers too late to find out why",
      why: `Some of the requests that were to be compared got no answer within ${TIMEOUT_MS / 1000} seconds.`,
      mend: "Send again, once the gateway answers at its usual speed.",
      sure: false,
    }];
  }
  if (!passes("simple") && !passes("key")) {
    if (seen("reach").outcome !== "opaque") {
      return [{
        code: "no answer",
        title: `No answer from ${gateway}`,
        why: "Not even a request that asks to read nothing came through. Either nothing listens there, the name does not resolve, the certificate is not trusted, an https page asked an http address, or the answer carries `Cross-Origin-Resource-Policy`.",
        mend: `Open ${gateway} in a tab of its own: the browser then says which it is.`,
        sure: false,
      }];
    }
    return [{
      code: "origin_not_allowed",
      title: "This origin is not in the list",
      why: `The gateway is there, but none of its answers names \`${origin}\` in \`Access-Control-Allow-Origin\`. So it is in no key’s \`allowed_origins\`${origin === "null" ? ", and a sandboxed frame or a file has no origin of its own to be listed by" : ""}. ${needsPreflight ? notSent : sent}`,
      mend: origin === "null"
        ? "Serve the page from an origin of its own (for a frame, `sandbox=\"allow-same-origin\"`), and list that one."
        : `Add \`"${origin}"\` to the key’s \`allowed_origins\`, exactly so: scheme, host and port are compared, and a wildcard covers subdomains, not the domain itself.`,
      sure: true,
    }];
  }

  if (keyed && !passes("key")) {
    return [{
      code: "preflight",
      title: "The gateway does not answer the preflight",
      why: `Without a preflight the answer can be read, so the origin is allowed; with one it cannot. Either the header that carries the key is not among the gateway’s allowed headers, or it answers OPTIONS with a status that is not 2xx. A page is not told which. ${notSent}`,
      mend: "Look for the preflight in the browser’s console: it names the header or the status. keyfence lists the headers of its `key_sources` by itself, so check that this header is one of them, and that nothing before keyfence asks `OPTIONS` for a key.",
      sure: false,
    }];
  }
  if (!keyed && !passes("simple")) {
    return [{
      code: "origin_not_allowed",
      title: "This origin is not in the list for requests without a key",
      why: `A request with a key gets a readable answer from \`${origin}\`, one without does not: the gateway’s policy has an \`anonymous\` part, and its \`allowed_origins\` do not name this origin. ${needsPreflight ? "The preflight was answered, so the request did reach the gateway." : sent}`,
      mend: `Send a key, or add \`"${origin}"\` to \`anonymous.allowed_origins\`.`,
      sure: true,
    }];
  }

  const findings = [];
  if (fails("method") && passes("key")) {
    findings.push({
      code: "missing method",
      title: `The method ${request.method} is not in the list`,
      why: `From \`${origin}\` a \`GET\` passes and a \`${request.method}\` does not, all else equal. The preflight’s \`Access-Control-Allow-Methods\` does not name it. ${notSent}`,
      mend: `Add \`"${request.method}"\` to \`cors.allow_methods\`, or use a method that is there.`,
      sure: true,
    });
  }
  const missing = evidence.filter((probe) => probe.id === "header" && probe.outcome === "withheld").map((probe) => probe.name);
  if (missing.length) {
    const several = missing.length > 1;
    findings.push({
      code: "missing header",
      title: `The header${several ? "s" : ""} ${missing.join(", ")} ${several ? "are" : "is"} not in the list`,
      why: `From \`${origin}\` a \`GET\` passes without ${several ? "them" : "it"} and not with ${several ? "any one of them" : "it"}. The preflight’s \`Access-Control-Allow-Headers\` does not name ${several ? "them" : "it"}. ${notSent}`,
      mend: `Add \`${missing.map((name) => `"${name}"`).join(", ")}\` to \`cors.allow_headers\`, or send the request without.`,
      sure: true,
    });
  }
  if (fails("credentials")) {
    findings.push({
      code: "credentials",
      title: "Credentials are not allowed from this origin",
      why: `Without credentials the answer can be read from \`${origin}\`, with them it cannot: it lacks \`Access-Control-Allow-Credentials: true\`, or names every origin with a \`*\`, which does not count when credentials are sent. ${needsPreflight ? notSent : sent}`,
      mend: `Send the request with credentials \`omit\`: the key needs none. Or set \`cors.allow_credentials\` to \`true\` and list \`"${origin}"\` itself: an origin that only \`*\` or \`null\` matches gets no credentials.`,
      sure: true,
    });
  }
  if (findings.length) return findings;

  if (seen("redirect")?.outcome === "redirect") {
    return [{
      code: "redirect",
      title: "The answer is a redirect to where this origin may not read",
      why: "Asked not to follow redirects, the gateway’s answer comes through. Where it leads to does not allow this origin.",
      mend: "Ask the address that it leads to, or have the upstream not redirect.",
      sure: true,
    }];
  }
  if (keyed && passes("same")) {
    const writes = !["GET", "HEAD"].includes(request.method);
    return [{
      code: "origin_not_allowed",
      title: "This key is not for this origin",
      why: `The same request with a made-up key gets an answer that can be read, so method, headers and credentials are allowed, and \`${origin}\` is in some key’s list. But not in this one’s: keyfence refuses it with 403 \`origin_not_allowed\` (or, for a secret key, 403 \`secret_key_in_browser\`), and lets no page read that which is not in the key’s own list. ${needsPreflight && request.key.place === "query" ? notSent : sent}${writes ? " (A redirect to elsewhere would look the same; it was not tried again, since it may write.)" : ""}`,
      mend: `Use the key that was issued for this site, or add \`"${origin}"\` to this key’s \`allowed_origins\`. A secret or server key has no list and does not work from any page.`,
      sure: !writes,
    }];
  }
  return [{
    code: "unknown",
    title: "The browser withheld the answer, and a page cannot find out why",
    why: `Each part of the request passes by itself from ${origin}; together they do not.`,
    mend: "The browser’s console says it: open the developer tools and send again.",
    sure: false,
  }];
}

// ---------------------------------------------------------------- the frame's side

/** The demo's own pages only: a frame that obeyed any page would lend it an origin that is in the list. */
function isDemoPage(origin) {
  const host = URL.canParse(origin) ? new URL(origin).hostname : "";
  return host === "127.0.0.1" || host === "localhost" || host.endsWith(".localhost");
}

function serveAsSender() {
  addEventListener("message", async ({ data, origin, ports: [port] }) => {
    if (!port || !isDemoPage(origin)) return;
    port.postMessage({ origin: self.origin });
    try {
      port.postMessage({ answer: await experiment({ ...data, origin: self.origin }) });
    } catch (error) {
      port.postMessage({ error: error.message });
    }
  });
}

const frames = new Map();

function frameAt(origin) {
  if (!frames.has(origin)) {
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.title = `sender at ${origin}`;
    if (origin === "null") frame.sandbox = "allow-scripts";
    frame.src = origin === "null" ? "/" : `${origin}/`;
    const loaded = new Promise((resolve) => frame.addEventListener("load", () => resolve(frame), { once: true }));
    document.body.append(frame);
    frames.set(origin, loaded);
  }
  return frames.get(origin);
}

/** Has the frame at the request's origin send it. Rejects with a sentence for a person. */
async function sendFrom(request) {
  const frame = await frameAt(request.origin);
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve, reject) => {
    const absent = setTimeout(() => {
      frame.remove();
      frames.delete(request.origin);
      reject(new Error(`This browser did not open a page at ${request.origin}. It may not resolve names under localhost; Chromium and Firefox do.`));
    }, FRAME_TIMEOUT_MS);
    port1.onmessage = ({ data }) => {
      clearTimeout(absent);
      if (data.error) reject(new Error(data.error));
      if (data.answer) resolve(data.answer);
    };
    frame.contentWindow.postMessage(request, request.origin === "null" ? "*" : request.origin, [port2]);
  });
}

// ---------------------------------------------------------------- who has signed in

/** What a scoped token says, its header and its claims; null where `value` is not a token. Only the gateway can tell whether it is true. */
function readToken(value) {
  const parts = value.split(".");
  if (parts.length !== 3) return null;
  try {
    const [header, claims] = parts.slice(0, 2).map((part) => {
      const bytes = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
      return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))));
    });
    return header && claims && { header, claims };
  } catch {
    return null;
  }
}

/** The user's token, from what stands for the backend here. A page that signs in for real sends a password or a cookie, too. */
async function signIn(user) {
  const response = await fetch(`/sign-in/${user}`, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(() => null);
  const token = response?.ok ? (await response.text()).trim() : "";
  if (!readToken(token)) throw new Error(`No token for ${user} came from ${location.origin}/sign-in/${user}. Is the demo’s Envoy running?`);
  return token;
}

const isPast = (seconds) => seconds * 1000 <= Date.now();
const dateOf = (seconds) => new Date(seconds * 1000).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });

// ---------------------------------------------------------------- what a person sees

const CLAIMS = {
  alg: "How it is signed.",
  kid: "The key that it is narrowed from.",
  sub: "The user. The upstream is told in `X-Key-Subject`, and the limit per client counts this user’s requests.",
  filter: "What the upstream is to filter by: it gets it in `X-Key-Filter`.",
  origins: "From which pages it may be used, if the key may.",
  ips: "From which networks it may be used, if the key may.",
  scopes: "What it may be used to do, if the key may.",
  indexes: "Which indexes it may be used on, if the key may.",
  iat: "When it was made.",
  nbf: "When it begins.",
  exp: "When it ends.",
};

const MEANINGS = {
  "strict-transport-security": "Browsers use https for this host from now on, even where a link says http.",
  "x-content-type-options": "Browsers take the Content-Type as it is and never guess a script out of it.",
  "x-frame-options": "No page may show this answer in a frame.",
  "x-xss-protection": "Governs a filter in old browsers; today’s have none.",
  "referrer-policy": "What a page tells other sites about its own address.",
  "content-security-policy": "If shown as a page, what it may load and run; an inline script, for one, does not.",
  "cross-origin-resource-policy": "Which sites may embed this answer.",
  "cross-origin-opener-policy": "If shown as a page, it shares no window with pages of other sites.",
  "cross-origin-embedder-policy": "If shown as a page, it embeds only what agrees to be embedded.",
  "permissions-policy": "If shown as a page, which of the browser’s features it may use, such as the camera.",
  "x-permitted-cross-domain-policies": "Old plug-ins may not read data from this host.",
  "x-dns-prefetch-control": "Whether browsers look up the names of links in advance.",
};

/** Fetch, "CORS-safelisted response-header name": readable without being exposed. */
const ALWAYS_READABLE = ["cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"];

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) node.setAttribute(name, value);
  node.append(...children.flat());
  return node;
}

const code = (text) => el("code", {}, text);

/** A sentence in which `backticks` mark code. */
const prose = (text) => text.split("`").map((part, at) => (at % 2 ? code(part) : part));

function table(caption, head, rows) {
  return el("table", {},
    el("caption", {}, caption),
    el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, at) => el(at ? "td" : "th", at ? { "data-label": head[at] } : { scope: "row" }, cell))))));
}

function section(title, ...children) {
  return el("section", {}, el("h3", {}, title), ...children);
}

function verdictOf({ result, findings }) {
  if (result.outcome === "timeout") {
    return { tone: "bad", badge: "no answer", title: "No answer", text: [`The gateway said nothing for ${TIMEOUT_MS / 1000} seconds.`] };
  }
  if (result.outcome === "withheld") {
    return { tone: "bad", badge: "withheld", title: "Withheld by the browser", findings };
  }
  const status = `${result.status} ${result.statusText}`.trim();
  const problem = problemIn(result);
  if (problem) {
    return {
      tone: "warn",
      badge: `${result.status} ${problem.code}`,
      title: `Refused: ${status}`,
      text: ["The page may read the refusal. ", code(problem.code), ` — ${problem.detail}`],
      note: problem.code === "scoped_token_expired" ? FRESH_TOKENS : "",
    };
  }
  const good = result.status < 400;
  return {
    tone: good ? "good" : "warn",
    badge: String(result.status),
    title: good ? `Allowed: ${status}` : `Answered: ${status}`,
    text: ["The page may read the answer", good ? "." : ". It is not one of keyfence’s own errors: it comes from behind it, or from another gateway."],
    note: toldUpstream(result),
  };
}

/** What the upstream got to know of the user. The demo’s upstream answers with the headers that reached it. */
function toldUpstream({ body }) {
  if (!body.startsWith("This request reached the upstream:")) return "";
  const header = (name) => new RegExp(`^${name}: (.*)$`, "m").exec(body)?.[1];
  const subject = header("x-key-subject");
  const filter = header("x-key-filter");
  const told = [subject, filter && `filter \`${filter}\``].filter(Boolean);
  return told.length ? `The upstream was told: ${told.join(", ")}.` : "";
}

/** keyfence's errors are RFC 9457 problems with a code. */
function problemIn({ headers, body }) {
  const type = new Map(headers).get("content-type") ?? "";
  if (!type.startsWith("application/problem+json")) return null;
  try {
    const problem = JSON.parse(body);
    return problem.code ? problem : null;
  } catch {
    return null;
  }
}

function showVerdict(verdict) {
  const node = document.getElementById("verdict");
  node.dataset.tone = verdict.tone ?? "";
  node.replaceChildren(el("h2", {}, verdict.title));
  if (verdict.text) node.append(el("p", {}, verdict.text));
  if (verdict.note) node.append(el("p", {}, el("strong", {}, prose(verdict.note))));
  for (const finding of verdict.findings ?? []) {
    node.append(
      el("h3", {}, finding.title, " ", el("span", { class: "code" }, finding.code)),
      el("p", {}, prose(finding.why)),
      el("p", {}, el("strong", {}, "What to change: "), prose(finding.mend)));
    if (!finding.sure) node.append(el("p", { class: "unsure" }, "A page cannot be sure of this: other causes look the same from here."));
  }
}

/** The token's own text is for machines; this is what it says. */
function showToken(title, token) {
  const node = document.getElementById("token");
  node.hidden = !token;
  if (!token) return;
  const { header, claims } = token;
  const textOf = (name, value) => (["iat", "nbf", "exp"].includes(name) ? `${value} (${dateOf(value)})` : typeof value === "string" ? value : JSON.stringify(value));
  const rows = Object.entries({ ...header, ...claims }).filter(([name]) => name !== "typ")
    .map(([name, value]) => [code(name), code(textOf(name, value)), prose(CLAIMS[name] ?? "")]);
  node.replaceChildren(
    el("h3", {}, title),
    el("p", {}, "Anybody who has the token can read this: it is signed, not encrypted. Nobody can change it without the secret that it was signed with, which is not in it."),
    table("What the token says", ["Claim", "Value", "Meaning"], rows));
}

function describe({ outcome, status }) {
  switch (outcome) {
    case "readable": return `readable, ${status}`;
    case "opaque": return "the gateway answered";
    case "redirect": return "a redirect";
    case "timeout": return "no answer";
    default: return "withheld";
  }
}

function evidenceSection({ evidence }) {
  return section("How this was found",
    el("p", {}, "A browser does not tell a page why it withholds an answer. So the page asked again, changing one thing at a time, and compared:"),
    table("Requests that were compared", ["Request", "Outcome"], evidence.map((probe) => [probe.says, describe(probe)])));
}

function readableSection(request, { result }) {
  const dropped = droppedHeaders(request);
  const note = dropped.length ? el("p", {}, "Not sent, since a browser lets no page set it: ", dropped.join(", "), ".") : "";
  if (result.outcome !== "readable") {
    return section("What the page may read", el("p", {}, "Nothing: no status, no header, no body. ", code("fetch"), ` fails with “${result.message}” and says no more.`), note);
  }
  const body = result.body ? el("pre", { tabindex: "0" }, pretty(result.body), result.cut ? "\n…" : "") : el("p", {}, "The body is empty.");
  return section("What the page may read",
    table("Response headers", ["Header", "Value"], result.headers.map(([name, value]) => [code(name), value])),
    el("p", {}, "Other headers are there, but hidden from a page of another origin unless ", code("Access-Control-Expose-Headers"), " names them."),
    body, note);
}

function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

function preflightSection(request, replayed) {
  const preflight = preflightOf(request);
  if (!preflight) {
    return section("The preflight", el("p", {}, "None: this method and these headers could come from a plain HTML form or link, so the browser asks nothing in advance. The answer’s own headers decide."));
  }
  const { pathname, search, host } = new URL(preflight.url);
  const causes = [preflight.unsafeMethod ? `the method ${preflight.unsafeMethod}` : "", ...preflight.headers].filter(Boolean);
  const lines = [`OPTIONS ${pathname}${search}`, `Host: ${host}`, `Origin: ${request.origin}`, `Access-Control-Request-Method: ${preflight.method}`];
  if (preflight.headers.length) lines.push(`Access-Control-Request-Headers: ${preflight.headers.join(",")}`);
  return section("The preflight",
    el("p", {}, "The browser asks first, because of ", causes.flatMap((cause, at) => [at ? ", " : "", code(cause)]), ". It carries no key and no cookies:"),
    el("pre", { tabindex: "0" }, lines.join("\n")),
    ...replayedPreflight(replayed),
    el("p", { class: "unsure" }, "No page sees its own preflights: this one follows from the Fetch standard. If the browser asked the same shortly before, it may have used the answer that it remembered."));
}

function replayedPreflight(replayed) {
  if (!replayed) return [el("p", {}, "What this gateway answers to it cannot be seen from a page; the browser’s network panel shows it.")];
  const headers = replayed.headers.filter(([name]) => /^(access-control-|vary)/.test(name)).map(([name, value]) => `${name}: ${value}`);
  const granted = headers.some((line) => line.startsWith("access-control-allow-origin:"));
  return [
    el("p", {}, "The demo’s gateway answers", granted ? ":" : prose(" without `Access-Control-Allow-Origin`, which is a no:")),
    el("pre", { tabindex: "0" }, [`${replayed.status} ${replayed.statusText}`, ...headers].join("\n")),
  ];
}

function securitySection(answered, result) {
  if (!answered) {
    return section("Security headers", el("p", {}, "A page of another origin cannot read them. Here they are shown for the demo’s own gateway only."));
  }
  const readable = new Set([...ALWAYS_READABLE, ...(result.headers ?? []).map(([name]) => name)]);
  const rows = answered.headers.filter(([name]) => name in MEANINGS)
    .map(([name, value]) => [code(name), value, MEANINGS[name], result.outcome === "readable" && readable.has(name) ? "yes" : "no"]);
  return section("Security headers",
    el("p", {}, "On every answer of the gateway, refusals too. Browsers act on them even if the page may not read them; a page of another origin reads only what is exposed. These were read through the demo’s own origin."),
    table("Security headers of the gateway", ["Header", "Value", "What it does", "Readable"], rows));
}

/** The demo's Envoy passes this page's questions on to its gateway from the page's own origin, where all headers can be read. */
async function replay(request) {
  const { gateway, replay } = document.documentElement.dataset;
  if (new URL(request.gateway).port !== new URL(gateway).port) return {};
  const path = `${replay}${new URL(request.path, request.gateway).pathname}`;
  const read = (response) => ({ status: response.status, statusText: response.statusText, headers: [...response.headers] });
  const ask = (init) => fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS), ...init }).then(read, () => undefined);
  const preflight = preflightOf(request);
  const [preflightAnswer, plainAnswer] = await Promise.all([
    preflight && ask({
      method: "OPTIONS",
      headers: {
        "X-Replay-Origin": request.origin,
        "X-Replay-Method": preflight.method,
        ...(preflight.headers.length && { "X-Replay-Headers": preflight.headers.join(",") }),
      },
    }),
    ask({}),
  ]);
  return { preflightAnswer, plainAnswer };
}

function sectionsOf(request, answer, replayed) {
  return [
    ...(answer.evidence ? [evidenceSection(answer)] : []),
    readableSection(request, answer),
    preflightSection(request, replayed.preflightAnswer),
    securitySection(replayed.plainAnswer, answer.result),
  ];
}

const notSent = (error) => ({ tone: "bad", badge: "not sent", title: "Not sent", text: [error.message] });

function show({ verdict, sections }) {
  showVerdict(verdict);
  document.getElementById("details").replaceChildren(...sections);
}

/** The request that the form describes, with the token, if there is one, in place of the key. */
function requestIn(form, token) {
  const { origin, key, otherKey, place, method, path, headers, body, credentials, gateway } = Object.fromEntries(new FormData(form));
  if (new URL(path, gateway).origin !== new URL(gateway).origin) throw new Error("The path leads away from the gateway.");
  const lines = headers.split("\n").map((line) => line.trim()).filter(Boolean);
  const request = {
    origin, gateway, path, method, credentials, body,
    headers: lines.map((line) => {
      const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(line) ?? [];
      if (!name) throw new Error(`“${line}” is not a header: write Name: value.`);
      return [name, value];
    }),
    key: { place, value: token || (key === "other" ? otherKey : key) },
  };
  toFetch(request); // throws for what no browser would send
  return request;
}

function serveAsPage() {
  const form = document.getElementById("request");
  const { elements } = form;
  const everywhere = document.getElementById("everywhere");
  const answers = new Map();
  let running = 0;
  let signedIn = { user: "", token: "" };

  elements.gateway.value = new URLSearchParams(location.search).get("gateway") ?? document.documentElement.dataset.gateway;

  const radios = [...elements.origin];
  const outputOf = (radio) => radio.closest("label").querySelector("output");

  function forget() {
    answers.clear();
    for (const radio of radios) Object.assign(outputOf(radio), { value: "", className: "" });
  }

  function adapt() {
    const user = elements.user.value;
    const otherKey = !user && elements.key.value === "other";
    elements.key.disabled = user !== "";
    document.getElementById("other-key").hidden = !otherKey;
    if (!user) showToken("What this token says", otherKey && readToken(elements.otherKey.value));
    if (user !== signedIn.user) change(user);
    document.getElementById("body").hidden = ["GET", "HEAD"].includes(elements.method.value);
  }

  async function change(user) {
    const token = user && signIn(user);
    signedIn = { user, token };
    const say = (...text) => {
      if (signedIn.token === token) document.getElementById("signed-in").replaceChildren(...text);
    };
    if (!user) return say();
    showToken("", null);
    say(`Signing in as ${user}…`);
    try {
      const read = readToken(await token);
      if (signedIn.token !== token) return;
      showToken(`What ${user}’s token says`, read);
      const { exp } = read.claims;
      say(...prose(isPast(exp) ? `${user}’s token has ended. ${FRESH_TOKENS}` : `Signed in as ${user}, until ${dateOf(exp)}: the token goes in place of the key.`));
    } catch (error) {
      say(error.message);
    }
  }

  async function send(origins) {
    const run = ++running;
    form.setAttribute("aria-busy", "true");
    forget();
    try {
      showVerdict({ title: "Sending…", text: [] });
      const token = await signedIn.token;
      if (run !== running) return;
      const template = requestIn(form, token);
      await Promise.all(origins.map(async (origin) => {
        const request = { ...template, origin };
        const shown = await Promise.all([sendFrom(request), replay(request)]).then(
          ([answer, replayed]) => ({ verdict: verdictOf(answer), sections: sectionsOf(request, answer, replayed) }),
          (error) => ({ verdict: notSent(error), sections: [] }));
        if (run !== running) return;
        answers.set(origin, shown);
        const output = outputOf(radios.find((radio) => radio.value === origin));
        Object.assign(output, { value: shown.verdict.badge, className: shown.verdict.tone });
      }));
      if (run !== running) return;
      showChosen();
      document.getElementById("verdict").scrollIntoView({ block: "nearest" });
    } catch (error) {
      if (run === running) show({ verdict: notSent(error), sections: [] });
    } finally {
      if (run === running) form.removeAttribute("aria-busy");
    }
  }

  function showChosen() {
    const chosen = answers.get(elements.origin.value);
    if (chosen) show(chosen);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send([elements.origin.value]);
  });
  everywhere.addEventListener("click", () => {
    if (form.reportValidity()) send(radios.map((radio) => radio.value));
  });
  form.addEventListener("input", ({ target }) => {
    adapt();
    if (target.name === "origin") showChosen();
    else forget();
  });
  for (const button of form.querySelectorAll("[data-example]")) {
    button.addEventListener("click", () => {
      const { gateway } = elements;
      const kept = gateway.value;
      form.reset();
      gateway.value = kept;
      for (const [name, value] of Object.entries(JSON.parse(button.dataset.example))) elements[name].value = value;
      adapt();
      send([elements.origin.value]);
    });
  }
  adapt();
}

if (window === window.parent) serveAsPage();
else serveAsSender();
