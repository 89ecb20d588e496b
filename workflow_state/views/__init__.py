"""How plans and executions look: as text, as a graph, as a Gantt chart. Pure."""
