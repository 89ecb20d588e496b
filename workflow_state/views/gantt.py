"""The Gantt chart of an execution, as an SVG document that needs no other file. Pure.

Each action has a bar from its start to its end. It is dark where a request was under way, and light where it waited.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from workflow_state.schema import ExecutionState
from workflow_state.views.colours import Colours, write_style
from workflow_state.views.text import plain, seconds, shorten, summary
from workflow_state.views.timeline import Row, Timeline

_WIDTH: Final = 1200
_MARGIN: Final = 20
_NOTES_WIDTH: Final = 190
_MOST_NAME: Final = 36
_MOST_NOTE: Final = 90
_CHARACTER: Final = 7.6  # how wide a character of the action ids is, in 12 px of a font of one width
_HEAD: Final = 92
_AXIS: Final = 22
_LEVEL: Final = 18
_GAP: Final = 6
# With more rows than this they are lower. The axis is repeated after so many rows.
_MANY_ROWS: Final = 100
_ROWS_WITHOUT_AXIS: Final = 30
_MOST_TICKS: Final = 10
_LEAST_BAR: Final = 2.0
_STEPS_MS: Final = [
    *(base * 10**power for power in range(4) for base in (1, 2, 5)),
    *(1000 * step for step in (10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)),
]
_DAY_MS: Final = 86_400_000
_ROLE: Final = 'role="graphics-document" aria-roledescription="Gantt chart"'
_HATCHING: Final = (
    '<defs><pattern id="wf-unanswered" width="5" height="5" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect class="paper" width="2" height="5"/></pattern></defs>'
)


@dataclass(frozen=True, slots=True)
class Frame:
    """The measures: the plot begins at `left`, is `width` wide for `end_ms`, and has rows that are `row` high."""

    left: float
    width: float
    end_ms: float
    row: int

    def x(self, moment_ms: float) -> float:
        """Return the horizontal place of a moment."""
        return self.left + self.width * moment_ms / self.end_ms


def draw_gantt(name: str, state: ExecutionState, timeline: Timeline) -> str:
    """Return the chart of an execution; `name` is its plan's."""
    rows = [row for level in timeline.levels for row in level]
    longest = max((min(len(row.action_id), _MOST_NAME) for row in rows), default=0)
    left = _MARGIN + 16 + max(60.0, longest * _CHARACTER)
    width = _WIDTH - left - _NOTES_WIDTH - _MARGIN
    frame = Frame(left, width, max(timeline.end_ms, 1.0), 15 if len(rows) > _MANY_ROWS else 22)
    ticks = find_ticks(frame.end_ms)
    body, height = _body(timeline, frame, ticks)
    title = shorten(plain(name), 120)
    status = f"{summary(state)}; execution {plain(state.id)}"
    chain = ", ".join(timeline.critical)
    description = f"{status}. The end was determined by, in order: {chain or 'nothing yet'}."
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="wf" {size} {_ROLE}>',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(description)}</desc>",
        f"<style>\n{_style()}</style>",
        _HATCHING,
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>',
        f'<text class="title" x="{_MARGIN}" y="32">{escape(title)}</text>',
        f'<text x="{_MARGIN}" y="52">{escape(status)}</text>',
        *_legend(rows),
        *body,
        "</svg>\n",
    ]
    return "\n".join(parts)


