"""What a plan's actions must end as: the design's rules, read naively, and without a line of the engine's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REFERENCE = re.compile(r"\$\{(?P<action>\w+)\.(?P<field>output|status)(?P<path>(?:\.\w+)*)\}")


@dataclass(frozen=True)
class End:
    """How an action ended; `blocked_by` names the failed action because of which it was skipped."""

    status: str
    output: Any = None
    blocked_by: str | None = None


class Unresolved(Exception):  # noqa: N818 - it fails an action of a plan, not the interpreter
    """A reference points at nothing."""


def interpret(plan: Mapping[str, Any], answers: Mapping[str, str]) -> tuple[str, dict[str, End]]:
    """Return the execution's status and each action's end, where each call is answered "ok" or "fail".

    A call that is ok answers like /echo does: `{"name": …, "body": {…}}`. No forEach, no confirmation; an alternative's
    failure is its primary's to bear, and stops no plan by itself.
    """
    actions = {action["id"]: action for action in plan["actions"]}
    levels = _levels(actions)
    ends: dict[str, End] = {}
    culprit = None
    for number in range(1 + max(levels.values())):
        level = [name for name in actions if levels.get(name) == number]
        for name in level:
            _run(name, actions, answers, ends)
        failed = [name for name in level if ends[name].status == "failed" and not _continues(actions[name])]
        if failed:
            culprit = failed[0]
            break
    rest = {name: End("skipped", blocked_by=culprit) for name in actions if name not in ends}
    return "failed" if culprit else "completed", ends | rest


def _levels(actions):
    """Return the level of each action but the alternatives, which run where their primaries stand."""
    primaries = {name: [other for other in actions if _alternative(actions[other]) == name] for name in actions}

    def places(name):
        return {place for primary in primaries[name] for place in places(primary)} or {name}

    def level(place):
        here = [name for name in actions if place in places(name)]
        ahead = {other for name in here for dependency in actions[name]["dependencies"] for other in places(dependency)}
        return max((1 + level(other) for other in ahead - {place}), default=0)

    return {name: level(name) for name in actions if not primaries[name]}


def _run(name, actions, answers, ends, ahead=()):
    """Run an action to its end; `ahead` are those that failed before it, in whose place it runs."""
    if name in ends:
        return ends[name]
    action, handling = actions[name], actions[name].get("errorHandling", {})
    ends[name] = end = _attempt(action, answers[name], ends, ahead)
    if end.status == "failed" and _alternative(action):
        stand_in = _run(_alternative(action), actions, answers, ends, (*ahead, name))
        end = End("completed", stand_in.output) if stand_in.status == "completed" else end
    if end.status == "failed" and "fallbackValue" in handling:
        end = End("completed", handling["fallbackValue"])
    ends[name] = end
    return end


def _attempt(action, answer, ends, ahead):
    """Return how an action ends by itself, before anything makes up for its failure."""
    condition = action.get("condition", {"if": ""})
    seen = {name: ends.get(name, End("skipped")) for name in action["dependencies"]}
    read = {match["action"] for match in REFERENCE.finditer(condition["if"]) if match["field"] == "status"}
    for name in [] if _continues(action) else action["dependencies"]:
        root = name if seen[name].status == "failed" else seen[name].blocked_by
        if root and name not in read and name not in ahead:
            return End("skipped", blocked_by=root)
    try:
        # A reference after a clause that is false is not read.
        if not all(_holds(clause, seen) for clause in condition["if"].split(" && ")):
            return End("failed" if condition.get("else") == "fail" else "skipped")
        inputs = {key: _resolve(value, seen) for key, value in action["inputs"].items()}
    except Unresolved:
        return End("failed")
    body = {key.removeprefix("body."): value for key, value in inputs.items() if key.startswith("body.")}
    return End("completed", {"name": inputs["name"], "body": body or None}) if answer == "ok" else End("failed")


def _holds(clause, seen):
    """Evaluate one reference, or its comparison with a text; an empty clause holds."""
    reference, operator, text = re.fullmatch(r"(\S*)(?: ([!=]=) '(.*)')?", clause).groups()
    value = _resolve(reference, seen)
    return not clause or (bool(value) if operator is None else (value == text) == (operator == "=="))


def _resolve(value, seen):
    """Return what an input stands for: itself, or what the one reference that it is points at."""
    match = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    end = seen[match["action"]]
    if match["field"] == "status":
        return end.status
    if end.status == "skipped" and not end.blocked_by:
        return None
    if end.status != "completed":
        raise Unresolved(value)
    found = end.output
    for key in match["path"].split(".")[1:]:
        if not isinstance(found, dict) or key not in found:
            raise Unresolved(value)
        found = found[key]
    return found


def _alternative(action):
    return action.get("errorHandling", {}).get("alternativeActionId")


def _continues(action):
    return action.get("errorHandling", {}).get("continueOnFailure", False)
