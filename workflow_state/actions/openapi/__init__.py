"""Action definitions made of an OpenAPI 3 document.

Ask `document` to read the file, `importer` for the definitions, and `report` what was left out.
"""
