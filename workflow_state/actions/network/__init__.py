"""Where the bytes go: allowed addresses, look-up, deadline, and the pool of connections."""
