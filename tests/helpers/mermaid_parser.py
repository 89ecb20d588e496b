"""The real Mermaid, without a browser: its own parser, from the package mermaidx, in an embedded JavaScript engine."""

import html
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

_READ = """
globalThis.mermaid = (globalThis.__esbuild_esm_mermaid_nm?.mermaid.default ?? globalThis.mermaid);
mermaid.initialize({startOnLoad: false, maxTextSize: 10000000, maxEdges: 100000});
globalThis.read = text => {
  mermaid.mermaidAPI.getDiagramFromText(text).then(
    diagram => {
      globalThis.answer = JSON.stringify({
        nodes: [...diagram.db.getVertices().values()].map(node => [node.id, node.text, node.classes]),
        edges: diagram.db.getEdges().map(edge => [edge.start, edge.end, edge.stroke]),
        levels: diagram.db.getSubGraphs().map(level => [level.title, level.nodes]),
      });
    },
    error => { globalThis.answer = JSON.stringify({error: String(error)}); },
  );
};
"""
# An entity code as Mermaid keeps it until it draws.
_ENTITY = re.compile("ﬂ°°(\\d+)¶ß")


class MermaidParser:
    """Reads flowcharts."""

    def __init__(self) -> None:
        """Load Mermaid once; that takes a third of a second."""
        quickjs = pytest.importorskip("quickjs")
        found = importlib.util.find_spec("mermaidx")
        if found is None or found.origin is None:
            pytest.skip("mermaidx is not installed")
        self._context = quickjs.Context()
        self._context.add_callable("__log", lambda _: None)
        for name in ("dom_shim.js", "mermaid.js"):
            self._context.eval((Path(found.origin).parent / "assets" / name).read_text())
        self._context.eval(_READ)

    def read(self, text: str) -> dict[str, Any]:
        """Return the nodes with their lines as they are drawn, the edges and the levels; fail on an error."""
        self._context.eval(f"read({json.dumps(text)})")
        while self._context.execute_pending_job():
            pass
        answer = json.loads(self._context.eval("answer.slice(0)"))
        assert "error" not in answer, f"{answer['error']}\n{text}"
        answer["nodes"] = {
            key: {"lines": [html.unescape(_ENTITY.sub(r"&#\1;", line)) for line in text.split("<br/>")], "is": classes}
            for key, text, classes in answer["nodes"]
        }
        return answer
