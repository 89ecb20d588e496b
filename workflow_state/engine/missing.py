"""What of a level has no result yet: the messages that are to be published.

A level may have a hundred thousand of them. So what is missing is told by actions and by indexes of their lists, and
each message is made when it is published.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from celery import Task
from celery import states as states_of_celery

from workflow_state.engine.contents import with_stored_values
from workflow_state.engine.messages import ActionMessage, Summary, message_of
from workflow_state.rules.for_each import count_elements, element_id, joined_state
from workflow_state.rules.heavy_parts import HeavyParts, LightState, lighten
from workflow_state.rules.limits import LimitExceededError, limit_exceeded
from workflow_state.rules.policy import may_be_replaced, reads_plan_inputs, settle_failure
from workflow_state.rules.states import with_unneeded
from workflow_state.schema import ActionExecutionState, ActionStatus, ActionSuccess, PlannedAction
from workflow_state.settings import get_settings
from workflow_state.store.claims import remember_failure
from workflow_state.store.execution import ExecutionStore, open_store
from workflow_state.store.names import action_task_id
from workflow_state.store.records import read_actions, read_inputs
from workflow_state.store.results import find_stored, iterate_results, read_results

# By this an element's state is read before it is known how large it is: a few dozen at a time.
_ELEMENT_BYTES = 64 * 2**10


@dataclass(frozen=True, slots=True)
class MissingSteps:
    """Steps of one action without a result: the elements of its list with these indexes, or the action itself."""

    action: PlannedAction
    elements: Sequence[int] | None = None
    in_place_of: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MissingMessages:
    """Messages of a level whose results are missing.

    The first wave has those of the level's actions. The second comes when these have ended: the messages of
    alternatives that stand in for whole lists. `element_count` is how many elements the lists of the level have that
    are not known to have ended.
    """

    steps: Sequence[MissingSteps]
    wave: Literal[1, 2] = 1
    element_count: int = 0

    @property
    def count(self) -> int:
        """How many messages they are."""
        return sum(1 if item.elements is None else len(item.elements) for item in self.steps)

    def messages(self, execution_id: str) -> Iterator[ActionMessage]:
        """Yield the messages, each made when it is asked for."""
        for item in self.steps:
            for element in (None,) if item.elements is None else item.elements:
                yield message_of(execution_id, item.action, in_place_of=item.in_place_of, element=element)


def store_of(task: Task) -> ExecutionStore:  # type: ignore[type-arg]
    """Return where the execution of a running execute_plan or execute_level is stored: it has the task's id."""
    return open_store(task.app.backend, str(task.request.id))


def find_missing_messages(
    task: Task,  # type: ignore[type-arg]
    actions: Sequence[PlannedAction],
    results: dict[str, dict[str, Any]],
    *,
    elements_before: int | None = None,
) -> MissingMessages:
    """Return the messages of a level whose results are missing.

    Where all elements of a list have finished, the state that they add up to is stored, and its status added to
    `results`. With
    `elements_before`, how many elements the execution has had, raises LimitExceededError where it would have too many:
    as soon as that is known, before the other lists are read.
    """
    store = store_of(task)
    reader = _ListReader(store)
    # Kept when the execution was resumed: it is handed over as a whole, and no element runs.
    kept = find_stored(store, [action.id for action in actions if action.for_each and action.id not in results])
    steps: list[MissingSteps] = []
    of_lists: list[MissingSteps] = []
    element_count = 0
    for action in actions:
        if action.id in results:
            continue
        count = reader.count(action) if action.for_each and action.id not in kept else 0
        if count == 0:
            steps.append(MissingSteps(action))
            continue
        element_count += count
        if elements_before is not None:
            _require_few(elements_before + element_count)
        names = [element_id(action.id, index) for index in range(count)]
        parts = HeavyParts()
        ended = _read_ended_list(store, names, parts)
        if len(ended) < count:
            missing = [index for index, name in enumerate(names) if name not in ended] if ended else range(count)
            steps.append(MissingSteps(action, missing))
            continue
        status, stand_in = _join(task, action, [state for state in ended.values() if state], parts)
        if stand_in is None:
            results[action.id] = {"status": status}
        else:
            of_lists.append(stand_in)
    if steps or not of_lists:
        return MissingMessages(steps, element_count=element_count)
    return MissingMessages(of_lists, wave=2)


