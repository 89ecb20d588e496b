"""The catalog: definitions from files and from code, and what is said about wrong ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from workflow_state.actions.definitions.catalog import (
    check_action_definition,
    forget_catalog,
    forget_definition_files,
    list_action_definitions,
    load_action_definition,
    load_catalog,
    register_action_definition,
    replace_definition_files,
)
from workflow_state.errors import ActionDefinitionError
from workflow_state.settings import get_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make an empty folder that the catalog reads."""
    monkeypatch.setenv("WORKFLOW_STATE_ACTIONS", str(tmp_path))
    get_settings.cache_clear()
    forget_catalog()
    yield tmp_path
    forget_catalog()
    get_settings.cache_clear()


def write(path: Path, text: str) -> Path:
    path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
    return path


def problems() -> list[str]:
    with pytest.raises(ActionDefinitionError) as caught:
        load_catalog()
    return str(caught.value).split("\n  ")[1:]


def minimal(definition_id: str = "a", **fields: Any) -> dict[str, Any]:
    return {"id": definition_id, "endpoint": {"url": "https://api.test/"}, **fields}


# --- What is read


def test_json_is_read_however_it_is_written(folder):
    """YAML knows the lines of JSON, but not all of its escapes, characters and names."""
    said = {"emoji": "😀", "half": "a \\ud83d b", "odd": "\x7f\x85\u2028\uffff", "k" * 2_000: 1}
    document = minimal("a", description="😀 \\", outputSchema={"examples": [said]})
    (folder / "escaped.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "raw.json").write_text(json.dumps(document | {"id": "b"}, ensure_ascii=False), encoding="utf-8")
    (folder / "lines.json").write_text('{"id"\n:"c", "endpoint":{"url":"https:\\/\\/api.test/"}}', encoding="utf-8")
    found = load_catalog()
    assert found["a"].description == found["b"].description == "😀 \\"
    assert found["a"].output_schema == found["b"].output_schema == {"examples": [said]}
    assert found["c"].endpoint.url == "https://api.test/"


def test_an_escaped_emoji_hides_no_line(folder):
    """Nor do a half of one, and a backslash before it."""
    text = '{\n"id": "a",\n"description": "\\ud83d\\ude00 \\\\ud83d",\n"\\ud83d\\ude00": 1,\n"endpoint": {"url": "x"}}'
    (folder / "a.json").write_text(text, encoding="utf-8")
    assert [Path(problem.partition(" ")[0]).name for problem in problems()] == ["a.json:4:"]
    (folder / "a.json").write_text(text.replace("\\ud83d\\ude00 ", "\\ude00"), encoding="utf-8")
    assert [Path(problem.partition(" ")[0]).name for problem in problems()] == ["a.json:3:", "a.json:4:"]


def test_definitions_come_from_yaml_and_json_in_three_shapes(folder):
    write(
        folder / "one.yaml",
        """
        id: one
        name: One
        endpoint:
          url: https://api.test/{id}
          method: POST
          timeout: 1000
        """,
    )
    write(
        folder / "several.yml", "id: two\nendpoint: {url: https://a.test}\n---\nid: three\nendpoint: {url: http://b}\n"
    )
    (folder / "list.json").write_text(json.dumps([minimal("four"), minimal("five", effect="keyed")], indent="\t"))
    (folder / "empty.yaml").write_text("# nothing yet\n")
    (folder / "notes.txt").write_text("not a definition")
    (folder / ".hidden.yaml").write_text("{")
    assert [definition.id for definition in list_action_definitions()] == ["five", "four", "one", "three", "two"]
    assert load_action_definition("one").endpoint.timeout == 1000
    assert load_action_definition("five").effective_effect == "keyed"


def test_several_folders_and_files_are_joined_by_a_colon(folder, monkeypatch):
    sub = folder / "sub"
    sub.mkdir()
    write(sub / "a.yaml", "id: a\nendpoint: {url: https://a}\n")
    file = write(folder / "b.yaml", "id: b\nendpoint: {url: https://b}\n")
    monkeypatch.setenv("WORKFLOW_STATE_ACTIONS", f"{sub}:{file}:{file}")
    get_settings.cache_clear()
    assert sorted(load_catalog()) == ["a", "b"]


def test_plain_yaml_values_mean_what_people_expect(folder):
    write(
        folder / "a.yaml",
        """
        id: no
        name: 2024-01-01
        description: on
        endpoint:
          url: https://api.test/
          headers: {X-Version: '1', X-Country: NO, X-Time: 12:30:00}
        retryPolicy: {initialDelayMs: 1e3, backoffMultiplier: 1.5}
        outputSchema: {const: true, default: ~, pattern: "0123", maximum: -1, enum: [yes, 0x10]}
        """,
    )
    definition = load_action_definition("no")
    assert definition.name == "2024-01-01"
    assert definition.description == "on"
    assert definition.endpoint.headers == {"X-Version": "1", "X-Country": "NO", "X-Time": "12:30:00"}
    assert definition.retry_policy.initial_delay_ms == 1000
    assert definition.output_schema == {
        "const": True,
        "default": None,
        "pattern": "0123",
        "maximum": -1,
        "enum": ["yes", 16],
    }


def test_files_are_read_once(folder):
    write(folder / "a.yaml", "id: a\nendpoint: {url: https://a}\n")
    assert load_action_definition("a")
    write(folder / "a.yaml", "broken: [")
    assert load_action_definition("a")
    forget_catalog()
    assert problems()


# --- What is wrong


def test_every_problem_of_every_file_is_reported_with_its_line(folder):
    write(
        folder / "a.yaml",
        """
        id: a
        nme: A
        endpoint:
          url: ftp://api.test/
          timeout: soon
        authentication:
          type: bearer
        retry_policy:
          maxAttempts: 99
        """,
    )
    write(folder / "b.yaml", "- id: b\n  endpoint:\n    method: GET\n- just text\n")
    (folder / "c.json").write_text('{\n\t"id": "c",\n\t"endpoint": {\n\t\t"url": "https://h:99999/"\n\t}\n}')
    assert [problem.replace(f"{folder}/", "") for problem in problems()] == [
        "a.yaml:2: a: nme is not a field of a definition; did you mean 'name'?",
        "a.yaml:5: a: endpoint.timeout must be a whole number of milliseconds, not 'soon'",
        "a.yaml:6: a: authentication.token is missing",
        "a.yaml:9: a: retry_policy.maxAttempts must be at most 20, not 99",
        "b.yaml:2: b: endpoint.url is missing",
        "b.yaml:4: a definition must be a mapping of fields",
        "c.json:4: c: endpoint.url the port 99999 does not exist",
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "id: a\nid: b\nendpoint: {url: https://h}\n", "a.yaml:2: the field 'id' is there twice"),
        (
            "a.json",
            '{"id": "a",\n"id": "b", "endpoint": {"url": "https://h"}}',
            "a.json:2: the field 'id' is there twice",
        ),
        ("a.yaml", "id: &x a\nname: *x\nendpoint: {url: https://h}\n", "an alias (*name) is not allowed"),
        ("a.yaml", "a: &a [1, 2]\nb: [*a, *a]\n", "a.yaml:1: an alias"),
        ("a.yaml", "id: !!python/object:os.system a\n", "a.yaml:1: the tag"),
        ("a.yaml", "id: a\n\tname: b\n", "a.yaml:2: is not YAML"),
        ("a.yaml", "id: [a\n", "is not YAML"),
        ("a.json", '{"id": "a",\n oops}', "a.json:2: is not JSON"),
        ("a.json", "{'id': 'a'}", "a.json:1: is not JSON"),
        ("a.yaml", "? [a]\n: b\n", "a.yaml:1: the name of a field must be text"),
        ("a.yaml", "id: " + "[" * 5_000 + "\n", "a.yaml"),
        ("a.yaml", "id: a\nx: " + "9" * 5_000 + "\n", "a.yaml:2: an integer has thousands of digits; write it as text"),
        ("a.yaml", "id: a\nx: 0x" + "f" * 5_000 + "\n", "a.yaml:2: an integer has thousands of digits"),
        ("a.json", '{"id": ' + "9" * 5_000 + "}", "a.json: an integer has thousands of digits; write it as text"),
        ("a.yaml", "id: a\x00\n", "can't be read"),
    ],
)
def test_a_file_that_can_not_be_read_says_where(folder, name, text, said):
    (folder / name).write_text(text)
    assert said in "\n".join(problems())


