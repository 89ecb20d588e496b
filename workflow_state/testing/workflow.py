"""The fixture `workflow`: a test's definitions, answers and executions."""

import difflib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest

from workflow_state.client.executions import cancel_execution, confirm_action, get_execution_state
from workflow_state.engine.local import require_running
from workflow_state.errors import ConfirmationError
from workflow_state.executor import execute_plan
from workflow_state.rules.states import ENDED
from workflow_state.schema import ConfirmationState, ExecutionState, ExecutionStatus
from workflow_state.testing.answers import NO_BODY, ReceivedRequest, answer_by, make_answer
from workflow_state.testing.assertions import describe_state
from workflow_state.testing.engine import SharedEngine
from workflow_state.testing.rewriting import Rewritten, Route, find_environment_names, restore_urls, rewrite_definition
from workflow_state.testing.server import Board
from workflow_state.testing.sources import Plan, Source, load_definitions, with_inputs

TIMEOUT_S = 30.0
_POLL_S = 0.005
_LONGEST_END_S = 5.0
_LAST_LOG_LINES = 5

Found = TypeVar("Found")


class Workflow:
    """What a test sets up and runs. Whatever it leaves running is cancelled when it ends."""

    def __init__(self, engine: SharedEngine, number: int, root: Path) -> None:
        self._engine = engine
        self._root = root
        self._board = Board(number)
        self._known: dict[str, Rewritten] = {}
        self._environment: dict[str, str] = {}
        self._begun_at_s = time.time()
        engine.server.board = self._board
        engine.publish({}, {})
        engine.forget_pauses()

    def definitions(
        self,
        *sources: Source,
        fast_retries: bool = True,
        rate_limits: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Load definitions: files and folders (below pytest's rootdir where they are relative), models or dicts.

        Their requests arrive here, none at their own hosts. With `fast_retries` a retry waits 10 ms at most; without
        `rate_limits` there are none. `${env.NAME}` is `environment`'s value, or `dummy-NAME`: never this machine's
        own, which may be a real secret. It may be called again; a later definition replaces an earlier one of its id.
        Raises ActionDefinitionError with all that is wrong with them.
        """
        loaded = load_definitions(sources, self._root)
        for definition in loaded:
            rewritten = rewrite_definition(
                definition,
                self._engine.server.url,
                self._board.number,
                fast_retries=fast_retries,
                rate_limits=rate_limits,
            )
            self._known[definition.id] = rewritten
            self._board.open(rewritten)
            for name in find_environment_names(definition):
                self._environment.setdefault(name, f"dummy-{name}")
        self._environment.update(environment or {})
        self._engine.publish({name: item.definition for name, item in self._known.items()}, self._environment)

    def answer(  # noqa: PLR0913 - what an HTTP response has
        self,
        definition_id: str,
        json_body: Any = NO_BODY,
        *,
        text: str | None = None,
        content: bytes | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        delay_ms: int = 0,
        disconnects: bool = False,
        times: int | None = None,
    ) -> None:
        """Set what the definition's server answers: a JSON value, `text`, `content`, or nothing but a status.

        Answers with `times` are for so many requests, in the order in which they were set; the one without is for all
        others, and replaces an earlier one. In place of the JSON value there may be a function, which is given the
        ReceivedRequest and returns the value, or make_answer(…); it is called in a thread of the server. `delay_ms` is
        waited first; `disconnects` closes the connection without an answer.
        """
        __tracebackhide__ = True
        given: dict[str, Any] = {"text": text, "content": content, "status": status, "headers": headers}
        given |= {"delay_ms": delay_ms, "disconnects": disconnects}
        made = answer_by(json_body, **given) if callable(json_body) else make_answer(json_body, **given)
        self._board.add_answer(self._route(definition_id), made, times)

    def answer_token(
        self,
        definition_id: str,
        json_body: Any = NO_BODY,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """Set what the token server of a definition with OAuth 2 answers; it gives a token where nothing is set."""
        __tracebackhide__ = True
        answer = make_answer(json_body, status=status, headers=headers)
        self._board.add_answer(self._token_route(definition_id), answer, times)

    def requests(self, definition_id: str | None = None) -> list[ReceivedRequest]:
        """Return the requests that a definition has sent, or all, in the order of their arrival; retries too."""
        __tracebackhide__ = True
        return self._board.requests(None if definition_id is None else self._route(definition_id))

    def token_requests(self, definition_id: str) -> list[ReceivedRequest]:
        """Return the requests for a token that the definition's token server has received."""
        __tracebackhide__ = True
        return self._board.requests(self._token_route(definition_id))

    def run(
        self,
        plan: Plan,
        *,
        inputs: Mapping[str, Any] | None = None,
        confirm: Mapping[str, bool] | bool | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> ExecutionState:
        """Run a plan to its end and return the final state, with the definitions' own URLs in it.

        `inputs` go over the plan's own. `confirm` answers what waits for a person: each action by its id, or all.
        Raises PlanValidationError. The test fails where a request had no answer, and after the timeout.
        """
        __tracebackhide__ = True
        execution_id = self.start(plan, inputs=inputs)

        def answer_all(state: ExecutionState) -> None:
            __tracebackhide__ = True
            for asked in state.confirmations:
                if asked.confirmed is None:
                    self._answer(state.id, asked, confirm)

        return self._follow(execution_id, timeout_s, answer_all)

    def start(self, plan: Plan, *, inputs: Mapping[str, Any] | None = None) -> str:
        """Submit a plan, and return the execution's id. Raises PlanValidationError."""
        __tracebackhide__ = True
        if not self._known:
            pytest.fail("there are no action definitions: call workflow.definitions('actions/') first")
        handle = execute_plan.delay(with_inputs(plan, inputs or {}))
        return str(handle.id)

    def wait(self, execution_id: str, *, timeout_s: float = TIMEOUT_S) -> ExecutionState:
        """Wait until an execution has ended, also one that the tested code has started; return its final state."""
        __tracebackhide__ = True
        return self._follow(execution_id, timeout_s, lambda _: None)

    def state(self, execution_id: str) -> ExecutionState:
        """Return the state of an execution as it is now, with the definitions' own URLs in it."""
        return self._restore(get_execution_state(execution_id))

    def wait_for_confirmation(
        self, execution_id: str, action_id: str, *, timeout_s: float = TIMEOUT_S
    ) -> ConfirmationState:
        """Wait until an action waits for a person, and return what that one is asked."""
        __tracebackhide__ = True

        def asked() -> ConfirmationState | None:
            __tracebackhide__ = True
            state = self.state(execution_id)
            found = [item for item in state.confirmations if item.action_id == action_id and item.confirmed is None]
            if not found and state.status in ENDED:
                pytest.fail(f"{action_id} never waited for a confirmation\n\n{describe_state(state)}")
            return found[0] if found else None

        return self._until(asked, f"{action_id} waits for a confirmation", timeout_s)

    def confirm(
        self,
        execution_id: str,
        action_id: str,
        confirmed: bool = True,  # noqa: FBT001, FBT002 - as confirm_action has it
        *,
        user_id: str | None = None,
    ) -> ConfirmationState:
        """Wait until an action waits for a person, answer, and return what was asked."""
        __tracebackhide__ = True
        asked = self.wait_for_confirmation(execution_id, action_id)
        confirm_action(execution_id, action_id, confirmed, user_id, digest=asked.digest)
        return asked

    def cancel(self, execution_id: str, *, timeout_s: float = TIMEOUT_S) -> ExecutionState:
        """Cancel an execution, wait until it has ended, and return its final state."""
        __tracebackhide__ = True
        cancel_execution(execution_id)
        return self.wait(execution_id, timeout_s=timeout_s)

    def wait_for_request(self, definition_id: str, *, timeout_s: float = TIMEOUT_S) -> ReceivedRequest:
        """Wait until a definition has sent a request, and return the first."""
        __tracebackhide__ = True
        self._route(definition_id)
        found = self._until(lambda: self.requests(definition_id), f"{definition_id!r} sends a request", timeout_s)
        return found[0]

    def close(self) -> None:
        """End what still runs, and fail where a request had no answer; called when the test ends."""
        __tracebackhide__ = True
        cancelled = [cancel_execution(name) for name in self._engine.find_executions(self._begun_at_s)]
        # After that: an answer that was held back until now completes nothing any more.
        self._board.over.set()
        for state in cancelled:
            _wait_for_end(state)
        self._tell_problems()

    def _route(self, definition_id: str) -> Route:
        __tracebackhide__ = True
        return self._rewritten(definition_id).route

    def _token_route(self, definition_id: str) -> Route:
        __tracebackhide__ = True
        token = self._rewritten(definition_id).token
        if token is None:
            pytest.fail(f"{definition_id!r} has no OAuth 2, it asks for no token")
        return token

    def _rewritten(self, definition_id: str) -> Rewritten:
        __tracebackhide__ = True
        if found := self._known.get(definition_id):
            return found
        near = difflib.get_close_matches(definition_id, self._known, n=3)
        guess = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        known = f"{len(self._known)} are loaded" if self._known else "call workflow.definitions('actions/') first"
        pytest.fail(f"there is no action definition {definition_id!r}{guess} ({known})")

    def _answer(
        self,
        execution_id: str,
        asked: ConfirmationState,
        confirm: Mapping[str, bool] | bool | None,  # noqa: FBT001 - as run has it
    ) -> None:
        __tracebackhide__ = True
        name = asked.action_id
        if isinstance(confirm, Mapping):
            confirm = confirm.get(name, confirm.get(name.partition("[")[0]))
        if confirm is None:
            pytest.fail(
                f"{name} waits for a confirmation\nAdd confirm={{{name!r}: True}} to workflow.run(…), or use "
                f"workflow.start(…), workflow.confirm(execution, {name!r}) and workflow.wait(execution)"
            )
        with suppress(ConfirmationError):  # its time ran out meanwhile
            confirm_action(execution_id, name, confirm, digest=asked.digest)

    def _follow(
        self, execution_id: str, timeout_s: float, each_time: Callable[[ExecutionState], None]
    ) -> ExecutionState:
        __tracebackhide__ = True

        def ended() -> ExecutionState | None:
            __tracebackhide__ = True
            state = get_execution_state(execution_id)
            if state.status in ENDED:
                return state
            if state.status is ExecutionStatus.PAUSED_FOR_CONFIRMATION:
                each_time(state)
            return None

        state = self._until(ended, "the execution ends", timeout_s, execution_id)
        return self._restore(state)

    def _until(
        self, condition: Callable[[], Found | None], what: str, timeout_s: float, execution_id: str | None = None
    ) -> Found:
        __tracebackhide__ = True
        deadline_s = time.monotonic() + timeout_s
        while not (found := condition()):
            self._tell_problems()
            require_running(self._engine.engine)
            if time.monotonic() > deadline_s:
                self._give_up(f"not within {timeout_s:g} s: {what}", execution_id)
            time.sleep(_POLL_S)
        self._tell_problems()
        return found

    def _give_up(self, message: str, execution_id: str | None) -> NoReturn:
        __tracebackhide__ = True
        lines = [message]
        if execution_id is not None:
            lines += ["", describe_state(self.state(execution_id))]
        log = self._engine.engine.worker_log.read_text(errors="replace").splitlines()
        lines += ["", "the worker said last:", *log[-_LAST_LOG_LINES:]]
        pytest.fail("\n".join(lines))

    def _tell_problems(self) -> None:
        __tracebackhide__ = True
        if problems := self._board.take_problems():
            pytest.fail("\n\n".join(problems))

    def _restore(self, state: ExecutionState) -> ExecutionState:
        routes = [route for item in self._known.values() for route in item.routes]
        return ExecutionState.model_validate_json(restore_urls(state.model_dump_json(by_alias=True), routes))


def _wait_for_end(state: ExecutionState) -> None:
    """Wait a while for the end of what was cancelled: until then it may pause definitions of the next test."""
    deadline_s = time.monotonic() + _LONGEST_END_S
    while state.status not in ENDED and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
        state = get_execution_state(state.id)
