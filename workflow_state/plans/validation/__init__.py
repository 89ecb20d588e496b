"""Every problem of a plan, found in one pass."""
