"""Action definitions: their files, their rules and the catalog."""
