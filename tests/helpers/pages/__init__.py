"""Runs what the pages of the documentation show."""
