from workflow_state.actions.definitions.rules import find_definition_problems
from workflow_state.schema import ActionDefinition
from workflow_state.testing.rewriting import find_environment_names, restore_urls, rewrite_definition, split_path

SERVER = "http://127.0.0.1:4711"


def definition(**fields):
    """Return a definition; what is not given says little."""
    given = {"id": "crm.customer", "endpoint": {"url": "https://crm.example/customers/{id}?full=1"}}
    return ActionDefinition.model_validate({**given, **fields})


def test_only_what_stands_before_the_path_is_replaced():
    rewritten = rewrite_definition(definition(), SERVER, 7)
    assert rewritten.definition.endpoint.url == f"{SERVER}/7/action/crm.customer:/customers/{{id}}?full=1"
    assert find_definition_problems(rewritten.definition) == []
    assert split_path("/7/action/crm.customer:/customers/c-1?full=1") == (
        rewritten.route.key,
        "/customers/c-1?full=1",
    )


def test_an_id_of_any_characters_makes_a_url_that_can_be_used():
    """Also one that could leave its segment, or end it."""
    for name in ("..", "a/b", "a:b", "{x}", "a b", "é", "?#%"):
        rewritten = rewrite_definition(definition(id=name), SERVER, 1)
        assert find_definition_problems(rewritten.definition) == []
        key, rest = split_path(rewritten.definition.endpoint.url.removeprefix(SERVER))
        assert (key, rest) == (rewritten.route.key, "/customers/{id}?full=1")


def test_no_route_is_the_beginning_of_another():
    routes = [rewrite_definition(definition(id=name), SERVER, 1).route for name in ("a", "ab", "a:", "a%3A")]
    text = " ".join(route.prefix + "/x" for route in routes)
    assert restore_urls(text, routes) == " ".join(["https://crm.example/x"] * 4)


def test_retries_are_hastened_and_not_made_fewer():
    policy = {"maxAttempts": 5, "initialDelayMs": 1_000, "maxDelayMs": 30_000, "backoffMultiplier": 3}
    given = definition(retryPolicy=policy, rateLimit={"concurrent": 1})
    fast = rewrite_definition(given, SERVER, 1).definition
    assert fast.retry_policy.to_json_data() == {**policy, "initialDelayMs": 10, "maxDelayMs": 10}
    assert fast.rate_limit is None
    kept = rewrite_definition(given, SERVER, 1, fast_retries=False, rate_limits=True).definition
    assert (kept.retry_policy, kept.rate_limit) == (given.retry_policy, given.rate_limit)


def test_a_retry_that_is_sooner_stays_so():
    policy = {"maxAttempts": 2, "initialDelayMs": 0, "maxDelayMs": 3, "backoffMultiplier": 1}
    fast = rewrite_definition(definition(retryPolicy=policy), SERVER, 1).definition
    assert fast.retry_policy.to_json_data() == policy


def test_a_token_is_asked_for_here_and_shared_as_in_production():
    """Grants are equal where their URLs are."""
    grant = {"type": "oauth2_client_credentials", "clientId": "me", "clientSecret": "${env.SECRET}"}
    first, second, other = (
        rewrite_definition(definition(id=name, authentication={**grant, "tokenUrl": url}), SERVER, 3)
        for name, url in (
            ("a", "https://login.example/token"),
            ("b", "https://login.example/token"),
            ("c", "https://other.example/token"),
        )
    )
    assert first.definition.authentication.token_url.startswith(f"{SERVER}/3/token/")
    assert first.definition.authentication.token_url.endswith(":/token")
    assert first.definition.authentication == second.definition.authentication
    assert first.token == second.token != other.token
    assert restore_urls(first.definition.authentication.token_url, first.routes) == "https://login.example/token"


def test_redirects_stay_within_the_server_where_they_stay_within_the_origin():
    route = rewrite_definition(definition(), SERVER, 1).route
    asked = "https://crm.example/customers/c-1"
    assert route.redirect(asked, "/moved?x=1") == f"{route.prefix}/moved?x=1"
    assert route.redirect(asked, "c-2") == f"{route.prefix}/customers/c-2"
    assert route.redirect(asked, "https://CRM.example/new") == f"{route.prefix}/new"
    for elsewhere in ("https://crm.example.org/new", "http://crm.example/new", "https://crm.example:8443/new"):
        assert route.redirect(asked, elsewhere) == elsewhere


def test_all_that_comes_from_the_environment_is_named():
    given = definition(
        endpoint={"url": "https://crm.example/${env.HOOK}?k=${env.KEY}", "headers": {"X-Tenant": "t-${env.TENANT}"}},
        authentication={"type": "basic", "username": "${env.USER_NAME}", "password": "${env.PASS}-${env.MORE}"},
        description="not ${env.THIS}",
    )
    assert find_environment_names(given) == {"HOOK", "KEY", "TENANT", "USER_NAME", "PASS", "MORE"}
    assert find_environment_names(definition()) == set()
