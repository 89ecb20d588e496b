"""References: what `workflow_state.plans.references` hands out."""

from workflow_state.plans.references import (
    ParsedReference,
    find_references,
    parse_reference,
    resolve_reference,
    resolve_value,
)

__all__ = ["ParsedReference", "find_references", "parse_reference", "resolve_reference", "resolve_value"]
