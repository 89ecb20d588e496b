// The page of one execution: what is above the graph, and what holds graph, panel, dialogs and stream together.

import { makeDialogs } from "./dialogs.js";
import { STATES, ask, byId, duration, elapsed, h, icon, jsonView, moment, pill, plain, plural, setHidden, setText, wordOf } from "./dom.js";
import { drawGraph } from "./graph.js";
import { baseOf, makePanel } from "./panel.js";
import { listen } from "./stream.js";

const NO_WORKER_MS = 10_000;
const QUESTIONS_SHOWN = 6;
const IN_ORDER = new Intl.Collator(undefined, { numeric: true });
const ENDED = ["completed", "failed", "cancelled"];

const executionId = location.pathname.split("/").filter(Boolean).at(-1);
const api = `../api/executions/${executionId}`;
const state = { head: {}, actions: {}, graph: null, offsetMs: 0, announced: null };
const now = () => Date.now() + state.offsetMs;
const chosen = new Set();
let graph;
let panel;
let isViewer = false; // who may look, and do nothing

const dialogs = makeDialogs(byId("dialog"), {
  api,
  cancelled: () => announce("Cancelling"),
  resumed: (id) => location.assign(`./${encodeURIComponent(id)}`),
});

start();

async function start() {
  try {
    state.graph = await ask(`${api}/graph`);
  } catch (error) {
    showProblem(error);
    return;
  }
  document.title = plain(state.graph.name);
  setText(byId("name"), state.graph.name);
  if (state.graph.description) setText(byId("description"), state.graph.description);
  setHidden(byId("description"), !state.graph.description);
  graph = drawGraph(byId("graph"), state.graph, { open, now, hoverLine: byId("hovered") });
  isViewer = state.graph.role === "viewer";
  panel = makePanel(byId("panel"), { api, graph, isViewer, announce, closed, answered: () => {}, openAction: open });
  byId("cancel").addEventListener("click", dialogs.cancel);
  byId("resume").addEventListener("click", () => dialogs.resume(count().completed ?? 0, Object.keys(state.graph.actions).length));
  byId("plan").addEventListener("toggle", showPlan);
  setHidden(byId("plan"), !state.graph.hasMore);
  byId("search").addEventListener("input", applyFilter);
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !byId("dialog").open) panel.close();
  });
  window.addEventListener("hashchange", openNamed);
  setInterval(tick, 1000);
  listen(
    `${api}/events`,
    {
      snapshot: (data) => take({ ...data, isAll: true }),
      change: take,
      trouble: ({ message }) => connection(message),
    },
    { lost: () => connection("The connection to the server is lost; trying again …"), found: () => connection(null) },
  );
}

async function showPlan() {
  const box = byId("plan-content");
  if (!byId("plan").open || box.firstChild) return;
  try {
    const { name, description, id, ...rest } = await ask(`${api}/plan`);
    box.replaceChildren(jsonView(rest, "Inputs, intent and expected outcome of the plan"));
  } catch (error) {
    box.replaceChildren(h("p", { class: "problem" }, error.message));
  }
}

function showProblem(error) {
  setText(byId("name"), error.status === 404 ? "There is no such execution" : "It can't be shown");
  byId("notices").replaceChildren(h("div", { class: "notice failed" }, error.message));
}

function connection(message) {
  setHidden(byId("connection"), !message);
  setText(byId("connection"), message ?? "");
}

// --- What the server says --------------------------------------------------------------------------------------

function take({ actions, now: serverNow, isAll, ...head }) {
  connection(null);
  if (serverNow) state.offsetMs = serverNow - Date.now();
  const isFirst = !state.head.status;
  state.head = head;
  state.actions = isAll ? actions : { ...state.actions, ...actions };
  graph.update(actions);
  showHead();
  showNotices();
  showCounts();
  applyFilter();
  panel.refresh((id) => id in actions);
  if (isFirst) openNamed();
}

