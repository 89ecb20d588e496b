"""Definitions from OpenAPI documents."""
