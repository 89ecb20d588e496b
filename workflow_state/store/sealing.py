"""What of an execution is encrypted in Redis, where WORKFLOW_STATE_KEYS is set: how its values go in and come out.

    seal_value(store.execution_id, "record", "inputs", text)         on the way in
    unseal_value(store.execution_id, "record", "inputs", value)      on the way out

Encrypted is what plans, servers and people have said: the plan and its inputs, actions, outputs, traces, errors,
questions and answers. Ids, statuses, times, claims and messages stay readable: scripts decide by them, and messages
carry names only.

A process without keys must not write a plan in the clear beside those that are encrypted. So each registration of an
encrypted execution names its key in `workflow_state:encryption`. While that is there, a registration without keys is
refused, and no worker starts that does not have this key.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any, Literal

from redis import Redis

from workflow_state.encryption import blind, is_sealed, key_id, seal, unseal
from workflow_state.errors import DecryptionError, SettingsError
from workflow_state.settings import get_settings
from workflow_state.store.connection import CONNECTION_ERRORS
from workflow_state.store.names import encryption_key, execution_of_task, step_of_task

Part = Literal["record", "progress", "result"]
"""Which of an execution's keys in Redis a value is in: the record, what is under way, or the results of its tasks."""

UNREADABLE = "(encrypted)"
"""What a list shows for the name of a plan that this process can't decrypt."""

_SEALED_OF_RECORD = ("plan", "name", "inputs", "resumed")
_SEALED_OF_RESULT = ("result", "traceback")
_SEALED_TEXT = "sealed:"
_ANSWER = ":answer:"


def seal_value(execution_id: str, part: Part, field: str, value: str | bytes) -> str | bytes:
    """Return the value as it is stored: encrypted for this field, or as it is where no keys are set."""
    keys = get_settings().keys
    if not keys:
        return value
    data = value.encode() if isinstance(value, str) else value
    return seal(data, keys, execution_id, _place(part, field))


def unseal_value(execution_id: str, part: Part, field: str, stored: bytes) -> bytes:
    """Return what was stored for this field, decrypted where it is encrypted. Raises DecryptionError."""
    return unseal(stored, get_settings().keys, execution_id, _place(part, field)) if is_sealed(stored) else stored


def seal_record(execution_id: str, fields: Mapping[str, str]) -> dict[str, str | bytes]:
    """Return the fields of a record as they are stored."""
    return {
        name: seal_value(execution_id, "record", name, text)
        if name in _SEALED_OF_RECORD or name.startswith("action:")
        else text
        for name, text in fields.items()
    }


def unseal_fields(execution_id: str, part: Part, fields: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return all fields of a record, or of what is under way, decrypted. Raises DecryptionError."""
    return {
        name: unseal_value(execution_id, part, name.decode(), value) if is_sealed(value) else value
        for name, value in fields.items()
    }


def unseal_name(execution_id: str, stored: bytes) -> bytes:
    """Return a plan's name for a list, which tells of ids, statuses and times also where the key is not there."""
    try:
        return unseal_value(execution_id, "record", "name", stored)
    except DecryptionError:
        return UNREADABLE.encode()


def seal_result(task_id: str, meta: Mapping[str, Any], write: Callable[[Any], str]) -> dict[str, Any]:
    """Return what Celery stores of a task with its result and its traceback encrypted; `write` makes JSON of them.

    The status stays readable, and all of it stays JSON.
    """
    keys = get_settings().keys
    if not keys:
        return dict(meta)
    execution_id, step = execution_of_task(task_id), step_of_task(task_id)
    sealed = {
        name: seal(write(meta[name]).encode(), keys, execution_id, _place("result", f"{step}:{name}"))
        for name in _SEALED_OF_RESULT
        if meta.get(name)
    }
    return {**meta, **{name: _SEALED_TEXT + b64encode(value).decode() for name, value in sealed.items()}}


def unseal_result(meta: Any, read: Callable[[str], Any]) -> Any:
    """Return what Celery has stored of a task, decrypted; `read` reads the JSON. Raises DecryptionError."""
    if not isinstance(meta, dict):
        return meta
    for name in _SEALED_OF_RESULT:
        text = meta.get(name)
        if isinstance(text, str) and text.startswith(_SEALED_TEXT):
            execution_id, step = execution_of_task(meta["task_id"]), step_of_task(meta["task_id"])
            stored = b64decode(text.removeprefix(_SEALED_TEXT))
            meta[name] = read(unseal_value(execution_id, "result", f"{step}:{name}", stored).decode())
    return meta


def require_own_result(task_id: str, meta: dict[str, Any]) -> dict[str, Any]:
    """Return what was stored under a task's key, if it is that task's; DecryptionError where it was put there."""
    if get_settings().keys and meta.get("task_id", task_id) != task_id:
        raise DecryptionError(
            f"the result of {task_id} is that of another task, which was moved here. Restore what is stored from a "
            "backup"
        )
    return meta


def blind_digests(execution_id: str, digest: str) -> list[str]:
    """Return what stands for a digest in Redis: first as it is written now, then as older keys have written it."""
    return blind(digest, get_settings().keys, execution_id)


def own_key_id() -> str | None:
    """Return the name of the key that this process encrypts by, None where it has none."""
    return key_id(get_settings().keys)


def refuse_foreign_keys(client: Redis) -> None:
    """Raise SettingsError where this worker could not read the executions that are submitted now.

    Nothing is asked where Redis can't be reached: it may come later.
    """
    try:
        raw: Any = client.get(encryption_key())
    except CONNECTION_ERRORS:
        return
    known = [key_id([key]) for key in get_settings().keys]
    if raw and raw.decode() not in known:
        raise SettingsError(
            f"WORKFLOW_STATE_KEYS: executions are encrypted by the key {raw.decode()}, and this worker has "
            f"{', '.join(filter(None, known)) or 'none'}. Set it to the keys that the submitting processes have; "
            f"{how_to_end_encryption()}"
        )


def how_to_end_encryption() -> str:
    """Return what to do where executions are to be encrypted no more."""
    return f"to end encryption, remove it everywhere, and then the key {encryption_key()} from Redis"


def _place(part: Part, field: str) -> str:
    """Return what a value is bound to. The number of an answer is known to the script only that stores it."""
    step, is_answer, _ = field.partition(_ANSWER)
    return f"{part} {step}{_ANSWER}" if is_answer else f"{part} {field}"
