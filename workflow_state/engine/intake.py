"""What a worker lets in: a message that nobody can carry out is dropped once, with a line in the log.

kombu and Celery trust what is on a queue. Whatever they stumble over ends the worker; its shutdown puts the message
back, and the next worker ends over it too. Two places keep that from happening: the transport (broker.py) drops what is
no message at all, and the step below what asks for nothing that a worker can do.

A dropped message of ours is as good as a lost one: the sweep finds out that something lacks.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps

from workflow_state.engine.cancelling import cancel_where_stamp_is_revoked
from workflow_state.engine.malformed import MISREAD, describe_message, drop, find_task_problem, where_raised
from workflow_state.engine.messages import ActionMessage
from workflow_state.store.names import ACTION_TASK, TASK_PREFIX

logger = logging.getLogger(__name__)


class Intake(bootsteps.StartStopStep):
    """Have the consumer look at each message before Celery takes it for one."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        """Stand between the transport and Celery's own handler, which the event loop asks for after this step."""
        make_handler = type(consumer).create_task_handler

        def create_task_handler(*args: Any, **kwargs: Any) -> Callable[[Any], None]:
            return _guard(consumer, make_handler(consumer, *args, **kwargs))

        consumer.create_task_handler = create_task_handler


def _guard(consumer: Any, receive: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return the handler that drops what is malformed, and hands on all else."""
    # What they take is what their messages say; `run` of a bound task is without `self`.
    functions = {name: task.run for name, task in consumer.app.tasks.items() if name.startswith(TASK_PREFIX)}
    functions[ACTION_TASK] = ActionMessage

    def on_task_received(message: Any) -> None:
        if problem := find_task_problem(message, functions):
            drop(describe_message(message), problem)
            message.reject_log_error(logger, consumer.connection_errors)
            return
        if message.headers["task"] in functions:
            _keep_ending(consumer.app, message.headers)
        try:
            receive(message)
        except MISREAD as error:
            # A worker that loses its connection meanwhile, or ends, raises none of them.
            drop(describe_message(message), where_raised(error))
            if not message.acknowledged:
                message.reject_log_error(logger, consumer.connection_errors)

    return on_task_received


def _keep_ending(app: Celery, headers: dict[str, Any]) -> None:
    """Take from a message of ours what would keep its execution from ending."""
    # The end of an execution, and of an action, is a result; an application may want none of its own tasks'.
    headers.pop("ignore_result", None)
    cancel_where_stamp_is_revoked(app, headers)
