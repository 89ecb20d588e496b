"""References in a plan: `parse_reference` reads one, `resolve_reference` returns what it stands for."""

from workflow_state.plans.references import ParsedReference, find_references, parse_reference
from workflow_state.plans.resolving import resolve_reference, resolve_value

__all__ = ["ParsedReference", "find_references", "parse_reference", "resolve_reference", "resolve_value"]
