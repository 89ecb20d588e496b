"""The Celery side: it publishes levels, makes attempts, stores results, and looks after executions that fall silent.

Ask it to make the attempt that a message asks for, to start a level, or to go on with what waits. What Redis keeps is
the store's to know, and what follows from it the rules'.
"""
