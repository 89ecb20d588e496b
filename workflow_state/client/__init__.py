"""What an application calls: look, confirm, cancel, resume, read."""
