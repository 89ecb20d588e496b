"""A plan as a diagram: its actions level by level, what depends on what, and how each action ended. Pure.

The same diagram is written for Mermaid and for Graphviz. Ids, names and expressions come from a plan, which anybody may
have written. So they are always escaped in both syntaxes, and nodes have keys of our own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from workflow_state.plans.levels import show_levels
from workflow_state.schema import ActionExecutionState, ExecutionPlan, ExecutionState, PlannedAction
from workflow_state.views.colours import LIGHT, PLANNED
from workflow_state.views.text import count, outcome, plain, shorten, summary

_MOST_TITLE: Final = 200
_MOST_LINE: Final = 48
_MANY_EDGES: Final = 1_000
IF_IT_FAILS: Final = "if it fails"
STANDBY_CAPTION: Final = "dashed: runs in place of the other, if that fails"
_NOT_YAML: Final = re.compile(r"[^\w ]")
# Mermaid reads labels as Markdown. Letters, digits and spaces are written as they are, and `_`, `-` and `.` between two
# of these. Everything else may mean something there, `www.` as well.
_MARKED: Final = re.compile(r"(?<![^\W_])[-_.]|[-_.](?![^\W_])|(?<=[wW])\.|[^\w\-. ]")


@dataclass(frozen=True, slots=True)
class Node:
    """An action. `key` is its name in the syntax of a diagram, and `kind` its status, or `planned`."""

    key: str
    name: str
    details: Sequence[str]
    kind: str
    is_standby: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge from a dependency to the action that waits for it, or from an action to its alternative."""

    source: str
    target: str
    is_alternative: bool


@dataclass(frozen=True, slots=True)
class Diagram:
    """A plan as it is drawn: its actions level by level, and the edges between them."""

    title: str
    description: str
    levels: Sequence[Sequence[Node]]
    edges: Sequence[Edge]

    @property
    def nodes(self) -> list[Node]:
        """All nodes, level by level."""
        return [node for level in self.levels for node in level]


def draw_plan(plan: ExecutionPlan, state: ExecutionState | None = None) -> Diagram:
    """Return the diagram of a valid plan, or of one execution of it."""
    levels = show_levels(plan.actions)
    states: Mapping[str, ActionExecutionState] = state.action_states if state else {}
    standby = {action.error_handling.alternative_action_id for action in plan.actions}
    keys = {action.id: f"a{number}" for number, action in enumerate(plan.actions)}
    nodes = [
        [_node(keys[action.id], action, states.get(action.id), action.id in standby) for action in level]
        for level in levels
    ]
    edges = [
        Edge(keys[dependency], keys[action.id], is_alternative=False)
        for action in plan.actions
        for dependency in dict.fromkeys(action.dependencies)
    ]
    edges += [
        Edge(keys[action.id], keys[alternative], is_alternative=True)
        for action in plan.actions
        if (alternative := action.error_handling.alternative_action_id) in keys
    ]
    description = f"{count(len(plan.actions), 'action')} in {count(len(levels), 'level')}"
    if state:
        description = f"execution {state.id}, {summary(state)}; {description}"
    return Diagram(shorten(plain(plan.name), _MOST_TITLE), description, nodes, edges)


def to_mermaid(diagram: Diagram) -> str:
    """Return the diagram as a Mermaid flowchart."""
    lines = ["---", f"title: {_yaml(diagram.title)}", "---", "flowchart LR"]
    lines += [f"  accTitle: {_marked(diagram.title)}", f"  accDescr: {_marked(diagram.description)}"]
    for number, level in enumerate(diagram.levels, start=1):
        lines.append(f'  subgraph level{number}["level {number}"]')
        lines += [f'    {node.key}["{"<br/>".join(map(_marked, [node.name, *node.details]))}"]' for node in level]
        lines.append("  end")
    for edge in diagram.edges:
        arrow = f'-. "{IF_IT_FAILS}" .->' if edge.is_alternative else "-->"
        lines.append(f"  {edge.source} {arrow} {edge.target}")
    members: dict[str, list[str]] = {}
    for node in diagram.nodes:
        members.setdefault(node.kind, []).append(node.key)
        if node.is_standby:
            members.setdefault("standby", []).append(node.key)
    members["level"] = [f"level{number}" for number in range(1, len(diagram.levels) + 1)]
    for kind, keys in members.items():
        style = f"fill:none,stroke:{LIGHT.line['pending']}" if kind == "level" else "stroke-dasharray:5 3"
        if kind in LIGHT.line:
            style = f"fill:{LIGHT.ground[kind]},stroke:{LIGHT.line[kind]},color:{LIGHT.text}"
        lines += [f"  classDef {kind} {style}", f"  class {','.join(keys)} {kind}"]
    return "\n".join(lines) + "\n"


