"""Whether an input of an action has a place in its request. Pure functions.

    GET https://api.example.com/users/{userId}
    userId, query.page, header.x-trace        have a place
    userid, page, body.name                   have none: nobody knows where `page` goes, and a GET has no body

A plan with such an input is refused when it is validated, so that no request leaves before. It is refused once more
before its own request is sent.
"""

from typing import Final

from workflow_state.overrides import Override
from workflow_state.schema import ActionDefinition
from workflow_state.wording import did_you_mean, shown

PLACES: Final = ("query", "header", "body")
"""What stands before the dot of an input that is no placeholder of the URL."""


def split_input(key: str) -> tuple[str, str]:
    """Return where an input goes, and by which name there; for a placeholder of the URL that is "" and the key.

    >>> split_input("query.page"), split_input("userId"), split_input("body")
    (('query', 'page'), ('', 'userId'), ('body', ''))
    """
    place, dot, name = key.partition(".")
    if key == "body" or (dot and name and place in PLACES):
        return place, name
    return "", key


def find_placement_problem(key: str, definition: ActionDefinition) -> Override | None:
    """Return why the request has no place for the input, and what to do; None where it has one."""
    place, name = split_input(key)
    endpoint = definition.endpoint
    if place == "body" and endpoint.method == "GET":
        instead = shown(f"query.{name}") if name else "query.NAME"
        return Override("a GET request has no body", f"use {instead} in place of {shown(key)}")
    if place or name in endpoint.placeholders:
        return None
    return Override(f"the input '{shown(key)}' has no place in the request", _advise(key, definition))


def _advise(key: str, definition: ActionDefinition) -> str:
    placeholders = definition.endpoint.placeholders
    listed = ", ".join(f"'{name}'" for name in placeholders)
    there = f"placeholders of the URL: {listed}" if placeholders else "the URL has no placeholders"
    guess = did_you_mean(key, placeholders)
    # `boby.name` has a dot, and would get another one.
    name = shown(key.rpartition(".")[2] or "NAME")
    others = f"query.{name} or header.{name}"
    if definition.endpoint.method != "GET":
        others = f"query.{name}, header.{name}, body.{name} or body"
    return f"{guess}{' ' if guess else ''}{there}; anything else goes as {others}"
