"""Outputs that are too large or too binary for the state."""