def to_dot(diagram: Diagram) -> str:
    """Return the diagram in Graphviz's language, with a class for each status in place of colours."""
    caption = [diagram.title, diagram.description]
    caption += [STANDBY_CAPTION] if any(edge.is_alternative for edge in diagram.edges) else []
    label = "".join(rf"{line}\l" for line in map(_quoted, caption))
    # With many edges Graphviz takes long to uncross them, and in a picture of thousands nobody would see it.
    rounds = 1 if len(diagram.edges) < _MANY_EDGES else 0.2
    lines = [
        "digraph plan {",
        f'  rankdir=LR; newrank=true; nodesep=0.25; ranksep=0.6; mclimit={rounds}; bgcolor=white; label="{label}";',
        '  graph [labelloc=t labeljust=l fontname="Helvetica" fontsize=12];',
        '  node [shape=box style="rounded,filled" margin="0.16,0.06" fontname="Helvetica" fontsize=12];',
        "  edge [arrowsize=0.6];",
    ]
    for number, level in enumerate(diagram.levels, start=1):
        lines.append(f'  subgraph cluster_{number} {{ rank=same; class=level; label="level {number}"; style=rounded;')
        lines += [f"    {_dot_node(node)}" for node in level]
        lines.append("  }")
    level_of = {node.key: number for number, level in enumerate(diagram.levels) for node in level}
    for edge in diagram.edges:
        options = ["class=alternative", "style=dashed"] if edge.is_alternative else []
        # An edge that does not lead to a later level must not move the levels.
        options += ["constraint=false"] if level_of[edge.source] >= level_of[edge.target] else []
        lines.append(f"  {edge.source} -> {edge.target} [{' '.join(options)}];")
    # Invisible edges keep the levels in their order where no other edge leads from one to the next.
    firsts = [level[0].key for level in diagram.levels]
    lines += [f"  {before} -> {after} [style=invis weight=0];" for before, after in pairwise(firsts)]
    return "\n".join([*lines, "}"]) + "\n"


def _node(key: str, action: PlannedAction, state: ActionExecutionState | None, is_standby: bool) -> Node:  # noqa: FBT001
    details = [action.action_definition_id]
    if action.condition:
        words = "only if" if action.condition.else_ == "skip" else "fails unless"
        details.append(f"{words} {action.condition.if_}")
    if action.for_each:
        details.append(f"for each of {action.for_each}")
    if action.user_confirmation and action.user_confirmation.required:
        details.append(f"asks: {action.user_confirmation.title}")
    details = [shorten(plain(text), _MOST_LINE) for text in details]
    if state:
        details.append(outcome(state))
    return Node(key, action.id, details, str(state.status) if state else PLANNED, is_standby)


def _dot_node(node: Node) -> str:
    style = ' style="rounded,filled,dashed"' if node.is_standby else ""
    label = r"\n".join(map(_quoted, [node.name, *node.details]))
    return f'{node.key} [label="{label}" class={node.kind}{style}];'


def _quoted(text: str) -> str:
    """Return text as it is written in a string of Graphviz, in which a backslash and an entity mean themselves."""
    return plain(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


def _marked(text: str) -> str:
    """Return text for a Mermaid label. Every character that could mean something is an entity code, as in `#34;`."""
    return _MARKED.sub(lambda found: f"#{ord(found[0])};", plain(text))


def _yaml(text: str) -> str:
    """Return a title as a YAML string of letters, digits, spaces and escapes only.

    Mermaid removes tags from a title and shows `&` as `&amp;`, so these characters are replaced by their wide forms.
    """
    text = text.translate({ord(narrow): wide for narrow, wide in zip("&<>", "\uff06\uff1c\uff1e", strict=True)})
    return '"' + _NOT_YAML.sub(lambda found: rf"\U{ord(found[0]):08x}", text) + '"'
