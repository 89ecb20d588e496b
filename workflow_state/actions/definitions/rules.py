"""Checking an action definition beyond its types: whether its URL, headers and credentials can be sent. Pure functions.

A problem has the path of its field, so that whoever reads a file can tell the line.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workflow_state.actions.auth.templates import find_bad_env_reference, find_meant_variable
from workflow_state.actions.http.header_rules import find_header_problem
from workflow_state.actions.http.url_template import find_placeholders, find_template_problems, find_url_problem
from workflow_state.charsets import find_charset_problem
from workflow_state.json_schema.compiled import find_schema_problem
from workflow_state.json_schema.paths import types_of, view_schema
from workflow_state.overrides import fold_header
from workflow_state.schema import (
    ENV_REFERENCE,
    ActionDefinition,
    ApiKeyAuthentication,
    BearerAuthentication,
    OAuth2ClientCredentials,
)
from workflow_state.variables import find_variable_problem
from workflow_state.wording import find_control_character

Path = tuple[str | int, ...]

_NO_CREDENTIALS = frozenset({"type", "header", "token_url", "token_endpoint_auth_method"})
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, section 3.3


@dataclass(frozen=True, slots=True)
class DefinitionProblem:
    """One thing that is wrong; `path` leads to the field, with camelCase names."""

    path: Path
    message: str


def find_definition_problems(definition: ActionDefinition, secrets: Sequence[str] = ()) -> list[DefinitionProblem]:
    """Return every reason why requests of the definition could not be sent; an empty list where there is none.

    `secrets` are the patterns of the variables that `${env.NAME}` may read, as WORKFLOW_STATE_SECRETS has them.
    """
    return [
        *_check_texts(definition),
        *_check_url(definition),
        *_check_headers(definition),
        *_check_allowed_headers(definition),
        *_check_authentication(definition),
        *_check_variables(definition, secrets),
        *_check_schemas(definition),
    ]


def _check_texts(definition: ActionDefinition) -> Iterator[DefinitionProblem]:
    for name, text in (("id", definition.id), ("name", definition.name), ("description", definition.description)):
        if character := find_control_character(text or ""):
            yield DefinitionProblem((name,), f"contains the control character {character}")


def _check_variables(definition: ActionDefinition, secrets: Sequence[str]) -> Iterator[DefinitionProblem]:
    for path, text in _texts_with_variables(definition):
        for name in dict.fromkeys(ENV_REFERENCE.findall(text)):
            if problem := find_variable_problem(name, secrets):
                yield DefinitionProblem(path, f"is refused: {problem}")


def _texts_with_variables(definition: ActionDefinition) -> Iterator[tuple[Path, str]]:
    yield ("endpoint", "url"), definition.endpoint.url
    for name, value in definition.endpoint.headers.items():
        yield ("endpoint", "headers", name), value
    authentication = definition.authentication
    for name, field in type(authentication).model_fields.items() if authentication else ():
        if isinstance(value := getattr(authentication, name), str):
            yield ("authentication", field.alias or name), value


def _check_schemas(definition: ActionDefinition) -> Iterator[DefinitionProblem]:
    for name, schema in (("inputSchema", definition.input_schema), ("outputSchema", definition.output_schema)):
        if schema is not None and (problem := find_schema_problem(schema)):
            yield DefinitionProblem((name, *problem.path), problem.message)
        elif name == "inputSchema" and schema and "object" not in types_of(view_schema(schema)):
            yield DefinitionProblem((name,), "must describe an object: its properties are the action's inputs")


def _check_url(definition: ActionDefinition) -> Iterator[DefinitionProblem]:
    path: Path = ("endpoint", "url")
    url = definition.endpoint.url
    problems = find_template_problems(url)
    yield from (DefinitionProblem(path, problem) for problem in problems)
    if not problems:
        filled = ENV_REFERENCE.sub("x", url)
        for name in definition.endpoint.placeholders:
            filled = filled.replace(f"{{{name}}}", "x")
        if problem := find_url_problem(filled):
            yield DefinitionProblem(path, problem)


def _check_headers(definition: ActionDefinition) -> Iterator[DefinitionProblem]:
    credentials = definition.authentication_header
    seen = {credentials.lower(): "authentication"} if credentials else {}
    for name, value in definition.endpoint.headers.items():
        path: Path = ("endpoint", "headers", name)
        if problem := find_header_problem(name, value) or _find_env_problem(value):
            yield DefinitionProblem(path, problem)
        if name.lower() == "content-type" and (problem := find_charset_problem(value)):
            yield DefinitionProblem(path, problem)
        if name.lower() in seen:
            yield DefinitionProblem(path, f"the header is set by {seen[name.lower()]} too")
        seen[name.lower()] = f"'{name}'"


def _check_allowed_headers(definition: ActionDefinition) -> Iterator[DefinitionProblem]:
    own = {fold_header(name) for name in definition.endpoint.headers}
    if credentials := definition.authentication_header:
        own.add(fold_header(credentials))
    for index, name in enumerate(definition.allowed_headers):
        path: Path = ("allowedHeaders", index)
        if problem := find_header_problem(name):
            yield DefinitionProblem(path, f"can't be allowed: {problem}")
        elif fold_header(name) in own:
            yield DefinitionProblem(path, f"can't be allowed: the definition sets {name} itself")


def _check_authentication(definition: ActionDefinition) -> Iterator[DefinitionProblem]:
    authentication = definition.authentication
    if authentication is None:
        return
    if isinstance(authentication, ApiKeyAuthentication) and (problem := find_header_problem(authentication.header)):
        yield DefinitionProblem(("authentication", "header"), problem)
    if isinstance(authentication, BearerAuthentication) and authentication.token[:7].lower() == "bearer ":
        yield DefinitionProblem(("authentication", "token"), "must not begin with 'Bearer ', which is added to it")
    if isinstance(authentication, OAuth2ClientCredentials):
        if problem := _find_token_url_problem(authentication):
            yield DefinitionProblem(("authentication", "tokenUrl"), problem)
        if not all(map(_SCOPE.fullmatch, authentication.scope)):
            yield DefinitionProblem(("authentication", "scope"), "is not a list of words, one scope each")
    for name, field in type(authentication).model_fields.items():
        value = getattr(authentication, name)
        is_credential = isinstance(value, str) and name not in _NO_CREDENTIALS
        if is_credential and (problem := _find_credential_problem(name, value)):
            yield DefinitionProblem(("authentication", field.alias or name), problem)


def _find_token_url_problem(authentication: OAuth2ClientCredentials) -> str | None:
    if problems := find_template_problems(authentication.token_url):
        return problems[0]
    if find_placeholders(authentication.token_url) or ENV_REFERENCE.search(authentication.token_url):
        return "the token URL can't have placeholders"
    return None


def _find_credential_problem(name: str, value: str) -> str | None:
    # The value itself is not repeated: it may be a secret. The name of a variable is none.
    meant = find_meant_variable(value)
    if find_bad_env_reference(value) is not None:
        return f"has a reference that is not written as ${{env.NAME}}{meant and f'; write ${{env.{meant}}}'}"
    if meant:
        return f"would be sent as it is written; write ${{env.{meant}}} for the variable {meant}"
    if not value and name != "password":
        return "is empty"
    return "contains a line break or another control character" if find_header_problem("X", value) else None


def _find_env_problem(value: str) -> str | None:
    bad, meant = find_bad_env_reference(value), find_meant_variable(value)
    if bad is not None:
        return f"'{bad}' is not written as ${{env.NAME}}{meant and f'; write ${{env.{meant}}}'}"
    return f"would be sent as it is written; write ${{env.{meant}}} for the variable {meant}" if meant else None
