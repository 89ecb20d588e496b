"""Action definitions: read from files, checked, and looked up by id.

Ask `catalog` for a definition by its id. `files` reads YAML and JSON, `rules` says what is wrong with a definition,
`yaml` writes definitions.
"""
