"""Connections: which addresses are allowed, how a name is looked up, when an exchange ends, and the pool.

Ask `client` for this process's HTTP client, and begin each exchange with `deadline.begin_exchange`.
"""
