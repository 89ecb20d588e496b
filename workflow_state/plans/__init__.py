"""What a plan says: references, conditions, levels, and whether it can be run. Pure."""
