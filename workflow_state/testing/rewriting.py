"""Definitions whose requests go to a server on loopback instead of to their own hosts.

Pure functions. Only what stands before a URL's path is replaced, so that the path, the query and all that is filled
into them are what they are in production. What is put in its place ends in a colon, which no quoted id contains: none
is the beginning of another.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from workflow_state.actions.http.url_template import split_template
from workflow_state.schema import ENV_REFERENCE, ActionDefinition, OAuth2ClientCredentials, RetryPolicy

LONGEST_DELAY_MS = 10
"""How long a retry waits at most with `fast_retries`."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where the requests to an origin go: `prefix` stands in its place; `key` is how a received path begins."""

    origin: str
    prefix: str
    key: str

    def detour(self, url: str) -> str:
        """Return where a URL of the origin goes; any other one is returned as it is."""
        begins = url[: len(self.origin)].lower() == self.origin.lower()
        rest = url[len(self.origin) :]
        return self.prefix + rest if begins and rest[:1] in ("", "/", "?", "#") else url

    def redirect(self, original_url: str, location: str) -> str:
        """Return the Location header to send for the one that the origin's server would: relative ones, too."""
        return self.detour(urljoin(original_url, location))


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A definition that goes to the server, and its routes; `token` is there with OAuth 2 only."""

    definition: ActionDefinition
    route: Route
    token: Route | None = None

    @property
    def routes(self) -> list[Route]:
        """All its routes."""
        return [self.route, self.token] if self.token else [self.route]


def rewrite_definition(
    definition: ActionDefinition,
    server_url: str,
    number: int,
    *,
    fast_retries: bool = True,
    rate_limits: bool = False,
) -> Rewritten:
    """Return the definition as the worker gets it in test `number`.

    With `fast_retries` no retry waits longer than `LONGEST_DELAY_MS`; without `rate_limits` there are none. All else,
    credentials, schemas, timeout and effect, is the definition's own.
    """
    origin = split_template(definition.endpoint.url).origin
    route = _make_route(origin, server_url, f"/{number}/action/{quote(definition.id, safe='')}:")
    endpoint = definition.endpoint.model_copy(update={"url": route.detour(definition.endpoint.url)})
    changes: dict[str, object] = {"endpoint": endpoint}
    token = None
    if isinstance(authentication := definition.authentication, OAuth2ClientCredentials):
        # By its URL, not by the definition: definitions with one grant share a token in production, and here.
        origin = split_template(authentication.token_url).origin
        token = _make_route(origin, server_url, f"/{number}/token/{quote(origin, safe='')}:")
        detour = {"token_url": token.detour(authentication.token_url)}
        changes["authentication"] = authentication.model_copy(update=detour)
    if fast_retries:
        changes["retry_policy"] = _hasten(definition.retry_policy)
    if not rate_limits:
        changes["rate_limit"] = None
    return Rewritten(definition.model_copy(update=changes), route, token)


def _make_route(origin: str, server_url: str, key: str) -> Route:
    return Route(origin, server_url + key, key)


def _hasten(policy: RetryPolicy) -> RetryPolicy:
    return policy.model_copy(
        update={
            "initial_delay_ms": min(policy.initial_delay_ms, LONGEST_DELAY_MS),
            "max_delay_ms": min(policy.max_delay_ms, LONGEST_DELAY_MS),
        }
    )


def split_path(path: str) -> tuple[str, str] | None:
    """Return the key of a received path, and what the origin's server would have received; None without a key."""
    key, colon, rest = path.partition(":")
    return (key + colon, rest) if colon else None


def find_environment_names(definition: ActionDefinition) -> set[str]:
    """Return the names of the environment variables that the definition's URL, headers and credentials have in them."""
    data = definition.to_json_data()
    return set(ENV_REFERENCE.findall(json.dumps([data.get("authentication"), data["endpoint"]])))


def restore_urls(text: str, routes: Iterable[Route]) -> str:
    """Return a text, of JSON maybe, with the definitions' own URLs in it."""
    for route in routes:
        text = text.replace(route.prefix, route.origin)
    return text