def test_a_file_that_is_not_utf8_says_so(folder):
    (folder / "a.yaml").write_bytes(b"id: \xff\n")
    assert problems() == [f"{folder}/a.yaml: is not UTF-8 text"]


def test_an_id_in_two_files_names_both(folder):
    write(folder / "a.yaml", "id: a\nendpoint: {url: https://h}\n")
    write(folder / "b.yaml", "# mine\nid: a\nendpoint: {url: https://h}\n")
    assert problems() == [f"{folder}/b.yaml:2: the id 'a' is used in {folder}/a.yaml:1 too"]


@pytest.mark.parametrize(
    ("path", "said"),
    [("missing", "there is no such file or folder"), ("notes.txt", "the name of a definition file ends in")],
)
def test_a_path_without_definitions_says_so(folder, monkeypatch, path, said):
    (folder / "notes.txt").write_text("x")
    monkeypatch.setenv("WORKFLOW_STATE_ACTIONS", str(folder / path))
    get_settings.cache_clear()
    assert said in problems()[0]


def test_an_unknown_id_says_what_is_near_and_where_was_looked(folder):
    write(folder / "a.yaml", "id: get_user\nendpoint: {url: https://h}\n")
    with pytest.raises(ActionDefinitionError) as caught:
        load_action_definition("get_usr")
    assert "did you mean 'get_user'?" in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_variable_that_no_definition_may_read_is_refused_with_its_line(folder, monkeypatch):
    monkeypatch.setenv("WORKFLOW_STATE_SECRETS", "CRM_*")
    get_settings.cache_clear()
    write(
        folder / "a.yaml",
        """
        id: a
        endpoint:
          url: https://h/${env.CRM_PATH}
          headers: {X: "${env.CRM_X}"}
        authentication:
          type: bearer
          token: "${env.MAIL_KEY}"
        """,
    )
    [problem] = problems()
    assert problem.startswith(f"{folder / 'a.yaml'}:7: a: authentication.token is refused: ")
    assert "MAIL_KEY is not in WORKFLOW_STATE_SECRETS (CRM_*); add it there" in problem


