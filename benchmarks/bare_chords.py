"""The baseline: the same HTTP calls on Celery chords as one writes them by hand, with Celery's own settings.

No retries, no claims, nothing that survives a lost worker, no state that anybody could look at: what is left is what
Celery itself costs. Of the ways to write it (a chain of groups, a chain of chords, a level that replaces itself by the
next one) this is the fastest on Celery 5.7. The pool is ours, since it is to be compared with.
"""

import os
from typing import Any

import httpx
from celery import Celery, Task, chord, group

app = Celery("bare_chords", broker=os.environ["BENCH_BARE_URL"], backend=os.environ["BENCH_BARE_URL"])
app.conf.update(worker_pool="threads", worker_concurrency=int(os.environ["BENCH_CONCURRENCY"]))
client = httpx.Client(limits=httpx.Limits(max_connections=None))


@app.task(name="bare_chords.call")
def call(url: str) -> Any:
    """Make one call, and return its answer."""
    return client.get(url).raise_for_status().json()


@app.task(name="bare_chords.run_level", bind=True)
def run_level(self: Task, levels: list[list[str]]) -> Any:  # type: ignore[type-arg]
    """Run the first of these levels, and after it the others."""
    if not levels:
        return "completed"
    now, *later = levels
    return self.replace(chord(group(call.si(url) for url in now), run_level.si(later)))
