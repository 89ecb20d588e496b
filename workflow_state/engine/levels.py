"""A level's messages: those that it starts with, and those that were lost.

A message has the same task id each time that it is published. So what is published twice is claimed once, and it counts
once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from celery import Task, group
from celery import states as states_of_celery
from celery.canvas import Signature

from workflow_state.engine.contents import with_stored_values
from workflow_state.engine.messages import ActionMessage, Summary, from_arguments, message_of, to_arguments
from workflow_state.rules.for_each import count_elements, element_id, joined_state
from workflow_state.rules.policy import is_of_unknown_outcome, level_priority, reads_plan_inputs, settle_failure
from workflow_state.rules.states import with_unneeded
from workflow_state.schema import ActionExecutionState, ActionStatus, PlannedAction
from workflow_state.settings import get_settings
from workflow_state.store.alarms import put_off_alarm
from workflow_state.store.claims import WHICHEVER_IS_DUE, Whereabouts, find_whereabouts, remember_failure
from workflow_state.store.execution import ExecutionStore, open_store
from workflow_state.store.level_claims import LevelClaim
from workflow_state.store.names import ACTION_TASK, LEVEL_TASK, action_task_id, level_group_id
from workflow_state.store.position import LevelStart, begin_level
from workflow_state.store.records import read_actions, read_inputs
from workflow_state.store.results import read_results

_PUBLISHED_AT_ONCE = 100

# The body of a level's chord, as each message carries it: it says only that there is one. When all have ended, the
# record's next message is published (result_backend.py), which has the caller's own links.
_CHORD = {"task": LEVEL_TASK}


@dataclass(frozen=True, slots=True)
class MissingMessages:
    """Messages of a level whose results are missing.

    The first wave has those of the level's actions. The second comes when these have ended: the messages of
    alternatives that stand in for whole lists.
    """

    messages: Sequence[Signature[Any]]
    wave: Literal[1, 2] = 1


def store_of(task: Task) -> ExecutionStore:  # type: ignore[type-arg]
    """Return where the execution of a running execute_plan or execute_level is stored: it has the task's id."""
    return open_store(task.app.backend, str(task.request.id))


def start_level(
    task: Task,  # type: ignore[type-arg]
    number: int,
    missing: MissingMessages,
    claim: LevelClaim,
) -> None:
    """Publish the chord of a level in place of the running task: its messages, and `execute_level` when all have ended.

    `task.replace(chord(…))` would do the same. Here the messages go out together, a hundred in a round trip, and each
    says of the chord's body only that there is one: the record has it. Raises ClaimLostError where another worker has
    taken the level over.
    """
    execution_id, header = str(task.request.id), missing.messages
    start = LevelStart(claim.holder, number, missing.wave, len(header), message_after(task, number))
    # The record comes first: should this worker die halfway, it tells what was to be published.
    begin_level(store_of(task), start)
    if not header:
        # All of it was kept when the execution was resumed.
        task.app.signature(json.loads(start.next_message)).apply_async()
        return
    priority = max(level_priority(len(header)), (task.request.delivery_info or {}).get("priority") or 0)
    for message in header:
        message.set(priority=priority)
    with task.app.producer_or_acquire() as producer, producer.batch(_PUBLISHED_AT_ONCE):
        group(header, app=task.app).apply_async(
            task_id=level_group_id(execution_id, number),
            chord=_CHORD,
            root_id=execution_id,
            producer=producer,
            add_to_parent=False,
        )


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
    steps = [list(_steps_of(task, message, known)) for message in missing.messages]
    where = find_whereabouts(store, sorted({name for names in steps for name in names}))
    seconds, _ = store.client.time()
    overdue_s = seconds - silence_s
    lost = [
        message
        for message, names in zip(missing.messages, steps, strict=True)
        if all(is_lost(where[name], overdue_s) for name in names)
    ]
    if lost:
        group_id = level_group_id(store.execution_id, number)
        for message in lost:
            message.kwargs["attempt"] = WHICHEVER_IS_DUE
            message.apply_async(group_id=group_id, chord=_CHORD, root_id=store.execution_id)
    waits_s = [value - overdue_s for value in where.values() if isinstance(value, float)]
    if all(value == "waiting" for value in where.values() if not isinstance(value, float)):
        # Nothing happens before a person answers, or before the next attempt is due.
        after_s = min([*waits_s, store.retention_s / 4])
    else:
        after_s = silence_s
    put_off_alarm(store, after_s=max(1, after_s))


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
    message: Signature[Any],
    known: Mapping[str, PlannedAction],
) -> Iterator[str]:
    """Yield the steps that may be under way for a message: its own, and those of its alternatives."""
    told = from_arguments(message.args, message.kwargs)
    name = told.action_id
    yield told.step
    while told.element is None:
        # An action that the level does not have is an alternative that stands in for a whole list.
        action = known.get(name) or _read_action(task, name)
        if action is None or action.error_handling.alternative_action_id is None:
            return
        name = action.error_handling.alternative_action_id
        yield name