def test_without_a_folder_the_setting_is_named(monkeypatch):
    monkeypatch.delenv("WORKFLOW_STATE_ACTIONS")
    get_settings.cache_clear()
    with pytest.raises(ActionDefinitionError, match="WORKFLOW_STATE_ACTIONS"):
        load_action_definition("x")
    assert list_action_definitions() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"endpoint": {"url": "{scheme}://h/"}}, "literal http"),
        ({"endpoint": {"url": "https://{host}/"}}, "must be literal"),
        ({"endpoint": {"url": "https://h:{port}/"}}, "must be literal"),
        ({"endpoint": {"url": "https://${env.HOST}/"}}, "must be literal"),
        ({"endpoint": {"url": "https://{u}@h/"}}, "must be literal"),
        ({"endpoint": {"url": "https://u:p@h/"}}, "authentication"),
        ({"endpoint": {"url": "https:///x"}}, "host and port"),
        ({"endpoint": {"url": "https://h:x/"}}, "host and port"),
        ({"endpoint": {"url": "https://1.2.3.999/"}}, "IPv4"),
        ({"endpoint": {"url": "https://h/{a}/{a}"}}, "occurs twice"),
        ({"endpoint": {"url": "https://h/{a"}}, "{name}"),
        ({"endpoint": {"url": "https://h/{}"}}, "{name}"),
        ({"endpoint": {"url": "https://h/{a b}"}}, "space"),
        ({"endpoint": {"url": "https://h/${env.A-B}"}}, "{name}"),
        ({"endpoint": {"url": "https://h/?${env.A}=1"}}, "name of a query parameter"),
        ({"endpoint": {"url": "https://h/?a=1&${env.A}"}}, "name of a query parameter"),
        (
            {"endpoint": {"url": "https://h/${env.REDIS_URL}"}},
            "endpoint.url is refused: the environment variable REDIS",
        ),
        ({"endpoint": {"url": "https://h/", "headers": {"X": "${env.HOME}"}}}, "endpoint.headers.X is refused"),
        (
            {"authentication": {"type": "bearer", "token": "${env.AWS_SESSION_TOKEN}"}},
            "authentication.token is refused",
        ),
        (
            {
                "authentication": {
                    "type": "oauth2_client_credentials",
                    "clientId": "a",
                    "clientSecret": "b",
                    "tokenUrl": "https://h/${env.A}",
                }
            },
            "the token URL can't have placeholders",
        ),
        ({"endpoint": {"url": "https://h/{body}"}}, "called body"),
        ({"endpoint": {"url": "https://h/../x"}}, "'..'"),
        ({"endpoint": {"url": "https://h/%2e%2e/x"}}, "'..'"),
        ({"endpoint": {"url": "https://h/#x"}}, "fragment"),
        ({"endpoint": {"url": "https://h/\x07"}}, "space or a control"),
        ({"endpoint": {"url": "https://h/", "headers": {"Host": "x"}}}, "Host"),
        ({"endpoint": {"url": "https://h/", "headers": {"X A": "x"}}}, "no header name"),
        ({"endpoint": {"url": "https://h/", "headers": {"X": "a\nb"}}}, "line break"),
        ({"endpoint": {"url": "https://h/", "headers": {"X": "1", "x": "2"}}}, "set by 'X' too"),
        ({"endpoint": {"url": "https://h/", "headers": {"X": "${env.A-B}"}}}, "${env.NAME}"),
        ({"endpoint": {"url": "https://h/", "headers": {"Proxy-Foo": "x"}}}, "Proxy-Foo"),
        ({"authentication": {"type": "bearer", "token": "${TOKEN}"}}, "authentication.token"),
        ({"authentication": {"type": "bearer", "token": ""}}, "authentication.token is empty"),
        ({"authentication": {"type": "api_key", "header": "Cookie", "value": "x"}}, "Cookie"),
        ({"authentication": {"type": "nonsense"}}, "authentication"),
        (
            {
                "endpoint": {"url": "https://h/", "headers": {"authorization": "x"}},
                "authentication": {"type": "bearer", "token": "x"},
            },
            "set by authentication too",
        ),
        (
            {
                "authentication": {
                    "type": "oauth2_client_credentials",
                    "clientId": "a",
                    "clientSecret": "b",
                    "tokenUrl": "file:///x",
                }
            },
            "tokenUrl",
        ),
        (
            {
                "authentication": {
                    "type": "oauth2_client_credentials",
                    "clientId": "a",
                    "clientSecret": "b",
                    "tokenUrl": "https://h/token",
                    "scope": ["read write"],
                }
            },
            "authentication.scope is not a list of words",
        ),
        ({"timeout": 3}, "timeout is not a field"),
        ({"name": "a\x1b[31m"}, "name contains the control character U+001B"),
        ({"description": "a\nb\x00"}, "description contains the control character U+0000"),
        ({"allowedHeaders": ["X", "Host"]}, "allowedHeaders.1 can't be allowed: the header Host"),
        ({"allowedHeaders": ["Transfer-Encoding"]}, "set by the client itself or not at all"),
        ({"allowedHeaders": ["X A"]}, "no header name"),
        (
            {"authentication": {"type": "bearer", "token": "x"}, "allowedHeaders": ["authorization"]},
            "can't be allowed: the definition sets authorization itself",
        ),
    ],
)
def test_a_definition_that_could_not_be_sent_is_refused(change, said):
    with pytest.raises(ActionDefinitionError) as caught:
        register_action_definition({**minimal(), **change})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "https://h:8443/a/{b}/c-{d}?e={f}&g=1",
        "http://[::1]:80/x",
        "http://127.0.0.1:1/",
        "https://xn--bcher-kva.ch/",
        "https://h/a%2Fb",
        "https://h/v1.2/x..y",
        "HTTPS://h/",
        "https://h/hooks/${env.HOOK}/{a}?key=${env.KEY}&q={b}",
    ],
)
def test_a_url_that_can_be_sent_is_accepted(url):
    assert register_action_definition(minimal(endpoint={"url": url})).endpoint.url == url


