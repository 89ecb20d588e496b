// The list of executions, the newest first; live.

import { byId, duration, elapsed, h, moment, pill, plural, setHidden, setText, wordOf } from "./dom.js";
import { listen } from "./stream.js";

const LIMITS = [50, 200, 500];
const rows = new Map();
let found = [];
let limit = LIMITS[0];
let stop = () => {};

byId("search").addEventListener("input", show);
byId("wanted").addEventListener("change", follow);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("more").addEventListener("click", () => {
  limit = LIMITS[LIMITS.indexOf(limit) + 1] ?? limit;
  follow();
});
setInterval(() => rows.forEach(({ item, took }) => setText(took, tookOf(item))), 1000);
follow();

function follow() {
  stop();
  const query = new URLSearchParams({ limit: String(limit) });
  if (byId("wanted").value) query.set("status", byId("wanted").value);
  stop = listen(
    `./api/executions/events?${query}`,
    {
      list: (items) => {
        connection(null);
        found = items;
        show();
      },
      trouble: ({ message }) => connection(message),
    },
    { lost: () => connection("The connection to the server is lost; trying again …"), found: () => connection(null) },
  );
}

function connection(message) {
  setHidden(byId("connection"), !message);
  setText(byId("connection"), message ?? "");
}

function show() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const items = found.filter((item) => words.every((word) => `${item.name} ${item.id}`.toLowerCase().includes(word)));
  for (const id of [...rows.keys()]) {
    if (!items.some((item) => item.id === id)) {
      rows.get(id).row.remove();
      rows.delete(id);
    }
  }
  // Rows that are there stay: the focus may be in one.
  items.forEach((item, index) => {
    const entry = rows.get(item.id) ?? makeRow(item);
    update(entry, item);
    if (byId("rows").children[index] !== entry.row) byId("rows").insertBefore(entry.row, byId("rows").children[index] ?? null);
  });
  setHidden(byId("table"), items.length === 0);
  setHidden(byId("more"), found.length < limit || limit === LIMITS.at(-1));
  setText(byId("shown"), words.length ? `${items.length} of ${plural(found.length, "execution")}` : plural(items.length, "execution"));
  const isNew = !words.length && !byId("wanted").value;
  byId("empty").replaceChildren(
    h("p", {}, isNew ? "Nothing has been run yet." : "None fits."),
    isNew ? h("p", { class: "muted" }, "Put a plan on the queue: ", h("code", {}, "workflow-state submit plan.json")) : "",
  );
  setHidden(byId("empty"), items.length > 0);
}

function makeRow(item) {
  const status = h("td", {});
  const took = h("td", { class: "number" });
  const row = h(
    "tr",
    {},
    status,
    h("td", { class: "name" }, h("a", { href: `./executions/${encodeURIComponent(item.id)}` }, item.name)),
    h("td", {}, moment(item.submittedAt)),
    took,
    h("td", { class: "identity" }, h("code", {}, item.id)),
  );
  rows.set(item.id, { row, status, took, look: null, item });
  return rows.get(item.id);
}

function update(entry, item) {
  entry.item = item;
  const look = item.status === "paused_for_confirmation" ? "waiting" : item.status;
  if (entry.look !== look) {
    entry.look = look;
    entry.status.replaceChildren(pill(look, wordOf(look)));
  }
  setText(entry.took, tookOf(item));
}

function tookOf({ startedAt, completedAt }) {
  if (!startedAt) return "";
  return completedAt ? duration(new Date(completedAt) - new Date(startedAt)) : elapsed(Date.now() - new Date(startedAt));
}
