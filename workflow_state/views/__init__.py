"""How plans and executions look: `text` for a terminal, `diagram` for a graph, `gantt` for a chart. Pure.

Ask `timeline` when each action ran; `svg` has Graphviz lay out a diagram.
"""
