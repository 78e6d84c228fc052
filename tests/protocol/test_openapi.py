"""The description of the interface, by value."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.errors import ERRORS
from protocol.openapi import openapi
from protocol.routes import ENDPOINTS, STREAMS, Endpoint
from protocol.schemas import Schemas

DOCUMENT = openapi((*ENDPOINTS, *STREAMS), "1.2.3", Schemas())


def operation(endpoint: Endpoint) -> Any:
    return DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    if isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_it_is_openapi_3_1_with_its_version() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"


def test_every_reference_leads_to_a_schema() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    dangling = {ref for ref in references(DOCUMENT) if ref.removeprefix("#/components/schemas/") not in schemas}
    assert not dangling


@pytest.mark.parametrize("endpoint", [*ENDPOINTS, *STREAMS], ids=lambda endpoint: endpoint.name)
def test_every_endpoint_says_what_it_takes_and_gives(endpoint: Endpoint) -> None:
    described = operation(endpoint)
    assert described["operationId"] == endpoint.name
    assert described["summary"].endswith(".")
    assert str(endpoint.status) in described["responses"]
    in_path = {each["name"] for each in described["parameters"] if each["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", endpoint.path))
    assert ("requestBody" in described) == (endpoint.body is not None)
    assert ("content" in described["responses"][str(endpoint.status)]) == (endpoint.answer is not None)


@pytest.mark.parametrize("endpoint", [*ENDPOINTS, *STREAMS], ids=lambda endpoint: endpoint.name)
def test_every_code_stands_at_its_status(endpoint: Endpoint) -> None:
    responses = operation(endpoint)["responses"]
    for code in endpoint.error_codes():
        schema = responses[str(ERRORS[code].status)]["content"]["application/problem+json"]["schema"]
        assert code in schema["allOf"][1]["properties"]["code"]["enum"]


def test_no_two_endpoints_share_a_method_and_a_path() -> None:
    assert len({(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}) == len(ENDPOINTS)


def test_the_words_of_the_source_are_the_descriptions_of_fields() -> None:
    fields = DOCUMENT["components"]["schemas"]["CommentView"]["properties"]
    assert fields["body"]["description"] == "The Markdown as written."


def test_encoded_json_is_described_as_what_it_holds() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["CommentNode"]["properties"]["comment"]["$ref"] == "#/components/schemas/CommentView"
    assert schemas["Change"]["properties"]["data"]["$ref"] == "#/components/schemas/Publication"


def test_a_write_that_takes_an_operation_id_says_so() -> None:
    by_name = {endpoint.name: operation(endpoint) for endpoint in ENDPOINTS}
    headers = [each["name"] for each in by_name["create_comment"]["parameters"] if each["in"] == "header"]
    assert headers == ["Idempotency-Key"]
    assert "Idempotency-Key" not in str(by_name["react"])


def test_parameters_of_a_query_carry_their_bounds() -> None:
    parameters = DOCUMENT["paths"]["/v1/posts/{id}/comments"]["get"]["parameters"]
    (limit,) = (each["schema"] for each in parameters if each["name"] == "limit")
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 200, 50)
