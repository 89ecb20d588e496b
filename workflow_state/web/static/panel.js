// One action in full: its question, error, output, requests and place in the plan. Fetched when it is opened, and again
// when it has changed.

import { append, ask, bytes, duration, h, jsonView, moment, pill, plain } from "./dom.js";
import { askedView, traceView } from "./requests.js";

const ELEMENTS_SHOWN = 100;
const ANSWERS_SHOWN = 20;
const AGAIN_AFTER_MS = 400;

export function makePanel(root, { api, graph, isViewer, announce, closed, answered, openAction }) {
  let shown = null;
  let question = null; // what the person has before them: { digest, name }
  let fetching = 0;
  let timer = 0;
  let elementsShown = ELEMENTS_SHOWN;

  async function open(name, { takeFocus = true } = {}) {
    if (shown !== name) {
      elementsShown = ELEMENTS_SHOWN;
      question = null;
      root.replaceChildren(head(name, null), h("p", { class: "muted loading" }, "Loading …"));
      root.scrollTop = 0;
    }
    shown = name;
    root.hidden = false;
    document.body.classList.add("has-panel");
    if (takeFocus) root.querySelector("h2").focus({ preventScroll: true });
    await load();
  }

  async function load() {
    const [name, number] = [shown, ++fetching];
    let content;
    try {
      const detail = await ask(`${api}/actions/${encodeURIComponent(name)}`);
      if (number !== fetching || shown !== name) return;
      content = [head(name, detail), ...sections(name, detail)];
    } catch (error) {
      if (number !== fetching || shown !== name) return;
      content = [head(name, null), h("div", { class: "notice failed" }, error.message)];
    }
    replaceKeeping(root, content);
  }

  // The state has moved on: look again, though not more than a few times a second.
  function refresh(changed) {
    if (shown === null || !changed(baseOf(shown))) return;
    clearTimeout(timer);
    timer = setTimeout(load, AGAIN_AFTER_MS);
  }

  function close() {
    if (shown === null) return;
    const name = shown;
    shown = null;
    root.hidden = true;
    document.body.classList.remove("has-panel");
    root.replaceChildren();
    closed(baseOf(name));
  }

  function head(name, detail) {
    const state = detail?.state;
    const [base, index] = [baseOf(name), name.slice(baseOf(name).length)];
    const facts = [];
    if (detail?.action) facts.push(h("code", {}, detail.action.actionDefinitionId));
    if (state?.startedAt) facts.push(["started ", moment(state.startedAt)]);
    if (state?.duration !== undefined) facts.push(`took ${duration(state.duration)}`);
    if (state?.attempts > 1) facts.push(`${state.attempts} attempts`);
    if (state?.nextAttemptAt) facts.push(["next attempt ", moment(state.nextAttemptAt)]);
    return h(
      "div",
      { class: "panel-head" },
      h("button", { type: "button", class: "close", "data-key": "close", "aria-label": "Close", onclick: close }, "✕"),
      h("h2", { id: "panel-title", tabindex: "-1", "data-key": "title" }, index ? link(base, base) : null, index || name),
      h("p", { class: "facts" }, state ? pill(lookOf(name, detail)) : null, facts.map((fact) => [" ", h("span", {}, fact)])),
    );
  }

  function lookOf(name, { state, confirmations }) {
    if (state.status !== "running") return state.status;
    if (confirmations.some((item) => openQuestion(item.actionId, confirmations))) return "waiting";
    return state.nextAttemptAt ? "retrying" : "running";
  }

  function sections(name, detail) {
    const { state, action, confirmations, resumed } = detail;
    const result = state.result;
    const asked = state.status === "running" ? openQuestion(name, confirmations) : null;
    return [
      asked ? questionBox(name, asked) : null,
      result?.status === "failure" ? errorBox(result.error) : null,
      result?.status === "skipped" ? h("div", { class: "notice skipped" }, `Skipped: ${result.reason}`) : null,
      result?.assumed ? h("div", { class: "notice" }, "No answer was seen: this output was assumed when it was resumed.") : null,
      result?.usedFallback ? h("div", { class: "notice" }, "The action failed; this is its fallback value.") : null,
      result?.alternativeActionId
        ? h("div", { class: "notice" }, "The action failed; this is the output of ", link(result.alternativeActionId), ".")
        : null,
      outputSection(name, result, detail.output),
      detail.partialOutput ? section("partial", "Partial output", valueOf(name, detail.partialOutput), true) : null,
      state.elements ? elementsSection(name, state.elements, confirmations) : null,
      state.httpTrace?.length ? section("trace", `Requests (${state.httpTrace.length})`, traceView(state.httpTrace), true) : null,
      action ? section("inputs", "Inputs, as planned", jsonView(action.inputs ?? {}, "Inputs, as planned"), !result) : null,
      action && name === baseOf(name) ? planSection(name, action) : null,
      historySection(confirmations, asked, resumed),
    ].filter(Boolean);
  }

  // --- What a person is asked ------------------------------------------------------------------------------------

  function openQuestion(name, confirmations) {
    const last = confirmations.filter((item) => item.actionId === name).at(-1);
    return last && last.confirmed === undefined && !last.timedOut ? last : null;
  }

  function questionBox(name, asked) {
    const before = question?.name === name ? question : null;
    if (before && before.digest !== asked.digest) return changedBox(name, before.box);
    const { request, shownBody } = asked;
    const problem = h("p", { class: "problem", role: "alert" });
    const yes = h("button", { type: "button", class: "primary", "data-key": "yes" }, "Confirm and send");
    const no = h("button", { type: "button", class: "danger", "data-key": "no" }, "Reject");
    const box = h(
      "div",
      { class: "question", role: "group", "aria-labelledby": "question-title" },
      h("h3", { id: "question-title" }, `${name} asks`),
      h("p", { class: "muted" }, "The plan says, in its own words:"),
      h("blockquote", { tabindex: "0", "aria-label": "The plan's own words" }, h("p", { class: "strong" }, asked.title ?? ""), h("p", {}, asked.message ?? "")),
      h("p", { class: "muted" }, "Exactly this request will be sent:"),
      request ? askedView(request, shownBody, `${api}/actions/${encodeURIComponent(name)}/body`) : null,
      asked.expiresAt ? h("p", {}, "To be answered before ", moment(asked.expiresAt), ".") : null,
      isViewer ? h("p", { class: "strong" }, "You may look at this, and not answer it.") : h("div", { class: "buttons" }, yes, no),
      problem,
    );
    // What nobody can read, nobody can confirm.
    yes.disabled = Boolean(shownBody?.problem);
    async function answer(confirmed) {
      yes.disabled = no.disabled = true;
      problem.textContent = "";
      try {
        await ask(`${api}/confirmations`, { actionId: name, confirmed, digest: asked.digest });
        question = null;
        announce(`${name} ${confirmed ? "confirmed" : "rejected"}`);
        answered();
        root.querySelector("h2").focus({ preventScroll: true });
      } catch (error) {
        problem.textContent = plain(error.message);
        yes.disabled = Boolean(shownBody?.problem);
        no.disabled = false;
      }
      await load();
    }
    yes.addEventListener("click", () => answer(true));
    no.addEventListener("click", () => answer(false));
    question = { name, digest: asked.digest, box };
    return box;
  }

  // What the person has read is not what would be sent now: nothing may slip under the pointer.
  function changedBox(name, box) {
    for (const button of box.querySelectorAll(".buttons button")) button.disabled = true;
    if (!box.querySelector(".changed")) {
      const again = h("button", { type: "button", "data-key": "again" }, "Show what it would send now");
      again.addEventListener("click", () => {
        question = null;
        load();
      });
      box.append(h("div", { class: "changed", role: "alert" }, h("p", {}, `What ${name} would send has changed.`), again));
    }
    return box;
  }

  // --- What came of it -------------------------------------------------------------------------------------------

  function errorBox(error) {
    const code = [error.category, error.code, error.statusCode && `status ${error.statusCode}`].filter(Boolean);
    const context = Object.entries(error.context ?? {});
    return h(
      "div",
      { class: "notice failed" },
      h("p", { class: "strong" }, error.message),
      h("p", { class: "muted" }, code.join(" · ")),
      error.suggestion ? h("p", {}, error.suggestion) : null,
      context.length ? h("dl", { class: "pairs" }, context.map(([key, text]) => [h("dt", {}, key), h("dd", {}, text)])) : null,
    );
  }

  function outputSection(name, result, output) {
    if (result?.status !== "success") return null;
    const location = result.outputLocation;
    if (location) {
      const facts = `${location.contentType}, ${bytes(location.size)}, stored outside of the state. `;
      return section("output", "Output", h("p", {}, facts, download(name)), true);
    }
    return section("output", "Output", output ? valueOf(name, output) : null, true);
  }

  function valueOf(name, shownValue) {
    if (!("beginning" in shownValue)) return jsonView(shownValue.value, "JSON");
    return [
      h("p", { class: "muted" }, `The beginning of ${bytes(shownValue.size)}. `, download(name)),
      h("pre", { class: "json", tabindex: "0" }, shownValue.beginning),
    ];
  }

  function download(name) {
    return h("a", { href: `${api}/actions/${encodeURIComponent(name)}/output`, download: true, "data-key": "download" }, "Download");
  }

  function elementsSection(name, elements, confirmations) {
    const asking = new Set(confirmations.map((item) => item.actionId).filter((own) => openQuestion(own, confirmations)));
    const rank = { waiting: 0, failed: 1, retrying: 2, running: 2 };
    const look = (element) => {
      if (element.status !== "running") return element.status;
      return asking.has(`${name}[${element.index}]`) ? "waiting" : element.nextAttemptAt ? "retrying" : "running";
    };
    const place = (element) => rank[look(element)] ?? 3;
    // What needs a person comes first, what is done last.
    const sorted = [...elements].sort((one, other) => place(one) - place(other) || one.index - other.index);
    const rows = sorted.slice(0, elementsShown).map((element) => {
      const own = `${name}[${element.index}]`;
      const note = element.error?.message ?? element.reason ?? (element.assumed ? "assumed done" : "");
      return h(
        "tr",
        {},
        h("td", {}, link(own, `[${element.index}]`)),
        h("td", {}, pill(look(element))),
        h("td", { class: "number" }, element.duration === undefined ? "" : duration(element.duration)),
        h("td", { class: "note" }, element.attempts > 1 ? `${element.attempts} attempts. ` : "", note),
      );
    });
    const more = h("button", { type: "button", "data-key": "more" }, `Show all ${elements.length}`);
    more.addEventListener("click", () => {
      elementsShown = Infinity;
      load();
    });
    return section(
      "elements",
      `Elements (${elements.length})`,
      [h("table", { class: "elements" }, h("tbody", {}, rows)), elements.length > elementsShown ? more : null],
      true,
    );
  }

  // --- Where it stands -------------------------------------------------------------------------------------------

  function planSection(name, action) {
    const node = graph.node(name)?.action;
    const links = (ids) => (ids.length ? h("div", { class: "links" }, ids.map((id) => link(id))) : h("span", { class: "muted" }, "nothing"));
    const rows = [
      ["Depends on", links(action.dependencies ?? [])],
      ["Needed by", links(graph.dependents(name))],
      action.forEach ? ["For each of", h("code", {}, action.forEach)] : null,
      action.condition ? ["Condition", h("code", {}, `${action.condition.if} else ${action.condition.else}`)] : null,
      action.errorHandling?.continueOnFailure ? ["On failure", "the plan goes on"] : null,
      action.errorHandling?.alternativeActionId ? ["Alternative", link(action.errorHandling.alternativeActionId)] : null,
      action.errorHandling && "fallbackValue" in action.errorHandling
        ? ["Fallback", jsonView(action.errorHandling.fallbackValue, "Fallback value")]
        : null,
      node?.standby ? ["On standby", "runs only in place of an action that failed"] : null,
    ].filter(Boolean);
    return section("plan", "In the plan", h("dl", { class: "pairs" }, rows.map(([key, what]) => [h("dt", {}, key), h("dd", {}, what)])), true);
  }

  function historySection(confirmations, asked, resumed) {
    const answers = confirmations.filter((item) => item !== asked && (item.respondedAt || item.timedOut)).slice(-ANSWERS_SHOWN);
    const lines = answers.map((item) => {
      const what = item.timedOut ? "not answered in time" : item.confirmed ? "confirmed" : "rejected";
      const who = item.userId ? ` by ${item.userId}` : "";
      return h("p", {}, `${item.actionId}: ${what}${who} `, item.respondedAt ? moment(item.respondedAt) : null);
    });
    if (resumed) lines.push(h("p", {}, `${resumed.kept ? "Kept" : "Run"} when it was resumed: ${resumed.reason}`));
    return lines.length ? section("history", "History", lines, true) : null;
  }

  function link(name, text) {
    return h("button", { type: "button", class: "link", "data-key": `link-${name}`, onclick: () => openAction(name) }, text ?? name);
  }

  function section(key, title, content, isOpen) {
    return h("details", { class: "section", "data-key": key, open: isOpen }, h("summary", { "data-key": `${key}-summary` }, h("h3", {}, title)), h("div", {}, content));
  }

  return { open, close, refresh, reload: load, current: () => shown };
}

export const baseOf = (name) => name.split("[")[0];

// New content in place of the old, with what a person has opened, focused and scrolled to left as it is.
function replaceKeeping(root, content) {
  const opened = new Map();
  for (const details of root.querySelectorAll("details[data-key]")) opened.set(details.dataset.key, details.open);
  const focused = root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const scroll = root.scrollTop;
  root.replaceChildren();
  append(root, content);
  for (const details of root.querySelectorAll("details[data-key]")) {
    if (opened.has(details.dataset.key)) details.open = opened.get(details.dataset.key);
  }
  root.scrollTop = scroll;
  if (focused) {
    const again = [...root.querySelectorAll("[data-key]")].find((element) => element.dataset.key === focused);
    (again ?? root.querySelector("h2")).focus({ preventScroll: true });
  }
}
