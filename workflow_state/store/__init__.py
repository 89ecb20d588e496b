"""What Redis keeps: every change is one atomic step."""
