"""What an attempt holds, and what it hands on: to the HTTP request, and to the message of a later attempt."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from celery import Task
from redis import Redis

from workflow_state.actions.execute import ActionContext
from workflow_state.engine.messages import ActionMessage, to_arguments
from workflow_state.logger import WorkflowLogger
from workflow_state.rules.states import AttemptHistory, finished_state
from workflow_state.schema import (
    ActionDefinition,
    ActionExecutionState,
    ActionFailure,
    ActionSkip,
    ActionSuccess,
    Effect,
    PlannedAction,
)
from workflow_state.store.claims import Claim, mark_sent
from workflow_state.store.execution import ExecutionStore, open_store
from workflow_state.store.records import is_cancelled

ActionResult = ActionSuccess | ActionFailure | ActionSkip


@dataclass(frozen=True, slots=True)
class Work:
    """One message of `execute_action` under way in its task.

    `action` is what the record says of the action, `primaries` what it says of the message's `in_place_of`. The log
    has `plan_id`.
    """

    task: Task  # type: ignore[type-arg]
    client: Redis
    message: ActionMessage
    action: PlannedAction
    primaries: tuple[PlannedAction, ...] = ()
    plan_id: str | None = None

    @property
    def store(self) -> ExecutionStore:
        """Where the execution is stored."""
        return open_store(self.task.app.backend, self.message.execution_id)

    @property
    def execution_id(self) -> str:
        """The execution that the message belongs to."""
        return self.message.execution_id

    @property
    def step(self) -> str:
        """The action's id, or the name of one element of its list: `pay[3]`."""
        return self.message.step


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claimed attempt of some work. `trace` is what the attempts before it sent and received (JSON data).

    `is_lean` says that the execution's state has little room left: what this attempt adds to it is to be small.
    """

    work: Work
    claim: Claim
    trace: Sequence[Mapping[str, Any]]
    log: WorkflowLogger
    is_lean: bool = False

    def traced(self, trace: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the trace of all attempts, this one's last; nothing where the state has no room for it."""
        return [] if self.is_lean else [*self.trace, *trace]


def end_unsent(attempt: Attempt, result: ActionResult) -> ActionExecutionState:
    """Return the state of a step that has just ended so; this attempt sent nothing, and does not count."""
    history = AttemptHistory(attempt.claim.started_at, attempt.claim.attempt - 1, attempt.traced(()))
    return finished_state(attempt.work.step, result, history)


def end_sent(attempt: Attempt, result: ActionResult, trace: Sequence[Mapping[str, Any]] = ()) -> ActionExecutionState:
    """Return the state of a step that has just ended so; `trace` is what this attempt sent and received."""
    history = AttemptHistory(attempt.claim.started_at, attempt.claim.attempt, attempt.traced(trace))
    return finished_state(attempt.work.step, result, history)


def context_of(work: Work, claim: Claim, definition: ActionDefinition) -> ActionContext:
    """Return for whom the request is sent, and what is asked before it is.

    An unsafe request leaves a mark before its first byte leaves. A request that had to wait, for a token or for its
    connection, asks whether the execution has been cancelled meanwhile.
    """
    marks = definition.effective_effect is Effect.UNSAFE
    return ActionContext(
        execution_id=work.execution_id,
        action_id=work.step,
        attempt=claim.attempt,
        before_send=partial(mark_sent, work.client, claim) if marks else None,
        is_wanted=lambda: not is_cancelled(work.store),
    )


def stored_message(work: Work, attempt: int) -> str:
    """Return the message for an attempt of this step as JSON, with this task's id and its place in the chord."""
    args, kwargs = to_arguments(replace(work.message, attempt=attempt))
    return json.dumps(work.task.signature_from_request(args=args, kwargs=kwargs))