def find_ticks(end_ms: float) -> list[float]:
    """Return the moments that the axis marks: at most ten, at steps that people count in, such as 5 s or 1 min."""
    least = end_ms / _MOST_TICKS
    step = next((step for step in _STEPS_MS if step >= least), None)
    if step is None:
        step = _DAY_MS * math.ceil(least / _DAY_MS)
    return [number * step for number in range(int(end_ms // step) + 1)]


def clock(moment_ms: float) -> str:
    """Return a moment on the axis as a person reads it: `250 ms`, `1.5 s`, `2 min 30 s`, `3 h`, `2 d 6 h`."""
    if moment_ms < 1000:  # noqa: PLR2004 - a second
        return f"{moment_ms:g} ms" if moment_ms else "0"
    whole = round(moment_ms / 1000)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{moment_ms / 1000:g} s"
    units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")]
    words: list[str] = []
    for size, unit in units:
        count, whole = divmod(whole, size)
        words += [f"{count} {unit}"] if count else []
    return " ".join(words[:2])


def _body(timeline: Timeline, frame: Frame, ticks: Sequence[float]) -> tuple[list[str], int]:
    """Return the levels with their axes, and the height at which they end."""
    bands: list[str] = []
    marks: list[str] = []
    items: list[str] = []
    y = float(_HEAD)
    rows_since_axis = _ROWS_WITHOUT_AXIS
    joined: tuple[Row, float] | None = None
    for number, level in enumerate(timeline.levels, start=1):
        top = y
        for position, row in enumerate(level):
            if rows_since_axis >= _ROWS_WITHOUT_AXIS:
                marks += _axis(frame, ticks, y)
                y += _AXIS
                rows_since_axis = 0
            if position == 0:
                marks.append(f'<text class="level" x="{_MARGIN}" y="{y + 13:g}">level {number}</text>')
                y += _LEVEL
            rows_since_axis += 1
            items += _row(row, frame, y)
            # No line leads to an alternative, which runs within the time of the action before it.
            if row.is_critical and (joined is None or (row.begin_ms or 0.0) >= joined[0].end_ms):
                marks += [_join(joined, (row, y), frame)] if joined else []
                joined = row, y
            y += frame.row
        y += _GAP
        if number % 2 == 0:
            bands.append(f'<rect class="band" x="0" y="{top:g}" width="{_WIDTH}" height="{y - top:g}"/>')
    marks += _axis(frame, ticks, y)
    grid = "".join(f"M{frame.x(tick):.1f} {_HEAD + _AXIS}V{y:g}" for tick in ticks)
    parts = [*bands, f'<path class="grid" d="{grid}"/>', *marks, '<g role="list">', *items, "</g>"]
    return parts, round(y + _AXIS + _MARGIN)


def _axis(frame: Frame, ticks: Sequence[float], y: float) -> list[str]:
    return [
        f'<text class="tick" aria-hidden="true" x="{frame.x(tick):.1f}" y="{y + 15:g}">{clock(tick)}</text>'
        for tick in ticks
    ]


def _join(before: tuple[Row, float], after: tuple[Row, float], frame: Frame) -> str:
    """Return the line from where one action of the critical path ended to where the next began."""
    (first, first_y), (second, second_y) = before, after
    down = f"M{frame.x(first.end_ms):.1f} {first_y + frame.row / 2:g}V{second_y + frame.row / 2:g}"
    return f'<path class="join" d="{down}H{frame.x(second.begin_ms or 0.0):.1f}"/>'


def _row(row: Row, frame: Frame, y: float) -> Iterator[str]:
    told = f"{row.action_id}: {_told(row)}"
    kind = f"{row.state.status}{' critical' if row.is_critical else ''}"
    yield f'<g role="listitem" class="{kind}" aria-label={quoteattr(told)}><title>{escape(told)}</title>'
    base = y + frame.row / 2 + 4
    name = escape(shorten(row.action_id, _MOST_NAME))
    yield f'<text class="name" x="{_MARGIN + 10:g}" y="{base:g}">{name}</text>'
    if row.begin_ms is None:
        x, note = frame.left, shorten(_told(row), _MOST_NOTE)
    else:
        yield from _bar(row, frame, y)
        x, note = max(frame.x(row.end_ms), frame.x(row.begin_ms) + _LEAST_BAR), _beside(row)
    yield f'<text class="note" x="{x + 6:.1f}" y="{base:g}">{escape(note)}</text>'
    yield "</g>"


def _told(row: Row) -> str:
    """Return in words what a row shows, for people who can't see it."""
    if row.begin_ms is None:
        return plain(f"{row.state.status}{f': {row.note}' if row.note else ''}")
    words = f"{row.state.status}, began at {clock(round(row.begin_ms))}, took {seconds(row.duration_ms)}"
    attempts = f", {row.state.attempts} attempts" if row.state.attempts > 1 else ""
    return f"{words}{attempts}{', on the critical path' if row.is_critical else ''}"


def _beside(row: Row) -> str:
    """Return the text beside a bar: how long the action took, and whatever is unusual about it."""
    words = [seconds(row.duration_ms)]
    if row.state.status != "completed":
        words.append(str(row.state.status))
    if row.state.attempts > 1:
        words.append(f"{row.state.attempts} attempts")
    return " · ".join(words)


def _bar(row: Row, frame: Frame, y: float) -> Iterator[str]:
    begin = frame.x(row.begin_ms or 0.0)
    width = max(frame.x(row.end_ms) - begin, _LEAST_BAR)
    top, height = y + 3, frame.row - 6
    yield f'<rect class="bar" x="{begin:.1f}" y="{top:g}" width="{width:.1f}" height="{height}" rx="2"/>'
    for section in row.sections:
        x = frame.x(section.begin_ms)
        length = max(frame.x(section.end_ms) - x, 1.0)
        place = f'x="{x:.1f}" y="{top + 2:g}" width="{length:.1f}" height="{height - 4}"'
        yield f'<rect class="request" {place}/>'
        if not section.is_answered:
            yield f'<rect fill="url(#wf-unanswered)" {place}/>'


def _legend(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the meaning of the colours and marks that the chart has."""
    rows = list(rows)
    there = {str(row.state.status) for row in rows if row.begin_ms is not None}
    entries: list[tuple[str, str, list[str]]] = [
        (status, status, ["bar", "request"])
        for status in ("completed", "running", "failed", "skipped")
        if status in there
    ]
    shown = entries[0][0] if entries else "completed"
    entries += [("a request under way", shown, ["request"]), ("waiting", shown, ["bar"])]
    if any(not section.is_answered for row in rows for section in row.sections):
        entries.append(("a request without an answer", shown, ["request", "hatch"]))
    if any(row.is_critical for row in rows):
        entries.append(("critical path", f"{shown} critical", ["bar"]))
    x = float(_MARGIN)
    for words, status, marks in entries:
        yield f'<g class="{status}">'
        for mark in marks:
            look = 'fill="url(#wf-unanswered)"' if mark == "hatch" else f'class="{mark}"'
            inset = 0 if mark == "bar" else 2
            size = f'width="{22 - 2 * inset}" height="{12 - 2 * inset}"'
            yield f'<rect {look} x="{x + inset:g}" y="{66 + inset}" {size}/>'
        yield f'</g><text x="{x + 28:g}" y="76">{words}</text>'
        x += 46 + len(words) * 6.4


def _style() -> str:
    shape = (
        ".wf text { font: 12px system-ui, sans-serif; }\n"
        ".wf .title { font-size: 18px; font-weight: 600; }\n"
        ".wf .name { font-family: ui-monospace, Menlo, Consolas, monospace; }\n"
        ".wf .tick { font-size: 11px; text-anchor: middle; }\n"
        ".wf .level, .wf .note { font-size: 11px; }\n"
        ".wf .note { paint-order: stroke; stroke-width: 3; }\n"
        ".wf .bar { stroke-width: 1; }\n"
        ".wf .critical .bar { stroke-width: 2.5; }\n"
        ".wf .critical .name { font-weight: 700; }\n"
        ".wf .join { fill: none; stroke-width: 1.5; }\n"
        ".wf .grid { fill: none; stroke-width: 1; }\n"
    )
    return f"{shape}{write_style(_rules)}"


def _rules(colours: Colours) -> dict[str, str]:
    rules = {
        ".wf text": f"fill: {colours.text}",
        ".wf .paper": f"fill: {colours.paper}",
        ".wf .band": f"fill: {colours.ground['planned']}",
        ".wf .tick, .wf .level, .wf .note": f"fill: {colours.muted}",
        ".wf .note": f"stroke: {colours.paper}",
        ".wf .grid": f"stroke: {colours.grid}",
    }
    for status, line in colours.line.items():
        rules[f".wf .{status} .bar"] = f"fill: {colours.ground[status]}; stroke: {line}"
        rules[f".wf .{status} .request"] = f"fill: {line}"
    rules[".wf .critical .bar, .wf .join"] = f"stroke: {colours.text}"
    return rules
