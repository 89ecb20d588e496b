"""The Celery side: queue, results, levels, attempts, and looking after executions."""
