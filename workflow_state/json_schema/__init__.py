"""JSON Schema: whether a schema can be used, what in a value does not fit it, and what it says of one place.

Ask `compiled` to check a value, `paths` which types a place can have, and `inputs` how an action's inputs stand to its
inputSchema.
"""
