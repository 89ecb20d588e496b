// A request as it was sent or will be, and the trace of what was sent and answered.

import { bytes, duration, h, jsonTextView, jsonView, moment } from "./dom.js";

export function traceView(trace) {
  let attempt = 0;
  let before = null;
  const entries = trace.map((entry, index) => {
    const isRedirect = before && !before.error && before.response?.status >= 300 && before.response.status < 400;
    const goesOn = isRedirect || before?.continued;
    if (!goesOn) attempt += 1;
    before = entry;
    const label = isRedirect ? "redirected" : goesOn ? "then" : `attempt ${attempt}`;
    return traceEntry(entry, label, `trace-${index}`);
  });
  return h("div", { class: "trace" }, entries);
}

function traceEntry(entry, label, key) {
  const { request, response, error } = entry;
  const ok = response && response.status < 400 && !error;
  const outcome = response ? `${response.status} after ${duration(response.duration)}` : (error ?? "no answer");
  return h(
    "details",
    { "data-key": key },
    h(
      "summary",
      { "data-key": `${key}-summary` },
      h("span", { class: "muted" }, `${label} `),
      h("span", { class: `outcome ${ok ? "completed" : "failed"}` }, outcome),
      h("code", {}, `${request.method} ${request.url}`),
    ),
    h("h4", {}, "Request ", h("span", { class: "muted" }, moment(entry.timestamp))),
    requestView(request),
    response ? [h("h4", {}, `Response ${response.status}`), headersView(response.headers), bodyView(response.body)] : null,
    error && response ? h("p", { class: "problem" }, error) : null,
  );
}

export function requestView(request) {
  return h(
    "div",
    { class: "request" },
    h("p", { class: "line" }, h("strong", {}, request.method), " ", h("code", {}, request.url)),
    headersView(request.headers),
    bodyView(request.body),
  );
}

// The request that a person is asked about, all of it: what the plan decided, and folded what the client adds.
export function askedView(request, body, bodyUrl) {
  const added = Object.keys(request.transportHeaders ?? {}).length;
  return h(
    "div",
    { class: "request" },
    h("p", { class: "line" }, h("strong", {}, request.method), " ", h("code", {}, request.url)),
    headersView(request.headers),
    askedBodyView(body, bodyUrl),
    added
      ? h(
          "details",
          { class: "transport", "data-key": "transport" },
          h("summary", { "data-key": "transport-summary" }, `Headers that the client adds (${added})`),
          headersView(request.transportHeaders),
        )
      : null,
  );
}

function askedBodyView(body, url) {
  if (!body) return null;
  if (body.problem) return h("p", { class: "problem" }, `Its body can't be read, so nobody can confirm it: ${body.problem}`);
  if (body.size) {
    const link = h("a", { href: url, download: true, "data-key": "body" }, "Download it");
    return h("p", {}, `A body of ${bytes(body.size)}, SHA-256 `, h("code", {}, body.sha256), ". ", link, " to read it.");
  }
  return body.isText ? h("pre", { class: "json", tabindex: "0" }, body.text) : jsonTextView(body.text, "Body");
}

function headersView(headers) {
  const pairs = Object.entries(headers ?? {});
  return pairs.length ? h("dl", { class: "pairs headers" }, pairs.map(([key, text]) => [h("dt", {}, key), h("dd", {}, text)])) : null;
}

function bodyView(body) {
  if (body === undefined || body === null) return null;
  return typeof body === "string" ? h("pre", { class: "json", tabindex: "0" }, body) : jsonView(body, "Body");
}
