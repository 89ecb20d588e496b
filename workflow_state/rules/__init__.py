"""What follows from what has happened. Pure."""
