"""Credentials of a definition: `${env.NAME}` is looked up when the request is built, and never before.

Pure: the environment is passed in. The values that were looked up are also returned as secrets, so that they can be
taken out of everything that is kept.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote_plus

from workflow_state.actions.http.failures import make_detail
from workflow_state.actions.http.scrubbing import MAX_SECRET_CHARACTERS
from workflow_state.actions.http.url_template import fill_variables
from workflow_state.errors import HttpActionError
from workflow_state.schema import (
    ENV_REFERENCE,
    ActionDefinition,
    ApiKeyAuthentication,
    BasicAuthentication,
    BearerAuthentication,
    ErrorCategory,
    OAuth2ClientCredentials,
)
from workflow_state.settings import get_settings
from workflow_state.variables import find_variable_problem

# Python makes surrogates of bytes in the environment that are not UTF-8.
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# A shorter one may be an ordinary word.
_LONG_SEGMENT = 12


@dataclass(frozen=True, slots=True)
class Credentials:
    """The URL and the headers that a definition sets itself, and the secret values in them.

    The URL still has its placeholders.
    """

    url: str
    headers: dict[str, str]
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token request has in it (RFC 6749, section 4.4). Definitions with equal grants share their tokens.

    `method` is how the client says who it is (RFC 7591, `token_endpoint_auth_method`).
    """

    token_url: str
    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...]
    method: str
    env_values: tuple[str, ...] = field(repr=False, compare=False)

    @property
    def basic_pair(self) -> str:
        """User and password of client_secret_basic: both are form-encoded first (RFC 6749, section 2.3.1)."""
        return f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that may be in nothing that is kept."""
        return (self.client_secret, self.basic_pair, *self.env_values)


def resolve_grant(definition: ActionDefinition, environment: Mapping[str, str]) -> Grant | None:
    """Return what the token request has in it, or None where the definition has no OAuth 2.

    Raises HttpActionError like `resolve_credentials`.
    """
    authentication = definition.authentication
    if not isinstance(authentication, OAuth2ClientCredentials):
        return None
    templates = (authentication.client_id, authentication.client_secret)
    client_id, client_secret = (_resolve(template, definition, environment) for template in templates)
    values = [value for template in templates for value in _env_values(template, environment)]
    return Grant(
        token_url=authentication.token_url,
        client_id=client_id,
        client_secret=client_secret,
        scopes=tuple(authentication.scope),
        method=authentication.token_endpoint_auth_method,
        env_values=tuple(values),
    )


def resolve_credentials(
    definition: ActionDefinition, environment: Mapping[str, str], token: str | None = None
) -> Credentials:
    """Return the definition's own URL and headers and its authentication, with the environment's values in them.

    `token` is the access token for OAuth 2. It is not among the secrets that are returned: the caller knows it. Without
    it the header says that no token was asked for yet, for a request that is only shown.

    A token, key or password is a secret even if it is written in the definition. Other values are secrets if they come
    from the environment: for some servers the user name is the key. Raises HttpActionError (auth_invalid, not
    retryable), which names the variable that is missing, may not be read or can't be sent, and never a value.
    """
    url, written = fill_variables(definition.endpoint.url, partial(_look_up, definition, environment))
    templates = definition.endpoint.headers
    headers = {name: _resolve(value, definition, environment) for name, value in templates.items()}
    secrets = [value for template in templates.values() for value in _env_values(template, environment)]
    secrets += _parts_of(*_env_values(definition.endpoint.url, environment), *written)
    match definition.authentication:
        case None:
            pass
        case BearerAuthentication(token=template):
            token = _resolve(template, definition, environment)
            headers["Authorization"] = f"Bearer {token}"
            secrets += [token, *_env_values(template, environment)]
        case ApiKeyAuthentication(header=header, value=template):
            headers[header] = _resolve(template, definition, environment)
            secrets += [headers[header], *_env_values(template, environment)]
        case BasicAuthentication(username=username, password=password):
            user = _resolve(username, definition, environment)
            if ":" in user:
                raise _refuse(definition, "the user name of basic authentication can't contain a colon")
            pair = f"{user}:{_resolve(password, definition, environment)}"
            encoded = base64.b64encode(pair.encode()).decode()
            headers["Authorization"] = f"Basic {encoded}"
            secrets += [pair, encoded, pair.partition(":")[2]]
            secrets += [*_env_values(username, environment), *_env_values(password, environment)]
        case OAuth2ClientCredentials():
            grant = resolve_grant(definition, environment)
            headers["Authorization"] = f"Bearer {token or 'not asked for yet'}"
            secrets += grant.secrets if grant else ()
    return Credentials(url, headers, tuple(secrets))


def _parts_of(*values: str) -> list[str]:
    """Return secrets of a URL, and their long segments: a server may echo the last of a webhook's `T01/B02/x3Y…`."""
    segments = [segment for value in values for segment in value.split("/")]
    return [*values, *(segment for segment in segments if len(segment) >= _LONG_SEGMENT)]


def _resolve(template: str, definition: ActionDefinition, environment: Mapping[str, str]) -> str:
    resolved = ENV_REFERENCE.sub(lambda match: _look_up(definition, environment, match.group(1)), template)
    _require_short(definition, resolved)
    return resolved


def _look_up(definition: ActionDefinition, environment: Mapping[str, str], name: str) -> str:
    # A definition that was read was refused for it already. One that was made in code may be sent without being read.
    if problem := find_variable_problem(name, get_settings().secrets):
        raise _refuse(definition, problem)
    value = environment.get(name)
    if not value:
        raise _refuse(
            definition,
            f"the environment variable {name} is not set in the worker",
            code="missing_environment_variable",
            suggestion=f"set {name} where the worker is started, and restart it",
        )
    if _UNSENDABLE.search(value):
        raise _refuse(
            definition,
            f"the environment variable {name} holds a character that can't be sent, maybe a line break at its end",
            suggestion=f"set {name} to the bare value",
        )
    _require_short(definition, value)
    return value


def _require_short(definition: ActionDefinition, text: str) -> None:
    # Each form of it is searched for in all that is kept of each answer.
    if len(text) > MAX_SECRET_CHARACTERS:
        message = f"a header or credential of the definition has more than {MAX_SECRET_CHARACTERS} characters"
        raise _refuse(definition, message)


def _env_values(template: str, environment: Mapping[str, str]) -> list[str]:
    return [environment[name] for name in ENV_REFERENCE.findall(template) if environment.get(name)]


def _refuse(
    definition: ActionDefinition, message: str, *, code: str = "bad_credentials", suggestion: str | None = None
) -> HttpActionError:
    return HttpActionError(
        make_detail(
            ErrorCategory.AUTH_INVALID,
            code,
            message,
            context={"actionDefinitionId": definition.id},
            suggestion=suggestion,
        )
    )