def _read_action(task: Task, action_id: str) -> PlannedAction | None:  # type: ignore[type-arg]
    """Return an action of the running task's execution, or None where its record has none of that id."""
    found = read_actions(store_of(task), [action_id])
    return found[0] if found else None


def find_missing_messages(
    task: Task,  # type: ignore[type-arg]
    actions: Sequence[PlannedAction],
    results: dict[str, dict[str, Any]],
) -> MissingMessages:
    """Return the messages of a level whose results are missing.

    Where all elements of a list have finished, the state that they add up to is stored, and added to `results`.
    """
    header: list[Signature[Any]] = []
    of_lists: list[Signature[Any]] = []
    for action in actions:
        if action.id in results:
            continue
        count = _count_elements(task, action) if action.for_each else 0
        if count == 0:
            header.append(_message(task, action))
            continue
        ids = [element_id(action.id, index) for index in range(count)]
        finished = read_results(store_of(task), ids)
        header += [_message(task, action, index) for index, name in enumerate(ids) if name not in finished]
        if len(finished) == count:
            state, message = _join(task, action, [finished[name] for name in ids])
            if message is None:
                results[action.id] = state
            else:
                of_lists.append(message)
    return MissingMessages(header) if header or not of_lists else MissingMessages(of_lists, wave=2)


def _join(
    task: Task,  # type: ignore[type-arg]
    action: PlannedAction,
    states: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], Signature[Any] | None]:
    """Store the state that an action's elements add up to; or return the message of the alternative in its place."""
    execution_id = str(task.request.id)
    state = joined_state(action, states)
    if is_of_unknown_outcome(state):
        # It may have been done: nothing takes its place.
        return _store(task, action, state), None
    alternative_id = action.error_handling.alternative_action_id
    alternative = _read_action(task, alternative_id) if alternative_id else None
    if state.status is ActionStatus.FAILED and alternative:
        remember_failure(store_of(task), action.id, state.to_json_data())
        return {}, _signature(task, message_of(execution_id, alternative, in_place_of=[action.id]))
    return _store(task, action, settle_failure(action, state)), None


def _store(task: Task, action: PlannedAction, state: ActionExecutionState) -> dict[str, Any]:  # type: ignore[type-arg]
    data = state.to_json_data()
    task_id = action_task_id(str(task.request.id), action.id)
    task.backend.store_result(task_id, Summary(data), states_of_celery.SUCCESS)
    return data


def _count_elements(task: Task, action: PlannedAction) -> int:  # type: ignore[type-arg]
    results = read_results(store_of(task), [action.id, *action.dependencies])
    if action.id in results:
        # Kept when the execution was resumed: it is handed over as a whole, and no element runs.
        return 0
    scope = with_stored_values(with_unneeded(action.dependencies, results))
    if reads_plan_inputs(action):
        scope["inputs"] = read_inputs(store_of(task))
    return count_elements(action, scope)


def _message(task: Task, action: PlannedAction, element: int | None = None) -> Signature[Any]:  # type: ignore[type-arg]
    return _signature(task, message_of(str(task.request.id), action, element=element))


def _signature(task: Task, message: ActionMessage) -> Signature[Any]:  # type: ignore[type-arg]
    args, kwargs = to_arguments(message)
    return task.app.signature(ACTION_TASK, args=args, kwargs=kwargs, immutable=True).set(task_id=message.task_id)
