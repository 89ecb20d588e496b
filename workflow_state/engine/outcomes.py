"""What an attempt comes to, and the one place that tells Celery."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery import Task
from celery.exceptions import Ignore

from workflow_state import hooks
from workflow_state.engine.messages import ActionMessage, Summary, to_arguments
from workflow_state.schema import ErrorCategory


@dataclass(frozen=True, slots=True)
class Finished:
    """The planned action has ended, in this state (JSON data)."""

    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RetryLater:
    """This message comes in `delay_s`. Celery stores and shows the reason.

    `category` is that of the failed request's error. It is None where nothing was sent.
    """

    message: ActionMessage
    delay_s: float
    reason: Exception | None = None
    category: ErrorCategory | None = None


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The action failed. This message's action, its alternative, takes its place in the chord."""

    message: ActionMessage


@dataclass(frozen=True, slots=True)
class Waiting:
    """A person is asked. Whoever answers publishes the message that is stored beside the claim."""


@dataclass(frozen=True, slots=True)
class WithoutEffect:
    """The message changes nothing: the attempt is another delivery's, or is over, or its execution's record is gone."""


Outcome = Finished | RetryLater | HandedOver | Waiting | WithoutEffect


def answer_celery(task: Task, outcome: Outcome) -> Summary:  # type: ignore[type-arg]
    """Return what the task is to return; raise Celery's Retry or Ignore where it has no result yet.

    Call it from the task itself. Celery copies and formats the traceback of what it raises, which takes longer than a
    millisecond where the stack is deep.
    """
    match outcome:
        case Finished(state):
            return Summary(state)
        case RetryLater(message, delay_s, reason, category):
            # Before the message is published: from then on the next attempt may be under way in this process.
            hooks.retry(message.definition_id, category)
            args, kwargs = to_arguments(message)
            raise task.retry(exc=reason, args=args, kwargs=kwargs, countdown=delay_s, throw=False)
        case HandedOver(message):
            args, kwargs = to_arguments(message)
            # It raises Ignore once the message is published.
            raise task.replace(task.si(*args, **kwargs))
        case Waiting() | WithoutEffect():
            # The chord goes on waiting.
            raise Ignore
