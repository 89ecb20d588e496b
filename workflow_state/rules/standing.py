"""Where an execution stands, in a line: for an error about one that did not end in time. Pure."""

from workflow_state.schema import ActionStatus, ExecutionState, ExecutionStatus

_NAMED_AT_MOST = 3


def describe_standing(state: ExecutionState) -> str:
    """Return what an execution does now.

    >>> describe_standing(state)  # doctest: +SKIP
    "is running: 2 of 7 actions have ended, 'pay' runs, 'ship' waits for an answer"
    """
    states = state.action_states
    ended = [name for name, each in states.items() if each.status not in (ActionStatus.PENDING, ActionStatus.RUNNING)]
    parts = [f"{len(ended)} of {len(states)} actions have ended"]
    asking = sorted({each.action_id for each in state.confirmations if each.confirmed is None})
    asked = {name.partition("[")[0] for name in asking}
    running = [name for name, each in states.items() if each.status is ActionStatus.RUNNING]
    retrying = [name for name in running if states[name].next_attempt_at]
    parts += _named([name for name in running if name not in asked and name not in retrying], "runs", "run")
    parts += _named(retrying, "waits for its next attempt", "wait for their next attempts")
    parts += _named(asking, "waits for an answer", "wait for answers")
    if state.status is ExecutionStatus.INITIALIZING:
        parts = ["no worker has begun it"]
    return f"is {state.status}: {', '.join(parts)}"


def _named(names: list[str], does: str, do: str) -> list[str]:
    if not names:
        return []
    shown = ", ".join(f"'{name}'" for name in names[:_NAMED_AT_MOST])
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return [f"{shown}{more} {does if len(names) == 1 else do}"]
