"""A level's messages: those that it starts with, and those that were lost.

A message has the same task id each time that it is published. So what is published twice is claimed once, and it counts
once.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from celery import Task

from workflow_state.engine.messages import ActionMessage, to_arguments
from workflow_state.engine.missing import MissingMessages, read_action, store_of
from workflow_state.rules.limits import require_few_requests
from workflow_state.rules.policy import level_priority
from workflow_state.schema import PlannedAction
from workflow_state.settings import get_settings
from workflow_state.store.alarms import put_off_alarm
from workflow_state.store.claims import WHICHEVER_IS_DUE, Whereabouts, find_whereabouts
from workflow_state.store.level_claims import LevelClaim
from workflow_state.store.names import ACTION_TASK, LEVEL_TASK, level_group_id
from workflow_state.store.position import LevelStart, begin_level

Item = TypeVar("Item")

_PUBLISHED_AT_ONCE = 100
_LOOKED_AT_ONCE = 1_000

# The body of a level's chord, as each message carries it: it says only that there is one. When all have ended, the
# record's next message is published (result_backend.py), which has the caller's own links.
_CHORD = {"task": LEVEL_TASK}


def start_level(
    task: Task,  # type: ignore[type-arg]
    number: int,
    missing: MissingMessages,
    claim: LevelClaim,
    *,
    begun_before: int,
) -> None:
    """Publish the chord of a level in place of the running task: its messages, and `execute_level` when all have ended.

    `task.replace(chord(…))` would do the same. Here the messages go out together, a hundred in a round trip, and each
    says of the chord's body only that there is one: the record has it. They are made one by one, so that a level of any
    size takes no more memory than a small one. `begun_before` is how many steps of the execution have begun so far.
    Raises LimitExceededError where these would be too many, and ClaimLostError where another worker has taken the level
    over; nothing was published then.
    """
    store, count = store_of(task), missing.count
    require_few_requests(get_settings(), begun_before + count)
    start = LevelStart(
        claim.holder, number, missing.wave, count, message_after(task, number), element_count=missing.element_count
    )
    # The record comes first: should this worker die halfway, it tells what was to be published.
    begin_level(store, start)
    if not count:
        # All of it was kept when the execution was resumed.
        task.app.signature(json.loads(start.next_message)).apply_async()
        return
    priority = max(level_priority(count), (task.request.delivery_info or {}).get("priority") or 0)
    _publish(task, number, missing.messages(store.execution_id), priority=priority)


def publish_lost(
    task: Task,  # type: ignore[type-arg]
    number: int,
    missing: MissingMessages,
    actions: Sequence[PlannedAction],
) -> None:
    """Publish those missing messages again of which nothing is under way, and set the time to look again.

    Each message takes its old place in the level's chord.
    """
    store, silence_s = store_of(task), get_settings().silence_before_recovery_s
    known = {action.id: action for action in actions}
    seconds, _ = store.client.time()
    overdue_s = seconds - silence_s
    # Nothing happens before a person answers, or before the next attempt is due.
    all_wait, next_s = True, store.retention_s / 4
    for batch in _batched(missing.messages(store.execution_id), _LOOKED_AT_ONCE):
        steps = [list(_steps_of(task, message, known)) for message in batch]
        where = find_whereabouts(store, sorted({name for names in steps for name in names}))
        lost = [
            replace(message, attempt=WHICHEVER_IS_DUE)
            for message, names in zip(batch, steps, strict=True)
            if all(is_lost(where[name], overdue_s) for name in names)
        ]
        _publish(task, number, lost)
        due_s = [value - overdue_s for value in where.values() if isinstance(value, float)]
        next_s = min([next_s, *due_s])
        all_wait = all_wait and all(value == "waiting" for value in where.values() if not isinstance(value, float))
    put_off_alarm(store, after_s=max(1, next_s if all_wait else silence_s))


def _publish(
    task: Task,  # type: ignore[type-arg]
    number: int,
    messages: Iterable[ActionMessage],
    **options: Any,
) -> None:
    """Publish messages of a level, a hundred in a round trip."""
    execution_id, action_task = str(task.request.id), task.app.tasks[ACTION_TASK]
    options |= {"group_id": level_group_id(execution_id, number), "chord": _CHORD, "root_id": execution_id}
    with task.app.producer_or_acquire() as producer, producer.batch(_PUBLISHED_AT_ONCE):
        for message in messages:
            args, kwargs = to_arguments(message)
            action_task.apply_async(
                args, kwargs, task_id=message.task_id, producer=producer, add_to_parent=False, **options
            )


def is_lost(where: Whereabouts, overdue_s: float) -> bool:
    """Return whether nothing of a step without a result is under way. A retry that is long overdue is lost as well."""
    return where < overdue_s if isinstance(where, float) else where == "nowhere"


def message_after(task: Task, number: int) -> str:  # type: ignore[type-arg]
    """Return the message that goes on after a level, as JSON: with the caller's own links, chord and group."""
    level_task: Any = task.app.tasks[LEVEL_TASK]
    message = level_task.signature_from_request(task.request, args=(number + 1,), kwargs={})
    message.options = {name: value for name, value in message.options.items() if value is not None}
    return json.dumps(message.set(immutable=True), separators=(",", ":"))


def _steps_of(
    task: Task,  # type: ignore[type-arg]
    message: ActionMessage,
    known: Mapping[str, PlannedAction],
) -> Iterator[str]:
    """Yield the steps that may be under way for a message: its own, and those of its alternatives."""
    name = message.action_id
    yield message.step
    while message.element is None:
        # An action that the level does not have is an alternative that stands in for a whole list.
        action = known.get(name) or read_action(task, name)
        if action is None or action.error_handling.alternative_action_id is None:
            return
        name = action.error_handling.alternative_action_id
        yield name


def _batched(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of that size, the last one shorter."""
    while batch := list(islice(items, size)):
        yield batch
