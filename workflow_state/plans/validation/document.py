"""Reading a submitted plan into plain JSON data of a bounded size, and reporting what in it is not JSON.

A plan may come from anybody: text of any size and depth, objects with a key twice, values that JSON does not have.
Everything here is linear and nothing is recursive. The bounds are checked before anything else.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import PydanticSerializationError

from workflow_state.errors import PlanProblem, PlanValidationError
from workflow_state.json_errors import explain_json_error
from workflow_state.plans.references import escape_pointer
from workflow_state.plans.validation.misspelt import find_misspelt_actions
from workflow_state.schema import MAX_ACTIONS, ContractModel, ExecutionPlan
from workflow_state.wording import describe, shown

MAX_PLAN_BYTES: Final = 4 * 2**20
MAX_PLAN_DEPTH: Final = 64

# Python itself refuses to write or to read a longer integer (sys.int_info.default_max_str_digits is 4,300 digits).
_MAX_INTEGER_BITS: Final = 14_000
_SHORT_BITS: Final = 64
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SURROGATE: Final = "the text has half of a surrogate pair (\\ud800 to \\udfff), which can't be stored"

Path = tuple["Path", object] | None
"""A place in the document: the place above it, and the key there. None is the whole document.

It is a linked list, so that going one step down copies nothing.
"""


class ObjectWithRepeatedKeys(dict[str, Any]):
    """A JSON object whose text has a key more than once; `repeated` are those keys."""

    repeated: tuple[str, ...] = ()


def make_problem(
    code: str, path: str, message: str, *, suggestion: str = "", fix: list[dict[str, Any]] | None = None
) -> PlanProblem:
    """Return a problem without the fields that are empty."""
    problem = PlanProblem(code=code, path=path, message=message)
    if suggestion:
        problem["suggestion"] = suggestion
    if fix:
        problem["fix"] = fix
    return problem


@dataclass(frozen=True, slots=True)
class Document:
    """A plan as JSON data, and a `schema` problem for each value in it that JSON does not have.

    `text` is what it was read from; it is empty where it was no text. `actions_key` is the key that `actions` have in
    it; where that is another one, they were renamed, and the problems of `data` name places under `actions`.
    """

    data: Any
    problems: list[PlanProblem]
    text: str
    actions_key: str


def read_document(plan: ExecutionPlan | Mapping[str, Any] | str | bytes) -> Document:
    """Return a plan as a document that can be checked.

    Raises PlanValidationError with one problem where nothing else can be checked: for text that does not parse
    (`schema`), and for a plan of more than MAX_PLAN_BYTES, MAX_PLAN_DEPTH levels or MAX_ACTIONS actions
    (`plan_too_large`).
    """
    text = ""
    if isinstance(plan, (str, bytes, bytearray, memoryview)):
        text = _decode(plan)
        data: Any = _parse_text(text)
    elif isinstance(plan, ContractModel):
        data = _dump(plan)
    elif isinstance(plan, Mapping):
        data = dict(plan)
    else:
        raise _refusal("schema", f"a plan is an ExecutionPlan, an object or JSON text, not {describe(plan)}")
    actions_key = find_misspelt_actions(data) or "actions"
    if isinstance(data, dict):
        if actions_key != "actions":
            data = {"actions" if key == actions_key else key: value for key, value in data.items()}
        _unpack_actions(data)
    return Document(data, _check_values(data), text, actions_key)


def pointer_of(path: Path) -> str:
    """Return the JSON Pointer (RFC 6901) of a place."""
    tokens = []
    while path is not None:
        path, key = path
        tokens.append(f"/{escape_pointer(_name_key(key))}")
    return "".join(reversed(tokens))


def _refusal(code: str, message: str, *, path: str = "", suggestion: str = "") -> PlanValidationError:
    return PlanValidationError([make_problem(code, path, message, suggestion=suggestion)])


def _too_large() -> PlanValidationError:
    return _refusal(
        "plan_too_large",
        f"the plan is larger than {MAX_PLAN_BYTES} bytes",
        suggestion="leave large data out of the plan, and let an action fetch it",
    )


def _decode(text: str | bytes | bytearray | memoryview) -> str:
    size = len(text)
    if size <= MAX_PLAN_BYTES and isinstance(text, str) and not text.isascii():
        size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_PLAN_BYTES:
        raise _too_large()
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return bytes(text).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refusal("schema", f"the plan is not UTF-8 text: byte {error.start} can't be decoded") from None


def _parse_text(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_build_object)
    except json.JSONDecodeError as error:
        fault = explain_json_error(error)
        refusal = _refusal("schema", f"the plan is not valid JSON: {fault.message}", suggestion=fault.advice)
        refusal.errors[0]["line"] = fault.line
        raise refusal from None
    except RecursionError:
        # The parser in C gives up cleanly, far beyond the depth that is allowed.
        raise _too_deep("") from None
    except ValueError:
        raise _refusal("schema", "the plan has an integer with thousands of digits; write it as text") from None


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    seen: set[str] = set()
    repeated = dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    marked = ObjectWithRepeatedKeys(plain)
    marked.repeated = tuple(repeated)
    return marked


def _dump(plan: ContractModel) -> dict[str, Any]:
    try:
        return plan.to_json_data()
    except (PydanticSerializationError, ValueError) as error:
        raise _refusal("schema", f"the plan can't be written as JSON: {shown(str(error))}") from None


def _unpack_actions(data: dict[str, Any]) -> None:
    """Check how many actions there are, and turn models among them into JSON data: the patterns return models."""
    actions = data.get("actions")
    if not isinstance(actions, (list, tuple)):
        return
    if len(actions) > MAX_ACTIONS:
        raise _refusal(
            "plan_too_large",
            f"the plan has {len(actions)} actions; at most {MAX_ACTIONS} are allowed",
            path="/actions",
            suggestion="use forEach for many runs of one action, or several plans",
        )
    if isinstance(actions, tuple) or any(isinstance(action, ContractModel) for action in actions):
        data["actions"] = [_dump(action) if isinstance(action, ContractModel) else action for action in actions]


def _too_deep(pointer: str) -> PlanValidationError:
    top = "/".join(pointer.split("/")[:4])
    return _refusal(
        "plan_too_large", f"the plan is nested deeper than {MAX_PLAN_DEPTH} levels", path=top if pointer else ""
    )


def _check_values(data: Any) -> list[PlanProblem]:
    """Walk the whole document once. A structure that contains itself reaches the bound on the depth or on the size."""
    problems: list[PlanProblem] = []
    bytes_left = MAX_PLAN_BYTES
    pending: list[tuple[Any, int, Path]] = [(data, 1, None)] if isinstance(data, (dict, list)) else []
    while pending:
        value, depth, path = pending.pop()
        if depth > MAX_PLAN_DEPTH:
            raise _too_deep(pointer_of(path))
        bytes_left -= 2
        entries: Iterable[tuple[Any, Any]] = enumerate(value)
        if isinstance(value, dict):
            entries = value.items()
            bytes_left -= _check_keys(value, path, problems)
        nested: list[tuple[Any, int, Path]] = []
        for key, child in entries:
            if isinstance(child, (dict, list)) and (child or depth == MAX_PLAN_DEPTH):
                nested.append((child, depth + 1, (path, key)))
                continue
            size, wrong = _weigh(child)
            bytes_left -= size
            if wrong:
                problems.append(make_problem("schema", pointer_of((path, key)), wrong))
        if bytes_left - len(nested) < 0:
            raise _too_large()
        pending.extend(reversed(nested))
    return problems


def _check_keys(value: dict[Any, Any], path: Path, problems: list[PlanProblem]) -> int:
    """Report the keys that JSON can't have, and return about how many bytes all keys take."""
    size = 0
    for key in value:
        key_size, wrong = _weigh(key)
        size += key_size + 2
        if not isinstance(key, str):
            wrong = f"a key of an object is text in JSON, not {describe(key)}"
        if wrong:
            problems.append(
                make_problem("schema", pointer_of((path, key)), f"{wrong}: the key {shown(_name_key(key))}")
            )
    if isinstance(value, ObjectWithRepeatedKeys):
        for key in value.repeated:
            text = f"the key '{shown(key)}' stands more than once in one object, and only one of its values would count"
            problems.append(make_problem("schema", pointer_of((path, key)), text, suggestion="keep one of them"))
    return size


def _name_key(key: Any) -> str:
    """Return a key as text, or its type's name: other objects may be of any size, and writing them may raise."""
    if isinstance(key, str):
        return key
    short = key is None or isinstance(key, (bool, float)) or (isinstance(key, int) and key.bit_length() <= _SHORT_BITS)
    return str(key) if short else type(key).__name__


def _weigh(value: Any) -> tuple[int, str]:
    """Return about how many bytes of JSON a value without entries takes, and why it is not JSON, or an empty text."""
    if isinstance(value, str):
        if value.isascii():
            return len(value) + 3, ""
        size = len(value.encode("utf-8", "surrogatepass")) + 3
        return size, _SURROGATE if _LONE_SURROGATE.search(value) else ""
    if value is None or isinstance(value, (bool, list, dict)):
        return 3, ""
    if isinstance(value, float):
        return 4, "" if math.isfinite(value) else "JSON has no NaN and no Infinity (a number above 1e308 is one)"
    if isinstance(value, int):
        bits = value.bit_length()
        return (
            bits // 4 + 2,
            "" if bits <= _MAX_INTEGER_BITS else "the integer has thousands of digits; write it as text",
        )
    return 5, f"{describe(value)} is no JSON value; write it as text, a number, a list or an object"
