"""Outputs that are too large or too binary for the state, in a folder or an object store.

Ask `outputs` to store one, to read one back, and to remove those that have expired.
"""
