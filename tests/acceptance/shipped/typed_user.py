"""What a user writes, and an editor with a type checker reads: checked by test_types.py, and run there."""

# ruff: noqa: T201
import sys

from celery.exceptions import TimeoutError as CeleryTimeoutError

from workflow_state import ExecutionPlan, ExecutionState, PlanValidationError, execute_plan, get_execution_state


def submit(plan: ExecutionPlan | dict[str, object] | str) -> str:
    """Submit a plan, and return its id."""
    return execute_plan.apply_async((plan,), countdown=0, priority=3).id


def run(text: str) -> ExecutionState | None:
    """Run a plan to its end; None where it takes longer."""
    handle = execute_plan.delay(text)
    try:
        final = handle.get(timeout=30)
    except CeleryTimeoutError as error:
        print(error)
        return None
    print(final["status"], handle.ready(), handle.state == "SUCCESS", handle.state().status.upper())
    return get_execution_state(handle.id)


if __name__ == "__main__":
    try:
        state = run(sys.stdin.read())
    except PlanValidationError as error:
        print([problem["message"] for problem in error.errors])
    else:
        if state:
            failure = state.error_of("greet")
            print(failure.suggestion if failure else state.output_of("greet")["name"])
