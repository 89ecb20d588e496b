"""What Redis keeps of executions, and what changes it. Each change is one atomic step: a command, or a Lua script.

Ask it where an execution or a step stands, and tell it what has happened. It decides nothing, publishes no message and
sends no request. A new key goes into names.py, a new atomic step into `lua/`.
"""
