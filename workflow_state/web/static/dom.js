// Building the page. Whatever servers and models wrote becomes text nodes, never markup.

// Control characters but \n and \t, all spaces but the usual one, what has no width or changes the direction of writing,
// tags, fillers, variation selectors, code points that mean nothing, halves of surrogate pairs: with these a plan could
// show a person who is asked to confirm a request another one. views/text.py has the same for terminals.
const NOT_PLAIN = /(?![ \n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Z}\p{DI}\p{VS}\u2800]/gu;

export function plain(text) {
  return String(text).replace(NOT_PLAIN, (found) => {
    const code = found.codePointAt(0).toString(16);
    return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`;
  });
}

// An element with attributes (functions are listeners) and children; what is null or false is left out.
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : plain(value));
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(plain(child)));
  }
}

// Sets an element's text only where it has changed, so that nothing is selected or read anew for nothing.
export function setText(element, text) {
  const wanted = plain(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function setHidden(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

export const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";
export function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const ICONS = {
  pending: "M8 3.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9",
  running: "M5.5 3.8v8.4L12.2 8z",
  waiting: "M5.6 5.8c.2-3 4.9-2.900 4.900-.1c0 1.900-2.500 1.900-2.500 4M8 12.300v.4",
  retrying: "M12.500 8a4.500 4.500 0 1 1-1.500-3.300M12.600 2.500v2.900h-2.900",
  completed: "M3.500 8.500l3 3l6-6.500",
  failed: "M4.200 4.200l7.600 7.600M11.800 4.200l-7.600 7.600",
  skipped: "M3.500 8h9",
};
Object.assign(ICONS, {
  initializing: ICONS.pending,
  paused_for_confirmation: ICONS.waiting,
  cancelled: "M4 4h8v8h-8z",
});

export function icon(status) {
  const image = svg("svg", { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true", focusable: "false" });
  image.append(svg("path", { d: ICONS[status] ?? ICONS.pending }));
  return image;
}

export const STATES = ["failed", "waiting", "running", "retrying", "pending", "completed", "skipped"];

export const WORDS = {
  paused_for_confirmation: "waiting for an answer",
  waiting: "waiting for an answer",
  retrying: "waiting for its next attempt",
};
export const wordOf = (status) => WORDS[status] ?? status;

export function pill(status, text) {
  return h("span", { class: `pill ${status}` }, icon(status), text ?? wordOf(status));
}

// --- Numbers and times as people read them ---------------------------------------------------------------------

export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

// A running time without fractions, so that it does not flicker.
export const elapsed = (ms) => (ms < 60_000 ? `${Math.max(0, Math.floor(ms / 1000))} s` : duration(ms));

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

export function moment(at) {
  const date = new Date(at);
  const today = date.toDateString() === new Date().toDateString();
  const text = today ? TIME.format(date) : `${DAY.format(date)}, ${TIME.format(date)}`;
  return h("time", { datetime: date.toISOString(), title: date.toLocaleString() }, text);
}

export function bytes(count) {
  if (count < 1024) return `${count} bytes`;
  return count < 1024 ** 2 ? `${(count / 1024).toFixed(1)} KiB` : `${(count / 1024 ** 2).toFixed(1)} MiB`;
}

export const plural = (count, one, many) => `${count} ${count === 1 ? one : (many ?? one + "s")}`;

// --- JSON ------------------------------------------------------------------------------------------------------

const TOKEN = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;
const MOST_COLOURED = 50_000;

export const jsonView = (value, label) => jsonTextView(JSON.stringify(value, null, 2), label);

export function jsonTextView(json, label) {
  const text = plain(json);
  const view = h("pre", { class: "json", tabindex: "0", role: "group", "aria-label": label });
  if (text.length > MOST_COLOURED) {
    view.classList.add("in-order");
    view.append(text);
    return view;
  }
  let end = 0;
  for (const found of text.matchAll(TOKEN)) {
    view.append(text.slice(end, found.index));
    const [all, string, colon, word] = found;
    const kind = string ? (colon ? "key" : "string") : word ? "word" : "digits";
    view.append(h("span", { class: kind }, string ?? all), colon ?? "");
    end = found.index + all.length;
  }
  view.append(text.slice(end));
  return view;
}

// --- Asking the server -----------------------------------------------------------------------------------------

export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    Object.assign(this, { status, ...error });
  }
}

export async function ask(url, body) {
  const options = { credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    Object.assign(options, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  }
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Refused(0, { code: "away", message: "the server can't be reached" });
  }
  const data = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Refused(response.status, data.error ?? { code: "http", message: `the server answered ${response.status}` });
  }
  return data;
}
