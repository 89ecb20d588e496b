"""Making a definition's authentication of the security schemes in an OpenAPI document. Pure.

Credentials become `${env.NAME}`. The names are made of the document's title and the scheme's name. A document may come
from anybody: a variable by which workers themselves run is none of its names.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from workflow_state.actions.openapi.document import Json, follow
from workflow_state.variables import find_owner

_MAX_TITLE_WORDS = 4


@dataclass(slots=True)
class Security:
    """How a request says who sends it: an authentication, more headers with keys, and why there may be none."""

    authentication: Json | None = None
    headers: dict[str, str] = field(default_factory=dict)
    variables: list[str] = field(default_factory=list)
    problem: str | None = None


class _SchemeError(Exception):
    """A scheme can't be expressed; the message says why."""


def read_security(document: Json, operation: Json, server: str) -> Security:
    """Return the first alternative of the operation that can be expressed; where there is none, `problem` says why."""
    alternatives = operation.get("security", document.get("security", []))
    problems: list[str] = []
    for alternative in alternatives if isinstance(alternatives, list) else []:
        try:
            return _read_alternative(document, alternative, server)
        except _SchemeError as error:
            problems.append(str(error))
    return Security(problem="; ".join(dict.fromkeys(problems)) or None)


def _read_alternative(document: Json, alternative: Any, server: str) -> Security:
    security = Security()
    for name, scopes in alternative.items() if isinstance(alternative, dict) else ():
        scheme = follow(document, document.get("components", {}).get("securitySchemes", {}).get(name))
        if not isinstance(scheme, dict):
            raise _SchemeError(f"the security scheme '{name}' is not in the document")
        _add_scheme(security, scheme, name, scopes, _prefix(document, name), server)
    return security


def _add_scheme(security: Security, scheme: Json, name: str, scopes: Any, prefix: str, server: str) -> None:
    kind = scheme.get("type")
    if kind == "apiKey" and scheme.get("in") == "header" and isinstance(scheme.get("name"), str):
        if security.authentication is None:
            value = _variable(security, prefix)
            security.authentication = {"type": "api_key", "header": scheme["name"], "value": value}
        else:
            security.headers[scheme["name"]] = _variable(security, prefix)
        return
    if security.authentication is not None:
        if security.authentication["type"] != "api_key":
            raise _SchemeError(f"the security scheme '{name}' would be a second authentication beside another")
        # A key can also be an ordinary header, which the other scheme can't.
        first = security.authentication
        security.headers[first["header"]] = first["value"]
        security.authentication = None
    http_scheme = str(scheme.get("scheme", "")).lower()
    if kind == "http" and http_scheme == "bearer":
        security.authentication = {"type": "bearer", "token": _variable(security, f"{prefix}_TOKEN")}
    elif kind == "http" and http_scheme == "basic":
        username, password = (_variable(security, f"{prefix}_{part}") for part in ("USERNAME", "PASSWORD"))
        security.authentication = {"type": "basic", "username": username, "password": password}
    elif kind == "oauth2":
        security.authentication = _read_oauth(security, scheme, scopes, prefix, server)
    elif kind == "openIdConnect":
        security.authentication = {"type": "bearer", "token": _variable(security, f"{prefix}_TOKEN")}
    else:
        where = f" in {scheme.get('in')}" if kind == "apiKey" else f" {http_scheme}" if kind == "http" else ""
        raise _SchemeError(f"the security scheme '{name}' ({kind}{where}) has no counterpart")


def _read_oauth(security: Security, scheme: Json, scopes: Any, prefix: str, server: str) -> Json:
    flows = scheme.get("flows")
    flow = flows.get("clientCredentials") if isinstance(flows, dict) else None
    if not isinstance(flow, dict) or not isinstance(flow.get("tokenUrl"), str):
        # A person has to log in elsewhere, and the token that they get is used.
        return {"type": "bearer", "token": _variable(security, f"{prefix}_TOKEN")}
    url = flow["tokenUrl"]
    if not re.match(r"https?://", url, re.IGNORECASE):
        origin = re.match(r"https?://[^/]+", server, re.IGNORECASE)
        url = f"{origin.group() if origin else ''}/{url.lstrip('/')}"
    authentication = {
        "type": "oauth2_client_credentials",
        "clientId": _variable(security, f"{prefix}_CLIENT_ID"),
        "clientSecret": _variable(security, f"{prefix}_CLIENT_SECRET"),
        "tokenUrl": url,
    }
    wanted = [scope for scope in scopes if isinstance(scope, str)] if isinstance(scopes, list) else []
    return {**authentication, "scope": wanted} if wanted else authentication


def _variable(security: Security, name: str) -> str:
    if find_owner(name):
        name = f"API_{name}"
    security.variables.append(name)
    return f"${{env.{name}}}"


def _prefix(document: Json, name: str) -> str:
    title = str(document.get("info", {}).get("title", "")) if isinstance(document.get("info"), dict) else ""
    # The title may be cut, not the scheme: two schemes must not share a variable.
    words = dict.fromkeys([*_words(title)[:_MAX_TITLE_WORDS], *_words(name)])
    text = "_".join(words)
    return text if text[:1].isalpha() else f"API_{text}"


def _words(text: str) -> list[str]:
    return [word.upper() for word in re.findall(r"[A-Za-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text))]
