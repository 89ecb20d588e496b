// The two questions that the page itself asks: whether to cancel, and how to resume.

import { ask, h, plain, plural } from "./dom.js";

export function makeDialogs(dialog, { api, cancelled, resumed }) {
  let back = null;

  dialog.addEventListener("close", () => {
    dialog.replaceChildren();
    back?.focus();
  });

  function show(content) {
    dialog.replaceChildren(...content);
    if (!dialog.open) {
      back = document.activeElement;
      dialog.showModal();
    }
    // What is asked comes first, not the button that says yes.
    dialog.querySelector("h2").focus();
  }

  function buttons(text, kind, act, problem) {
    const go = h("button", { type: "submit", class: kind }, text);
    const leave = h("button", { type: "button", onclick: () => dialog.close() }, "Back");
    const form = h("form", { method: "dialog" }, problem, h("div", { class: "buttons" }, go, leave));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      problem.textContent = "";
      try {
        await act();
      } catch (error) {
        problem.textContent = plain(error.message);
      } finally {
        go.disabled = false;
      }
    });
    return form;
  }

  const title = (text) => h("h2", { id: "dialog-title", tabindex: "-1" }, text);
  const alertLine = () => h("p", { class: "problem", role: "alert" });

  function cancel() {
    const act = async () => {
      await ask(`${api}/cancel`, {});
      dialog.close();
      cancelled();
    };
    show([
      title("Cancel this execution?"),
      h("p", {}, "Nothing more is started. A request that is under way ends by itself, and what waits ends at once."),
      buttons("Cancel the execution", "danger", act, alertLine()),
    ]);
  }

  async function resume(kept, all) {
    show([title("Resume this execution?"), h("p", { class: "muted" }, "Looking what there is to decide …")]);
    let undecided;
    try {
      undecided = Object.entries(await ask(`${api}/undecided`));
    } catch (error) {
      show([
        title("It can't be resumed"),
        h("p", { class: "problem" }, error.message),
        h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Back")),
      ]);
      return;
    }
    const decisions = undecided.map(([name, why], index) => decision(name, why, index));
    const act = async () => {
      const body = { assumeDone: {}, sendAgain: [] };
      for (const { name, read } of decisions) {
        const chosen = read();
        if (chosen.again) body.sendAgain.push(name);
        else body.assumeDone[name] = chosen.output;
      }
      const { id } = await ask(`${api}/resume`, body);
      resumed(id);
    };
    const question = decisions.length
      ? h("p", {}, `${plural(decisions.length, "request was", "requests were")} sent when the worker was lost, and nobody knows whether ${decisions.length === 1 ? "it was" : "they were"} done. Find out at the server, and say which:`)
      : null;
    const keptText = `${plural(kept, "completed action")} of ${all} ${kept === 1 ? "is" : "are"} kept`;
    show([
      title("Resume this execution?"),
      h("p", {}, kept ? `A new execution runs what is left. ${keptText}, and not sent again.` : "A new execution runs all of it: nothing was completed."),
      question,
      ...decisions.map((item) => item.field),
      buttons("Resume", "primary", act, alertLine()),
    ].filter(Boolean));
  }

  function decision(name, why, index) {
    const group = `decision-${index}`;
    const output = h("textarea", { rows: "2", spellcheck: "false", "aria-label": `Output of ${name}, as JSON`, placeholder: "null" });
    const done = h("input", { type: "radio", name: group, value: "done", required: true });
    const again = h("input", { type: "radio", name: group, value: "again" });
    output.addEventListener("input", () => (done.checked = true));
    const field = h(
      "fieldset",
      { class: "decision" },
      h("legend", {}, name),
      h("p", { class: "muted" }, why),
      h("label", {}, done, " It was done. Send nothing, and go on with this output (JSON):"),
      output,
      h("label", {}, again, " It was not done. Send it again."),
    );
    function read() {
      if (again.checked) return { again: true };
      if (!done.checked) throw new Error(`Say of ${name} whether it was done.`);
      try {
        return { output: JSON.parse(output.value.trim() || "null") };
      } catch {
        throw new Error(`The output of ${name} is no JSON; a text is written in quotes.`);
      }
    }
    return { name, field, read };
  }

  return { cancel, resume };
}