// `#action` in the address opens it.
function openNamed() {
  const name = decodeURIComponent(location.hash.slice(1));
  if (name && graph.node(baseOf(name))) open(name);
}

function showHead() {
  const { status, error } = state.head;
  const look = state.head.cancelling ? "cancelled" : status;
  const text = state.head.cancelling ? "cancelling" : wordOf(status);
  const element = byId("status");
  if (element.textContent !== text) element.replaceWith(Object.assign(pill(look, text), { id: "status" }));
  const isOver = ENDED.includes(status);
  setHidden(byId("cancel"), isViewer || isOver || Boolean(state.head.cancelling));
  setHidden(byId("resume"), isViewer || !["failed", "cancelled"].includes(status) || (error && !Object.keys(state.actions).length));
  showFacts();
  const counts = count();
  const total = Object.keys(state.graph.actions).length;
  const done = (counts.completed ?? 0) + (counts.failed ?? 0) + (counts.skipped ?? 0);
  const marks = { completed: "✓", failed: "✕", cancelled: "■", paused_for_confirmation: "?" };
  document.title = plain(`${marks[status] ?? `${done}/${total}`} ${state.graph.name}`);
  // Only what the whole has come to is said aloud: a thousand actions would never be quiet.
  if (state.announced !== text) {
    if (state.announced !== null) announce(`Execution ${text}: ${summary(counts)}`);
    state.announced = text;
  }
}

function showFacts() {
  const { startedAt, completedAt, resumedFrom, resumedBy, cancelledBy, status } = state.head;
  const facts = [h("code", { class: "copyable" }, executionId)];
  if (status === "initializing") facts.push(["submitted ", moment(state.graph.submittedAt)]);
  else facts.push(["started ", moment(startedAt)]);
  if (completedAt) facts.push(`took ${duration(completedAt - startedAt)}`);
  else if (status !== "initializing") facts.push(h("span", { id: "elapsed" }, elapsed(now() - startedAt)));
  if (resumedFrom) facts.push(["resumed from ", h("a", { href: `./${encodeURIComponent(resumedFrom)}` }, resumedFrom), resumedBy ? ` by ${resumedBy}` : ""]);
  if (cancelledBy) facts.push(`cancelled by ${cancelledBy}`);
  const line = facts.map((fact) => h("span", {}, fact));
  const key = JSON.stringify([status, startedAt, completedAt, resumedFrom, cancelledBy]);
  if (byId("facts").dataset.key === key) return;
  byId("facts").dataset.key = key;
  byId("facts").replaceChildren(...line);
}

function showNotices() {
  const { status, error, validations } = state.head;
  const notices = [];
  const culprit = error?.context?.actionId;
  if (error && status === "failed") {
    notices.push(
      h(
        "div",
        { class: "notice failed" },
        h(
          "div",
          { class: "text" },
          h("p", { class: "strong" }, error.message),
          error.suggestion ? h("p", {}, error.suggestion) : null,
          culprit ? null : h("dl", { class: "pairs" }, Object.entries(error.context ?? {}).map(([key, text]) => [h("dt", {}, key), h("dd", {}, text)])),
        ),
        culprit && graph.node(culprit) ? h("button", { type: "button", "data-key": "culprit", onclick: () => open(culprit) }, `Look at ${culprit}`) : null,
      ),
    );
  }
  const questions = Object.values(state.actions)
    .flatMap((brief) => Object.keys(brief.asks ?? {}))
    .sort(IN_ORDER.compare);
  if (questions.length) {
    const listed = questions.slice(0, QUESTIONS_SHOWN);
    const rest = questions.length - listed.length;
    notices.push(
      h(
        "div",
        { class: "notice waiting" },
        h("p", { class: "strong" }, `${plural(questions.length, "request waits", "requests wait")} for an answer`),
        h(
          "div",
          { class: "buttons" },
          listed.map((name) => h("button", { type: "button", "data-key": `asks-${name}`, onclick: () => open(name) }, `Review ${name}`)),
          rest ? h("span", { class: "muted" }, `and ${rest} more`) : null,
        ),
      ),
    );
  }
  if (status === "completed" && validations?.length) {
    notices.push(h("div", { class: "notice completed" }, `${plural(validations.length, "expected outcome")} came true: ${validations.map((item) => item.name).join(", ")}`));
  }
  if (status === "initializing" && now() - state.graph.submittedAt > NO_WORKER_MS) {
    notices.push(h("div", { class: "notice retrying" }, "No worker has taken it yet; start one: ", h("code", {}, "celery -A workflow_state worker")));
  }
  const box = byId("notices");
  const key = JSON.stringify([status, error, questions, validations, notices.length]);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  box.replaceChildren(...notices);
  if (focused) [...box.querySelectorAll("[data-key]")].find((item) => item.dataset.key === focused)?.focus();
}

