"""Credentials, and OAuth 2 tokens."""
