"""Slips in definition files: each is told with its line, the value where that is no secret, and what was meant."""

import pytest

from workflow_state.actions.definitions.files import read_definition_files
from workflow_state.errors import ActionDefinitionError

HEAD = "id: a\nendpoint: {url: https://api.test/}\n"


def problems_of(folder, text, name="a.yaml"):
    """Return the problems of a file, without its folder."""
    path = folder / name
    path.write_text(text)
    with pytest.raises(ActionDefinitionError) as caught:
        read_definition_files([path])
    return [line.strip().removeprefix(f"{folder}/") for line in str(caught.value).splitlines()[1:]]


def endpoint(field):
    """Return a definition with one more field of its endpoint, in line 4."""
    return f"id: a\nendpoint:\n  url: https://api.test/\n  {field}\n"


TYPES = "bearer, api_key, basic or oauth2_client_credentials"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            HEAD + "authentication: {type: Bearer, token: x}\n",
            f"a.yaml:3: a: authentication.type must be {TYPES}, not 'Bearer'; did you mean 'bearer'?",
        ),
        (
            HEAD + "authentication: {type: apikey, header: X, value: x}\n",
            f"a.yaml:3: a: authentication.type must be {TYPES}, not 'apikey'; did you mean 'api_key'?",
        ),
        (HEAD + "authentication: {token: x}\n", f"a.yaml:3: a: authentication.type is missing; it is {TYPES}"),
        (
            endpoint("method: get"),
            "a.yaml:4: a: endpoint.method must be GET, POST, PUT, PATCH or DELETE, not 'get'; did you mean 'GET'?",
        ),
        (
            endpoint("timeout: 30s"),
            "a.yaml:4: a: endpoint.timeout must be a whole number of milliseconds, not '30s'; write 30000",
        ),
        (endpoint("timeout: 1.5"), "a.yaml:4: a: endpoint.timeout must be a whole number of milliseconds, not 1.5"),
        (endpoint("timeout: 0"), "a.yaml:4: a: endpoint.timeout must be at least 1 milliseconds, not 0"),
        (
            HEAD + "retryPolicy: {initialDelayMs: 2 min}\n",
            "a.yaml:3: a: retryPolicy.initialDelayMs must be a whole number of milliseconds, not '2 min'; write 120000",
        ),
        (
            endpoint("followRedirects: maybe"),
            "a.yaml:4: a: endpoint.followRedirects must be true or false, not 'maybe'",
        ),
        (
            endpoint("headers: {X-Version: 2}"),
            "a.yaml:4: a: endpoint.headers.X-Version must be text, not a number; write it in quotes",
        ),
        (endpoint("headers: [x]"), "a.yaml:4: a: endpoint.headers must be a mapping, not a list of length 1"),
        (HEAD + "effect: idempotant\n", "did you mean 'idempotent'?"),
        (HEAD + "effect: s3cr3t-t0ken\n", "a.yaml:3: a: effect must be safe, idempotent, keyed or unsafe"),
    ],
)
def test_a_wrong_value_says_what_was_meant(tmp_path, text, told):
    """With its unit; what is like none of the words is not shown."""
    [problem] = problems_of(tmp_path, text)
    assert problem.endswith(told)


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("$CRM_TOKEN", "would be sent as it is written; write ${env.CRM_TOKEN} for the variable CRM_TOKEN"),
        ("env.CRM_TOKEN", "would be sent as it is written; write ${env.CRM_TOKEN} for the variable CRM_TOKEN"),
        ("$env.CRM_TOKEN", "would be sent as it is written; write ${env.CRM_TOKEN} for the variable CRM_TOKEN"),
        ("'{{ CRM_TOKEN }}'", "would be sent as it is written; write ${env.CRM_TOKEN} for the variable CRM_TOKEN"),
        ("'%CRM_TOKEN%'", "would be sent as it is written; write ${env.CRM_TOKEN} for the variable CRM_TOKEN"),
        ("${CRM_TOKEN}", "has a reference that is not written as ${env.NAME}; write ${env.CRM_TOKEN}"),
        ("${env:CRM_TOKEN}", "has a reference that is not written as ${env.NAME}; write ${env.CRM_TOKEN}"),
        ("${hunter2 !}", "has a reference that is not written as ${env.NAME}"),
        ("Bearer abc", "must not begin with 'Bearer ', which is added to it"),
    ],
)
def test_a_token_that_looks_like_a_variable_says_how_to_write_one(tmp_path, token, told):
    """The name of a variable is no secret; anything else is not repeated."""
    text = HEAD + f"authentication:\n  type: bearer\n  token: {token}\n"
    assert problems_of(tmp_path, text) == [f"a.yaml:5: a: authentication.token {told}"]


@pytest.mark.parametrize("token", ["$ecret", "$2a$12$x", "pa$$", "'%41%42'", "${env.CRM_TOKEN}", "x-${env.CRM_TOKEN}"])
def test_a_token_with_a_dollar_sign_is_one(tmp_path, token):
    """Many secrets have one, and hashed passwords begin with one."""
    path = tmp_path / "a.yaml"
    path.write_text(HEAD + f"authentication:\n  type: bearer\n  token: {token}\n")
    assert [*read_definition_files([path])] == ["a"]


def test_a_header_that_looks_like_a_variable_is_told_too(tmp_path):
    """Also behind the word that says what it is."""
    for value in ("$CRM_TOKEN", "Token $CRM_TOKEN"):
        [problem] = problems_of(tmp_path, endpoint(f"headers: {{X-Key: {value}}}"))
        assert problem.endswith("would be sent as it is written; write ${env.CRM_TOKEN} for the variable CRM_TOKEN")
    [problem] = problems_of(tmp_path, endpoint("headers: {X-Key: 'Token ${CRM_TOKEN}'}"))
    assert problem.endswith("'${CRM_TOKEN}' is not written as ${env.NAME}; write ${env.CRM_TOKEN}")


@pytest.mark.parametrize(
    ("text", "line", "advice"),
    [
        (HEAD + "authentication: {type: bearer, token: ${env.X}}\n", 3, "quote the reference: '${env.X}'"),
        (HEAD + "authentication: {token: ${env.X}, type: bearer}\n", 3, "quote the reference: '${env.X}'"),
        ("id: a\nendpoint:\n  url: {base}/users\n", 3, "quote the value: '{base}/users'"),
        ("id: a\nendpoint:\n\turl: https://h\n", 3, "indent with spaces, not with tabs"),
        ("id: a\ndescription: note: this\n", 2, "quote the value that has ': ' in it"),
        ("id: a\n  name: b\n", 2, "indent fields of one mapping alike"),
        ("id: a\nname: @x\n", 2, "quote the value that begins with @"),
        ("id: a\nendpoint: {url: https://h\nname: b\n", 3, "add the missing comma, or the bracket at the end"),
    ],
)
def test_yaml_that_does_not_parse_says_what_to_do(tmp_path, text, line, advice):
    """With the line and the column; the parser's own words stay."""
    [problem] = problems_of(tmp_path, text)
    assert problem.startswith(f"a.yaml:{line}: is not YAML: ")
    assert problem.endswith(f"; {advice}")
    assert " at column " in problem


def test_json_that_does_not_parse_is_told_in_words(tmp_path):
    """The same words as for a plan."""
    assert problems_of(tmp_path, '{"id": "a",\n}', "a.json") == [
        "a.json:1: is not JSON: there is a comma at line 1, column 11, and nothing comes after it; remove the comma"
    ]