function tick() {
  graph.tick();
  const { status, startedAt } = state.head;
  if (byId("elapsed") && !ENDED.includes(status)) setText(byId("elapsed"), elapsed(now() - startedAt));
  if (status === "initializing") showNotices();
}

// --- Counts and filter -----------------------------------------------------------------------------------------

function count() {
  const counts = {};
  for (const id of Object.keys(state.graph.actions)) {
    const status = state.actions[id]?.status ?? "pending";
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
}

const summary = (counts) =>
  STATES.filter((status) => counts[status])
    .map((status) => `${counts[status]} ${wordOf(status)}`)
    .join(", ");

function showCounts() {
  const counts = count();
  const box = byId("counts");
  for (const status of STATES) {
    let button = box.querySelector(`[data-status="${status}"]`);
    const isThere = Boolean(counts[status]) || chosen.has(status);
    if (!button && isThere) {
      button = h("button", { type: "button", class: `count ${status}`, "data-status": status, "aria-pressed": "false" }, icon(status), h("span", {}));
      button.addEventListener("click", () => toggle(status));
      const next = STATES.slice(STATES.indexOf(status) + 1).map((name) => box.querySelector(`[data-status="${name}"]`));
      box.insertBefore(button, next.find(Boolean) ?? null);
    }
    if (!button) continue;
    setHidden(button, !isThere);
    setText(button.lastChild, `${counts[status] ?? 0} ${status}`);
  }
  setHidden(byId("filter"), !Object.keys(state.graph.actions).length);
  const bar = byId("progress");
  const total = Object.keys(state.graph.actions).length;
  const parts = ["completed", "failed", "skipped", "waiting", "retrying", "running", "pending"];
  bar.replaceChildren(
    ...parts
      .filter((status) => counts[status])
      .map((status) => {
        const part = h("span", { class: status === "pending" ? "rest" : status });
        part.style.flexGrow = counts[status];
        return part;
      }),
  );
  bar.setAttribute("aria-label", `Of ${plural(total, "action")}: ${summary(counts)}`);
  setHidden(bar, !total);
}

function toggle(status) {
  if (!chosen.delete(status)) chosen.add(status);
  for (const button of byId("counts").children) {
    button.setAttribute("aria-pressed", String(chosen.has(button.dataset.status)));
  }
  applyFilter();
}

function applyFilter() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const isOn = words.length > 0 || chosen.size > 0;
  const fits = ({ id, action, status }) => {
    if (chosen.size && !chosen.has(status)) return false;
    const text = `${id} ${action.definition} ${status}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
  const shown = graph.show(isOn ? fits : () => true);
  setText(byId("shown"), isOn ? `${shown} of ${plural(Object.keys(state.graph.actions).length, "action")}` : "");
}

// --- Opening and closing ---------------------------------------------------------------------------------------

function open(name) {
  graph.select(baseOf(name));
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  panel.open(name);
}

function closed(id) {
  graph.select(null);
  history.replaceState(null, "", location.pathname + location.search);
  graph.focus(id);
}

function announce(text) {
  setText(byId("announcement"), text);
}
