"""What several test modules use. Nothing here is a test, and nothing here imports a conftest."""
