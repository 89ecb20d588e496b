"""Run a plan of HTTP actions in the background on Celery and Redis."""
