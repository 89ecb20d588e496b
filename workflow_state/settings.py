"""The package's own settings, read from the environment when they are first needed.

Celery's settings are in celeryconfig.py.
"""

import binascii
import importlib.util
import os
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit, urlunsplit

from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from workflow_state.encryption import KEY_BYTES
from workflow_state.errors import SettingsError
from workflow_state.globs import find_pattern_problem
from workflow_state.hosts import read_host_list
from workflow_state.installation import install_command
from workflow_state.redis_url import SENTINEL_SCHEME, read_sentinel_url
from workflow_state.variables import check_secret_patterns
from workflow_state.wording import find_near_miss, shown

PREFIX = "WORKFLOW_STATE_"
# Keys may be written in either kind of base64.
_STANDARD = str.maketrans("-_", "+/")
# The commands that serve the run page read these by themselves.
_OF_THE_RUN_PAGE = ("web_port", "web_token", "web_viewer_token")


class Settings(BaseModel):
    """What an operator can set. `redis_url` is set by the environment variable WORKFLOW_STATE_REDIS_URL, and so on.

    A variable that is empty counts as not set.
    """

    redis_url: str | None = None
    """The Redis server that is broker and result backend, as in redis://HOST:6379/0, or the sentinels that know it.

    Where it is not set, `workflow-state` starts a server of its own, and workers use localhost.
    """
    actions: list[Path] = Field(default_factory=list)
    """Folders and files with action definitions, separated by colons."""
    allowed_definitions: list[str] = Field(default_factory=list)
    """Where set, the only definitions whose requests this process submits and sends: ids and patterns such as `crm.*`,
    separated by commas."""
    secrets: list[str] = Field(default_factory=list)
    """Where set, the only environment variables that `${env.NAME}` of a definition may read: names and patterns such as
    `CRM_*`, separated by commas.

    Never those of workflow_state itself, Celery, Redis, a cloud's SDK and the shell.
    """
    storage_url: str | None = None
    """Where large and binary outputs are stored: a folder, or a URL that fsspec knows, such as s3://BUCKET/outputs.

    Where it is not set, a temporary folder of this machine is used.
    """
    expire_outputs: bool = True
    """Whether this worker removes stored outputs whose execution is gone from its Redis."""
    retention_s: int = Field(default=7 * 24 * 3600, ge=60)
    """For how many seconds an execution and its outputs are kept after its last change."""
    visibility_timeout_s: int = Field(default=30, ge=3)
    """After how many seconds another worker gets the message of a worker that has died."""
    unsafe_durability: Literal["memory", "replica", "disk"] | None = None
    """How safe Redis has to keep it that an unsafe request was sent, before its first byte leaves.

    Where it is not set, as safe as Redis can within 50 ms.
    """
    keys: list[bytes] = Field(default_factory=list, repr=False)
    """Where set, what is stored in Redis and in the storage is encrypted. Keys of 32 bytes in base64, with commas.

    The first key encrypts, all of them decrypt. Every process needs them that submits, runs or shows executions.
    """
    # `loopback` is a string, which counts as true: compare with `is True`.
    allow_private_networks: bool | Literal["loopback"] = False
    """Whether actions may connect to private, loopback and link-local addresses.

    `loopback` allows this machine alone.
    """
    allowed_hosts: list[str] = Field(default_factory=list)
    """Where set, the only hosts that actions may connect to: names, patterns and networks, separated by commas."""
    denied_hosts: list[str] = Field(default_factory=list)
    """Hosts that actions may not connect to, whatever other setting allows them; written like `allowed_hosts`."""
    max_response_bytes: int = Field(default=10 * 2**20, ge=1)
    """The largest response body that is read, in bytes after decompression."""
    inline_output_bytes: int = Field(default=64 * 2**10, ge=0)
    """The largest output that is kept in the state itself, in bytes; larger ones are stored."""
    http_library: Literal["httpx", "httpx2"] = "httpx"
    """The library that requests are sent with: `httpx`, or `httpx2`, which the extra of that name installs.

    Each process reads it once, when it first needs the library.
    """
    max_elements: int = Field(default=100_000, ge=1)
    """The most elements that all lists (`forEach`) of an execution may have together."""
    max_requests: int = Field(default=250_000, ge=1)
    """The most requests of an execution: one for each action and element, and one for each retry."""
    max_state_bytes: int = Field(default=64 * 2**20, ge=2**20)
    """The largest state that an execution may have, in bytes.

    From half of it on, outputs of more than 1 KiB are stored, and requests are not traced.
    """
    max_stored_bytes: int = Field(default=10 * 2**30, ge=1)
    """The most bytes that an execution may put into the storage."""
    log_level: Literal["debug", "info", "warn", "error"] = "info"
    """The lowest level of log lines that are written."""

    @property
    def silence_before_recovery_s(self) -> int:
        """How long an execution may be silent before a worker looks for what is missing, in seconds.

        That is longer than the messages of a dead worker take to come back by themselves.
        """
        return self.visibility_timeout_s + max(2, self.visibility_timeout_s // 6)

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "redis+socket://", SENTINEL_SCHEME)):
            raise ValueError("must start with redis://, rediss://, redis+socket:// or sentinel://")
        return value and _checked_redis_url(value)

    @field_validator("actions", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return [Path(part) for part in value.split(":") if part] if isinstance(value, str) else value

    @field_validator("keys", mode="before")
    @classmethod
    def _read_keys(cls, value: object) -> object:
        return _decode_keys(value) if isinstance(value, str) else value

    @field_validator("allow_private_networks", mode="before")
    @classmethod
    def _read_networks(cls, value: object) -> object:
        known: dict[object, bool | str] = {"0": False, "false": False, "no": False, "off": False}
        known |= {"1": True, "true": True, "yes": True, "on": True, "loopback": "loopback"}
        text = str(value).strip().lower()
        if text not in known:
            raise ValueError("must be 0, 1 or loopback")
        return known[text]

    @field_validator("allowed_hosts", "denied_hosts", "allowed_definitions", "secrets", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("allowed_hosts", "denied_hosts")
    @classmethod
    def _check_hosts(cls, value: list[str]) -> list[str]:
        read_host_list(value)
        return value

    @field_validator("allowed_definitions")
    @classmethod
    def _check_definitions(cls, value: list[str]) -> list[str]:
        for number, pattern in enumerate(value, start=1):
            if problem := find_pattern_problem(pattern):
                raise ValueError(f"entry {number} {problem}")
        return value

    @field_validator("secrets")
    @classmethod
    def _check_secrets(cls, value: list[str]) -> list[str]:
        check_secret_patterns(value)
        return value

    @field_validator("http_library", "log_level", "unsafe_durability", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


def _decode_keys(text: str) -> list[bytes]:
    """Return the keys of a list in base64. Raises ValueError, whose message has nothing of a key."""
    written = [part for part in re.split(r"[,\s]+", text) if part]
    keys = []
    for number, part in enumerate(written, start=1):
        try:
            key = b64decode(part.translate(_STANDARD).rstrip("=") + "=", validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError(
                f"key {number} is not {KEY_BYTES} bytes in base64; `openssl rand -base64 {KEY_BYTES}` makes one"
            )
        keys.append(key)
    if keys and importlib.util.find_spec("cryptography") is None:
        raise ValueError(f"needs the package cryptography: {install_command('encryption')}")
    return keys


def _checked_redis_url(url: str) -> str:
    """Return the URL as Celery takes it: rediss:// has to say that the server's certificate is checked.

    A sentinel:// URL stays as it is written; engine/sentinel.py makes of it what Celery needs.

    Raises ValueError, whose message has nothing of the URL, because a password may be in it.
    """
    if url.startswith(SENTINEL_SCHEME):
        if not read_sentinel_url(url).master_name:
            raise ValueError("does not say which primary the sentinels watch: add ?master_name=NAME")
        return url
    try:
        parts = urlsplit(url)
        port_is_right = parts.port != 0
    except ValueError as error:
        # "Port could not be cast to integer value as 'secret@host'" would tell what a forgotten quote leaves there.
        raise ValueError("is no URL; a password with special characters has to be percent-encoded") from error
    if not port_is_right:
        raise ValueError("has a port that is not 1 to 65535")
    database = parts.path.removeprefix("/")
    if parts.scheme != "redis+socket" and database and not database.isdecimal():
        raise ValueError("must end in the number of a database, as in redis://HOST:6379/0")
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in parse_qs(parts.query):
        return urlunsplit(parts._replace(query="&".join(filter(None, [parts.query, "ssl_cert_reqs=CERT_REQUIRED"]))))
    return url


def _read_environment() -> dict[str, str]:
    """Return what is set by the settings' names; what is set to nothing counts as not set, case does not count."""
    given = {name.lower(): value for name, value in os.environ.items() if value}
    variables = {name: f"{PREFIX}{name}".lower() for name in Settings.model_fields}
    return {name: given[variable] for name, variable in variables.items() if variable in given}


def find_unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that is named like a setting and is none; its value is not shown.

    find_unknown_variables({"WORKFLOW_STATE_ACTOINS": "actions/"})
    ["WORKFLOW_STATE_ACTOINS is no setting and changes nothing; did you mean 'WORKFLOW_STATE_ACTIONS'?"]
    """
    known = {f"{PREFIX}{name}".upper() for name in (*Settings.model_fields, *_OF_THE_RUN_PAGE)}
    unknown = (name for name, value in environment.items() if value and name.upper().startswith(PREFIX))
    return [
        f"{shown(name)} is no setting and changes nothing" + (f"; {guess}" if (guess := _guess(name, known)) else "")
        for name in sorted(unknown)
        if name.upper() not in known
    ]


def _guess(name: str, known: Iterable[str]) -> str:
    # All begin alike, which would make each of them near.
    names = [other.removeprefix(PREFIX) for other in sorted(known)]
    near = find_near_miss(name.upper().removeprefix(PREFIX), names)
    return f"did you mean '{PREFIX}{near}'?" if near else ""


def read_http_library() -> str:
    """Return which library is named to send requests with, or an empty text, before all settings are read.

    It is asked while modules are imported, when an application may not have set the others yet. That the name is one of
    those that there are, `get_settings` checks.
    """
    return _read_environment().get("http_library", "").lower()


def _describe(problem: ErrorDetails) -> str:
    """Return what is wrong with a value, without the value: someone may have put a secret there."""
    match problem["type"]:
        case "int_parsing":
            return "must be a whole number"
        case "greater_than_equal":
            return f"must be at least {problem['ctx']['ge']}"
        case "literal_error":
            return f"must be {problem['ctx']['expected']}"
        case "bool_parsing":
            return "must be 0 or 1"
    return problem["msg"].removeprefix("Value error, ")


@cache
def get_settings() -> Settings:
    """Return the settings of this process, which are read from the environment at the first call.

    Raises SettingsError with every variable that is wrong.
    """
    try:
        return Settings.model_validate(_read_environment())
    except ValidationError as error:
        problems = [f"{PREFIX}{str(problem['loc'][0]).upper()}: {_describe(problem)}" for problem in error.errors()]
        raise SettingsError("; ".join(problems)) from error
