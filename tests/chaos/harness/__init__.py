"""What does harm to real processes, and what judges the outcome."""