def test_secrets_are_not_repeated_in_errors():
    with pytest.raises(ActionDefinitionError) as caught:
        register_action_definition({**minimal(), "authentication": {"type": "bearer", "token": "hunter2\n${x}"}})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ActionDefinitionError) as caught:
        register_action_definition({**minimal(), "authentication": {"type": "bearer", "token": ["hunter2"]}})
    assert "hunter2" not in str(caught.value)


def test_oauth2_definitions_can_be_loaded():
    oauth2 = {"type": "oauth2_client_credentials", "clientId": "a", "clientSecret": "b", "tokenUrl": "https://h/token"}
    assert register_action_definition(minimal(authentication=oauth2)).authentication


# --- From code


def test_a_registered_definition_replaces_one_of_the_same_id(folder):
    write(folder / "a.yaml", "id: a\nname: file\nendpoint: {url: https://h}\n")
    assert load_action_definition("a").name == "file"
    register_action_definition(minimal(name="first"))
    second = register_action_definition(register_action_definition(minimal(name="second")))
    assert load_action_definition("a") == second
    assert [definition.name for definition in list_action_definitions()] == ["second"]
    forget_catalog()
    assert load_action_definition("a").name == "file"


def test_a_registered_definition_needs_no_files(folder):
    (folder / "broken.yaml").write_text("{")
    register_action_definition(minimal("mine"))
    assert load_action_definition("mine").id == "mine"


def test_definitions_can_be_given_in_place_of_files() -> None:
    """Until they are forgotten; what is registered in code stays."""
    given = check_action_definition({"id": "given", "endpoint": {"url": "https://api.example/"}})
    register_action_definition({"id": "registered", "endpoint": {"url": "https://api.example/"}})
    replace_definition_files({"given": given})
    assert set(load_catalog()) == {"given", "registered"}
    assert load_action_definition("given") is given
    forget_definition_files()
    assert set(load_catalog()) == {"registered"}
