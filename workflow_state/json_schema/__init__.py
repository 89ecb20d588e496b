"""JSON Schema: whether a schema can be used, and what does not fit it."""
