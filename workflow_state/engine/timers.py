"""What a worker does again and again beside its tasks, by the timer of its consumer."""

from collections.abc import Callable
from typing import Any

from celery import bootsteps


class TimedStep(bootsteps.StartStopStep):
    """A step of the worker's consumer with one timer, which ends when the consumer stops or connects anew."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self.timer: Any = None

    def repeat(self, consumer: Any, every_s: float, call: Callable[..., object], *arguments: Any) -> None:
        """Call this from now on. It runs in the event loop, so messages wait for it."""
        self.timer = consumer.timer.call_repeatedly(every_s, call, arguments)

    def stop(self, consumer: Any) -> None:
        """End it."""
        del consumer
        if self.timer:
            self.timer.cancel()
            self.timer = None
