"""Action definitions, and the HTTP requests that they describe. Nothing here knows of plans, Celery or Redis.

Ask `execute` to send one request, `definitions` for what may be called, `openapi` to make definitions of a document.
"""
