"""HTTP actions: the catalog of definitions, and sending one request."""