def _require_few(count: int) -> None:
    most = get_settings().max_elements
    if count > most:
        what = f"the lists of this execution (forEach) have {count} elements or more together"
        raise LimitExceededError(limit_exceeded("max_elements", most, what, "split the lists over several executions"))


def _read_ended_list(store: ExecutionStore, names: Sequence[str], parts: HeavyParts) -> dict[str, LightState | None]:
    """Return those elements of a list that have ended; their states only where all of them have."""
    stored = find_stored(store, names)
    if len(stored) < len(names):
        return dict.fromkeys(stored)
    found = iterate_results(store, names, average_bytes=_ELEMENT_BYTES)
    return {name: lighten(state, parts) for name, state in found}


def _join(
    task: Task,  # type: ignore[type-arg]
    action: PlannedAction,
    light: Sequence[LightState],
    parts: HeavyParts,
) -> tuple[ActionStatus, MissingSteps | None]:
    """Store the state that an action's elements add up to; or return the alternative that takes its place."""
    store = store_of(task)
    state = joined_state(action, [element.data for element in light])
    is_replaceable = may_be_replaced(state)
    alternative_id = action.error_handling.alternative_action_id if is_replaceable else None
    alternative = read_action(task, alternative_id) if alternative_id else None
    if state.status is ActionStatus.FAILED and alternative:
        remember_failure(store, action.id, _written(state, light, parts))
        return state.status, MissingSteps(alternative, in_place_of=(action.id,))
    # Where it may have been done, or its definition is missing, nothing takes its place.
    settled = settle_failure(action, state) if is_replaceable else state
    task_id = action_task_id(store.execution_id, action.id)
    summary = Summary({"status": settled.status}, _written(settled, light, parts))
    task.backend.store_result(task_id, summary, states_of_celery.SUCCESS)
    return settled.status, None


def _written(state: ActionExecutionState, light: Sequence[LightState], parts: HeavyParts) -> str:
    """Return the joined state as JSON, with the outputs and traces of the elements where they belong."""
    data = state.to_json_data()
    outputs = data["result"].get("output" if isinstance(state.result, ActionSuccess) else "partialOutput")
    for index, element in enumerate(light):
        if mark := element.marks.get("httpTrace"):
            data["elements"][index]["httpTrace"] = mark
        if (mark := element.marks.get("output")) and not data["result"].get("usedFallback"):
            outputs[index] = mark
    return parts.write(data)


def read_action(task: Task, action_id: str) -> PlannedAction | None:  # type: ignore[type-arg]
    """Return an action of the running task's execution, or None where its record has none of that id."""
    found = read_actions(store_of(task), [action_id])
    return found[0] if found else None


@dataclass(slots=True)
class _ListReader:
    """Counts the elements of lists one after the other. What several lists in a row read is read once."""

    store: ExecutionStore
    inputs: dict[str, Any] | None = None
    dependencies: Sequence[str] = ()
    results: Mapping[str, Any] = field(default_factory=dict)

    def count(self, action: PlannedAction) -> int:
        """Return for how many elements the action will run; 0 where it will be skipped or will fail before that."""
        if list(action.dependencies) != list(self.dependencies):
            found = read_results(self.store, action.dependencies)
            self.results = with_stored_values(with_unneeded(action.dependencies, found))
            self.dependencies = action.dependencies
        scope = dict(self.results)
        if reads_plan_inputs(action):
            if self.inputs is None:
                self.inputs = read_inputs(self.store)
            scope["inputs"] = self.inputs
        return count_elements(action, scope)
