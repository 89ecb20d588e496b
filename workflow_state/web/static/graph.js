// The plan as a graph: a band for each level, a button for each action, and the edges behind them.
//
// Few actions are cards with all their edges; more are small; a thousand are cells of a grid. Of these the edges are
// drawn for the action that is pointed at or has the focus.

import { append, duration, elapsed, h, icon, plain, setHidden, setText, svg, wordOf } from "./dom.js";

const MOST_CARDS = 60;
const MOST_CARDS_IN_A_LEVEL = 20;
const MOST_CHIPS = 300;
const NOTES = { fallback: "by its fallback", alternative: "by its alternative", assumed: "assumed done" };

export function drawGraph(root, graph, { open, now, hoverLine }) {
  const nodes = new Map();
  const dependents = new Map();
  const levels = [];
  const count = Object.keys(graph.actions).length;
  const widest = Math.max(0, ...graph.levels.map((ids) => ids.length));
  const kind = count <= MOST_CARDS && widest <= MOST_CARDS_IN_A_LEVEL ? "cards" : count <= MOST_CHIPS ? "chips" : "cells";
  const lines = svg("svg", { class: "edges", "aria-hidden": "true" });
  let current = null;
  let traced = null;
  let selected = null;

  root.classList.add(kind);
  root.replaceChildren(lines);
  for (const [id, action] of Object.entries(graph.actions)) {
    for (const dependency of action.dependencies) {
      if (!dependents.has(dependency)) dependents.set(dependency, []);
      dependents.get(dependency).push(id);
    }
  }
  graph.levels.forEach((ids, index) => {
    const name = h("h2", {}, `Level ${index + 1}`);
    const done = h("span", { class: "muted" });
    const row = h("div", { class: "nodes" }, orderOf(ids, index).map((id) => makeNode(id, index)));
    const band = h("div", { class: "level" }, h("div", { class: "level-name" }, name, done), row);
    levels.push({ ids, band, done });
    root.append(band);
  });
  current = nodes.values().next().value?.button ?? null;
  if (current) current.tabIndex = 0;

  root.addEventListener("keydown", move);
  root.addEventListener("focusin", (event) => {
    makeCurrent(event.target.closest("button[data-id]"));
    trace(event.target.closest("button[data-id]")?.dataset.id ?? null);
  });
  root.addEventListener("focusout", () => trace(null));
  root.addEventListener("pointerover", (event) => trace(event.target.closest("button[data-id]")?.dataset.id ?? null));
  root.addEventListener("pointerleave", () => trace(null));
  new ResizeObserver(scheduleEdges).observe(root);

  // Next to what it depends on, so that fewer edges cross. In a large level the plan's own order is easier to find in.
  function orderOf(ids, index) {
    if (kind !== "cards" || index === 0) return ids;
    const placeOf = new Map([...nodes.keys()].map((id) => [id, nodes.get(id).place]));
    const middle = (id) => {
      const places = graph.actions[id].dependencies.map((name) => placeOf.get(name)).filter((at) => at !== undefined);
      return places.length ? places.reduce((sum, at) => sum + at, 0) / places.length : 0.5;
    };
    const keys = new Map();
    let last = 0.5;
    for (const id of ids) keys.set(id, (last = graph.actions[id].standby ? last : middle(id)));
    return [...ids].sort((one, other) => keys.get(one) - keys.get(other));
  }

  function makeNode(id, index) {
    const action = graph.actions[id];
    const label = h("span", { class: "id", title: id }, id);
    const sub = h("span", { class: "sub" }, action.definition);
    const mark = h("span", { class: "mark" }, icon("pending"));
    const button = h(
      "button",
      { type: "button", class: "node pending", "data-id": id, tabindex: "-1", onclick: () => open(id) },
      mark,
      kind === "cells" ? null : label,
      kind === "cards" ? sub : null,
    );
    if (action.standby) button.classList.add("standby");
    const ids = graph.levels[index];
    const place = ids.length > 1 ? ids.indexOf(id) / (ids.length - 1) : 0.5;
    nodes.set(id, { id, action, button, sub, mark, index, place, brief: {}, status: "pending" });
    describe(nodes.get(id));
    return button;
  }

  function update(briefs) {
    for (const [id, brief] of Object.entries(briefs)) {
      const node = nodes.get(id);
      if (!node) continue;
      node.brief = brief;
      if (node.status !== brief.status) {
        node.button.classList.replace(node.status, brief.status);
        node.mark.replaceChildren(icon(brief.status));
        node.status = brief.status;
      }
      describe(node);
    }
    for (const { ids, done } of levels) {
      const ended = ids.filter((id) => ["completed", "failed", "skipped"].includes(nodes.get(id).status)).length;
      setText(done, ended ? `${ended} of ${ids.length}` : `${ids.length}`);
    }
    scheduleEdges();
  }

  function describe(node) {
    const { action, brief, button } = node;
    if (kind === "cards") setText(node.sub, subOf(node));
    const parts = [node.id, wordOf(node.status)];
    if (brief.attempts > 1) parts.push(`${brief.attempts} attempts`);
    if (brief.note) parts.push(NOTES[brief.note]);
    if (action.standby) parts.push("an alternative");
    if (action.forEach) parts.push("over a list");
    parts.push(`level ${node.index + 1}`);
    const label = plain(parts.join(", "));
    if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
  }

  function subOf({ action, brief, status }) {
    const parts = [];
    if (brief.elements) {
      const { running = 0, pending = 0, ...ended } = brief.elements;
      const done = Object.values(ended).reduce((sum, some) => sum + some, 0);
      parts.push(`${done} of ${done + running + pending}`);
    }
    if (status === "waiting") return "waits for your answer";
    if (status === "retrying") parts.push(`tries again in ${elapsed(brief.nextAttemptAt - now())}`);
    else if (status === "running") parts.push(elapsed(now() - brief.startedAt));
    else if (brief.duration !== undefined && status !== "skipped") parts.push(duration(brief.duration));
    if (brief.attempts > 1) parts.push(`attempt ${brief.attempts}`);
    if (brief.note) parts.push(NOTES[brief.note]);
    if (!parts.length && action.standby) parts.push("alternative");
    parts.unshift(action.definition);
    return parts.filter(Boolean).join(" · ");
  }

  function tick() {
    for (const node of nodes.values()) {
      if (kind === "cards" && (node.status === "running" || node.status === "retrying")) setText(node.sub, subOf(node));
    }
    if (traced) showLine();
  }

  function show(matches) {
    let shown = 0;
    for (const { band, ids } of levels) {
      let here = 0;
      for (const id of ids) {
        const { button } = nodes.get(id);
        // Not what has the focus: its state may change while it is looked at.
        const fits = matches(nodes.get(id)) || button === document.activeElement;
        setHidden(button, !fits);
        here += fits ? 1 : 0;
      }
      setHidden(band, here === 0);
      shown += here;
    }
    if (!current || current.hidden) makeCurrent([...nodes.values()].find((node) => !node.button.hidden)?.button ?? current);
    if (traced && nodes.get(traced).button.hidden) trace(null);
    scheduleEdges();
    return shown;
  }

  function select(id) {
    nodes.get(selected)?.button.removeAttribute("aria-current");
    selected = id;
    const button = nodes.get(id)?.button;
    button?.setAttribute("aria-current", "true");
    makeCurrent(button);
    scheduleEdges();
  }

  function focus(id) {
    nodes.get(id)?.button.focus();
  }

  // --- Moving -------------------------------------------------------------------------------------------------

  // One stop for the Tab key in the whole graph: the action that was pointed at last.
  function makeCurrent(button) {
    if (!button) return;
    if (current) current.tabIndex = -1;
    current = button;
    current.tabIndex = 0;
  }

  function move(event) {
    const from = event.target.closest("button[data-id]");
    if (!from || event.altKey || event.metaKey || event.shiftKey) return;
    const to = targetOf(event.key, event.ctrlKey, from);
    if (!to) return;
    event.preventDefault();
    to.focus();
  }

  function targetOf(key, isFar, from) {
    const here = [...(isFar ? root : from.parentElement).querySelectorAll("button[data-id]:not([hidden])")];
    if (key === "Home") return here[0];
    if (key === "End") return here.at(-1);
    if (isFar) return null;
    if (key === "ArrowLeft") return here[here.indexOf(from) - 1];
    if (key === "ArrowRight") return here[here.indexOf(from) + 1];
    if (key === "ArrowUp") return nearest(from, -1);
    if (key === "ArrowDown") return nearest(from, 1);
    return null;
  }

  // The button in the next row of the screen, above or below, that is nearest; a level may have several rows.
  function nearest(from, direction) {
    const start = from.getBoundingClientRect();
    let best = null;
    for (const { button } of nodes.values()) {
      if (button.hidden) continue;
      const at = button.getBoundingClientRect();
      const rows = (at.top - start.top) * direction;
      if (rows < 4) continue;
      const aside = Math.abs(at.left + at.width / 2 - start.left - start.width / 2);
      if (!best || rows < best.rows - 4 || (Math.abs(rows - best.rows) <= 4 && aside < best.aside)) {
        best = { button, rows, aside };
      }
    }
    return best?.button;
  }

  // --- Edges --------------------------------------------------------------------------------------------------

  let isScheduled = false;
  function scheduleEdges() {
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(() => {
      isScheduled = false;
      drawEdges();
    });
  }

  function trace(id) {
    const wanted = id ?? (root.contains(document.activeElement) ? (document.activeElement.dataset.id ?? null) : null);
    if (wanted === traced) return;
    traced = wanted;
    showLine();
    scheduleEdges();
  }

  function showLine() {
    const node = nodes.get(traced);
    setHidden(hoverLine, kind === "cards" || !node);
    if (!node) return;
    const line = [h("strong", {}, node.id), ` ${wordOf(node.status)} · ${subOf(node)} · level ${node.index + 1}`];
    hoverLine.replaceChildren(icon(node.status));
    hoverLine.className = `hovered ${node.status}`;
    append(hoverLine, line);
  }

  function drawEdges() {
    const lit = traced ?? selected;
    const wanted = [];
    for (const { id, action } of nodes.values()) {
      if (kind !== "cards" && id !== lit && !action.dependencies.includes(lit)) continue;
      for (const dependency of action.dependencies) {
        const isLit = id === lit || dependency === lit;
        if (kind === "cards" || isLit) wanted.push({ from: dependency, to: id, isLit });
      }
    }
    const near = new Set(wanted.filter(({ isLit }) => isLit).flatMap(({ from, to }) => [from, to]));
    near.delete(lit);
    for (const { id, action, button } of nodes.values()) {
      button.classList.toggle("near", near.has(id));
      if (kind === "cards" && action.alternative) {
        wanted.push({ from: id, to: action.alternative, isLit: id === lit, isAlternative: true });
      }
    }
    const frame = root.getBoundingClientRect();
    const at = (id) => {
      const button = nodes.get(id)?.button;
      if (!button || button.hidden) return null;
      const { left, top, width, height } = button.getBoundingClientRect();
      return { x: left - frame.left + root.scrollLeft, y: top - frame.top + root.scrollTop, width, height };
    };
    // What is lit is drawn last, over the others.
    wanted.sort((one, other) => one.isLit - other.isLit);
    const paths = [];
    for (const edge of wanted) {
      const [from, to] = [at(edge.from), at(edge.to)];
      if (!from || !to) continue;
      const done = nodes.get(edge.from).status === "completed" ? " done" : "";
      const look = `edge${done}${edge.isLit ? " lit" : ""}${edge.isAlternative ? " alternative" : ""}`;
      paths.push(svg("path", { d: edge.isAlternative ? sideways(from, to) : downwards(from, to), class: look }));
    }
    lines.setAttribute("width", root.scrollWidth);
    lines.setAttribute("height", root.scrollHeight);
    lines.replaceChildren(...paths);
  }

  return { update, tick, show, select, focus, dependents: (id) => dependents.get(id) ?? [], node: (id) => nodes.get(id), kind };
}

function downwards(from, to) {
  const [x1, y1] = [from.x + from.width / 2, from.y + from.height];
  const [x2, y2] = [to.x + to.width / 2, to.y];
  const bend = Math.max(14, (y2 - y1) / 2);
  return `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`;
}

function sideways(from, to) {
  if (Math.abs(from.y - to.y) > 4) return downwards(from, to);
  const [x1, x2] = from.x < to.x ? [from.x + from.width, to.x] : [from.x, to.x + to.width];
  const y = from.y + from.height / 2;
  return `M${x1} ${y}L${x2} ${y}`;
}
