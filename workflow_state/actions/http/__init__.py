"""One HTTP message: built, read, redacted and explained."""
