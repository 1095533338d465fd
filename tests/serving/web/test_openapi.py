"""The OpenAPI document of several services: valid, complete, and in agreement with the codecs that read the requests."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from jsonschema_rs import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from serving.base import errors
from serving.base.errors import BadInput, ServingError, TooLarge
from serving.inputs import v1_predict, v2_open_inference
from serving.inputs.files import BYTES, file_kinds
from serving.models.tensors import ModelSpec, TensorSpec
from serving.service.service import Route
from serving.settings.declarations import Settings
from serving.web.openapi import ServiceInputs, document

DEMO = Settings(service_name="demo", username="like", max_rows_per_request=4)
IMAGE = ModelSpec(
    "demo", (TensorSpec("images", "FP32", (-1, 3, 224, 224)),), (TensorSpec("logits", "FP32", (-1, 1000)),), batched=True
)
DIGITS = ModelSpec("demo", (TensorSpec("pixels", "FP32", (-1, 2, 2)),), (TensorSpec("digit", "INT64", (-1,)),), batched=True)
MIXED = ModelSpec(
    "demo",
    (TensorSpec("word", "BYTES", (-1, 1)), TensorSpec("sure", "BOOL", (-1,)), TensorSpec("small", "INT8", (-1, -1))),
    (TensorSpec("half", "FP16", (-1, 2)),),
    batched=True,
)
HALF = ModelSpec("half/one", (TensorSpec("x", "FP16", (2, 3)),), (TensorSpec("y", "FP16", (2, 3)),), batched=False)
ROUTES = (Route("/query", ("POST",), "Search."), Route("/items/<int:item>/<name>", ("GET", "DELETE", "HEAD"), "Items."))
SERVICES: dict[str, tuple[tuple[ModelSpec, ...], tuple[Route, ...], bool]] = {
    "pictures": ((IMAGE,), (), True),
    "tensors": ((DIGITS,), (), False),
    "several models": ((MIXED, HALF), (), False),
    "own routes and no model": ((), ROUTES, False),
}
PREFIXES = ("", "/api/demo", "/api/like/demo")
INFER, PREDICT = "/v2/models/demo/infer", "/v1/models/demo:predict"


def described(service: str, prefix: str = "") -> dict[str, Any]:
    models, routes, pictures = SERVICES[service]
    return document(
        DEMO, models, routes, prefix=prefix, inputs=ServiceInputs(file_kinds({}, pictures), data=not pictures), version="1.2.3"
    )


def operations(paths: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    return ((path, method, operation) for path, item in paths.items() for method, operation in item.items())


def json_schema(spec: ModelSpec, path: str) -> dict[str, Any]:
    paths = document(DEMO, [spec], (), prefix="", inputs=ServiceInputs(), version="1")["paths"]
    schema: dict[str, Any] = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return schema


def tensor(spec: ModelSpec, number: int = 0, **changed: Any) -> dict[str, Any]:
    each = spec.inputs[number]
    return {"name": each.name, "datatype": each.datatype, "shape": [max(1, size) for size in each.shape]} | changed


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("service", SERVICES)
def test_the_document_is_valid_openapi_3_1_and_plain_json(service: str, prefix: str) -> None:
    described_there = described(service, prefix)
    assert list(OpenAPIV31SpecValidator(described_there).iter_errors()) == []
    assert json.loads(json.dumps(described_there)) == described_there
    assert described_there["info"]["version"] == "1.2.3"


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_has_a_name_of_its_own_and_a_summary(service: str) -> None:
    found = list(operations(described(service)["paths"]))
    assert len({operation["operationId"] for _, _, operation in found}) == len(found)
    assert all(operation["summary"] for _, _, operation in found)


def test_every_error_is_described_where_work_is_asked_for() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ServingError)]
    described_there = described("pictures")
    answers = described_there["components"]["responses"]
    for _, method, operation in operations(described_there["paths"]):
        if method == "post":
            assert set(operation["responses"]) - {"200"} == {str(kind.status) for kind in kinds} - {"499"}
    for kind in kinds:
        if kind.status != 499:
            assert any(kind.reason in answer["description"] for answer in answers.values())
    assert "Retry-After" in answers["queue_full"]["headers"]


@pytest.mark.parametrize(
    ("seen_at", "prefix"),
    [
        ("http://here/openapi.json", ""),
        ("http://here/api/demo/openapi.json", "/api/demo"),
        ("http://gateway/api/like/demo/openapi.json", "/api/like/demo"),
        ("http://gateway/grey/demo/openapi.json", "/api/demo"),
        ("http://gateway/api/grey/demo/openapi.json", "/api/demo"),
    ],
)
def test_paths_hold_wherever_a_gateway_shows_the_document(seen_at: str, prefix: str) -> None:
    described_there = described("pictures", prefix)
    server = urljoin(seen_at, described_there["servers"][0]["url"]).rstrip("/")
    places = {operation["operationId"]: server + path for path, _, operation in operations(described_there["paths"])}
    folder = urljoin(seen_at, ".")
    assert places["status"] == folder + "status"
    assert places["page"] == folder
    assert places["infer_0"] == folder + "v2/models/demo/infer"
    assert places["answer"] == (folder.rstrip("/") if prefix else "http://here/api/like/demo")


def test_a_service_without_pictures_offers_none_and_shows_an_example_of_its_data() -> None:
    own = described("tensors")["paths"]["/api/demo"]["post"]["requestBody"]["content"]
    assert "image/*" not in own
    assert own["application/json"]["example"] == {"data": [[[0, 0], [0, 0]]]}
    assert "image/*" in described("pictures")["paths"]["/api/demo"]["post"]["requestBody"]["content"]


@pytest.mark.parametrize("videos", [False, True])
def test_videos_are_offered_where_a_service_judges_them(videos: bool) -> None:
    told = document(DEMO, [IMAGE], (), prefix="", inputs=ServiceInputs(file_kinds({}, True, videos)), version="1")
    taken = told["paths"]["/api/demo"]["post"]["requestBody"]["content"]
    assert ("video/*" in taken) is videos
    for kind in ("application/json", "multipart/form-data"):
        schema = taken[kind]["schema"]
        assert ("video" in schema["properties"]) is videos
        assert ({"required": ["video"]} in schema["anyOf"]) is videos


JSON_INPUTS = ServiceInputs(example={"question": "why?", "top": 5}, fields={"mode": ("fast", "good")})


def properties(bodies: dict[str, Any]) -> dict[str, set[str]]:
    return {kind: set(body["schema"]["properties"]) - {"postid", "uid", "seqid"} for kind, body in bodies.items()}


def test_fields_that_a_service_declares_are_told_and_those_it_does_not_take_are_not() -> None:
    own = document(DEMO, [IMAGE], (), prefix="", inputs=JSON_INPUTS, version="1")["paths"]["/api/demo"]["post"]["requestBody"][
        "content"
    ]
    assert properties(own) == dict.fromkeys(("application/json", "multipart/form-data"), {"question", "top", "mode"})
    assert own["application/json"]["schema"]["properties"]["question"] == {"examples": ["why?"]}
    assert own["application/json"]["example"] == {"question": "why?", "top": 5}  # and not the tensor of a model behind it
    data = document(DEMO, [IMAGE], (), prefix="", inputs=ServiceInputs(example={"data": [1]}), version="1")
    assert properties(data["paths"]["/api/demo"]["post"]["requestBody"]["content"])["application/json"] == {"data"}


def test_a_service_with_code_of_its_own_and_no_example_is_not_said_to_take_a_tensor() -> None:
    own = document(DEMO, [DIGITS], (), prefix="", inputs=ServiceInputs(), version="1")["paths"]["/api/demo"]["post"][
        "requestBody"
    ]["content"]
    assert "example" not in own["application/json"]
    assert properties(own) == dict.fromkeys(("application/json", "multipart/form-data"), set())


def test_a_picture_service_is_not_said_to_take_data() -> None:
    own = described("pictures")["paths"]["/api/demo"]["post"]["requestBody"]["content"]
    assert properties({kind: own[kind] for kind in ("application/json", "multipart/form-data")}) == {
        "application/json": {"image", "images"},
        "multipart/form-data": {"image"},
    }


@pytest.mark.parametrize(
    ("route", "written", "attached", "raw"),
    [
        (Route("/query", ("POST",), "", {"question": "why?"}), {"question"}, {"question"}, False),
        (Route("/rows", ("POST",), "", {"data": [1]}), {"data"}, {"data"}, False),
        (Route("/one", ("POST",), "", None, 1, {"kind": ("a", "b")}), {"image", "kind"}, {"image", "kind"}, True),
        (Route("/two", ("POST",), "", None, 2), {"images"}, {"image"}, False),
    ],
)
def test_a_route_of_ones_own_tells_what_it_declares(route: Route, written: set[str], attached: set[str], raw: bool) -> None:
    told = document(DEMO, [], [route], prefix="", inputs=ServiceInputs(), version="1")
    assert list(OpenAPIV31SpecValidator(told).iter_errors()) == []
    bodies = told["paths"][route.path]["post"]["requestBody"]["content"]
    assert ("image/*" in bodies) is raw
    found = properties({kind: bodies[kind] for kind in ("application/json", "multipart/form-data")})
    assert found == {"application/json": written, "multipart/form-data": attached}


def test_declared_files_are_told_by_their_names_types_and_numbers() -> None:
    kinds = file_kinds({"audio": "audio/*", "pages": ("image/png, application/pdf", 5)})
    route = Route("/two", ("POST",), "", None, 2, {}, {**file_kinds({}, pictures=2), **kinds})
    told = document(DEMO, [], [route], prefix="", inputs=ServiceInputs(kinds), version="1")
    assert list(OpenAPIV31SpecValidator(told).iter_errors()) == []
    own, two = (told["paths"][path]["post"]["requestBody"]["content"] for path in ("/api/demo", "/two"))
    json_or_form = ("application/json", "multipart/form-data")
    assert set(own) == {*json_or_form, "audio/*", "image/png", "application/pdf", BYTES}
    assert properties({kind: own[kind] for kind in json_or_form}) == dict.fromkeys(json_or_form, {"audio", "pages"})
    assert own["multipart/form-data"]["encoding"]["pages"] == {"contentType": "image/png, application/pdf"}
    assert own["multipart/form-data"]["schema"]["properties"]["pages"]["maxItems"] == 5
    assert properties({"multipart/form-data": two["multipart/form-data"]}) == {
        "multipart/form-data": {"image", "audio", "pages"}
    }
    schema = Draft202012Validator(own["application/json"]["schema"])
    taken: list[dict[str, Any]] = [{"audio": "QQ=="}, {"pages": ["QQ=="] * 5}, {"pages": "QQ=="}, {}]
    refused: list[dict[str, Any]] = [{"audio": ["QQ=="]}, {"pages": ["QQ=="] * 6}, {"pages": []}, {"audio": ""}]
    assert [schema.is_valid(body) for body in taken + refused] == [True] * 4 + [False] * 4


def test_own_routes_keep_their_methods_and_tell_their_variables() -> None:
    paths = described("own routes and no model")["paths"]
    assert set(paths["/query"]) == {"post"}
    assert set(paths["/items/{item}/{name}"]) == {"get", "delete"}
    variables = paths["/items/{item}/{name}"]["get"]["parameters"][:2]
    assert [(each["name"], each["schema"]["type"]) for each in variables] == [("item", "integer"), ("name", "string")]


def test_a_model_of_half_precision_takes_binary_tensors_alone() -> None:
    paths = described("several models")["paths"]
    assert set(paths["/v2/models/half%2Fone/infer"]["post"]["requestBody"]["content"]) == {"application/octet-stream"}


@pytest.mark.parametrize("spec", [DIGITS, ModelSpec("demo", MIXED.inputs[:2], MIXED.outputs, batched=True)])
def test_the_example_of_a_call_is_a_call_that_the_codec_takes(spec: ModelSpec) -> None:
    paths = document(DEMO, [spec], (), prefix="", inputs=ServiceInputs(), version="1")["paths"]
    content = paths[INFER]["post"]["requestBody"]["content"]["application/json"]
    assert Draft202012Validator(content["schema"]).is_valid(content["example"])
    assert spec.rows(v2_open_inference.decode(json.dumps(content["example"]).encode(), None, spec, 4).inputs) == 1
    content = paths[PREDICT]["post"]["requestBody"]["content"]["application/json"]
    assert Draft202012Validator(content["schema"]).is_valid(content["example"])
    assert spec.rows(v1_predict.decode(json.dumps(content["example"]).encode(), spec, 4).inputs) == 1


@pytest.mark.parametrize("nested", [[0, 1, 2, 3], [[[0, 1], [2, 3]]]])
def test_data_may_be_flat_or_nested(nested: list[Any]) -> None:
    request = {"inputs": [tensor(DIGITS, data=nested)], "id": None, "outputs": [{"name": "digit", "parameters": None}]}
    assert Draft202012Validator(json_schema(DIGITS, INFER)).is_valid(request)
    assert v2_open_inference.decode(json.dumps(request).encode(), None, DIGITS, 4).inputs["pixels"].shape == (1, 2, 2)


ZEROS: Any = [0, 0, 0, 0]
WRONG_CALLS: dict[str, Any] = {
    "no object": [],
    "no inputs": {},
    "an empty list of inputs": {"inputs": []},
    "an input too many": {"inputs": [tensor(DIGITS, data=ZEROS)] * 2},
    "an unknown input": {"inputs": [tensor(DIGITS, name="pixel", data=ZEROS)]},
    "another datatype": {"inputs": [tensor(DIGITS, datatype="FP64", data=ZEROS)]},
    "a shape of another rank": {"inputs": [tensor(DIGITS, shape=[1, 4], data=ZEROS)]},
    "a shape of other sizes": {"inputs": [tensor(DIGITS, shape=[1, 1, 4], data=ZEROS)]},
    "no rows": {"inputs": [tensor(DIGITS, shape=[0, 2, 2], data=[])]},
    "more rows than allowed": {"inputs": [tensor(DIGITS, shape=[5, 2, 2], data=[0] * 20)]},
    "no data": {"inputs": [tensor(DIGITS)]},
    "data that is no list": {"inputs": [tensor(DIGITS, data=0)]},
    "data nested otherwise": {"inputs": [tensor(DIGITS, data=[[0, 0], [0, 0]])]},
    "text for numbers": {"inputs": [tensor(DIGITS, data=["0", 0, 0, 0])]},
    "true for numbers": {"inputs": [tensor(DIGITS, data=[True, 0, 0, 0])]},
    "a number beyond the datatype": {"inputs": [tensor(DIGITS, data=[1e39, 0, 0, 0])]},
    "an id that is no text": {"inputs": [tensor(DIGITS, data=ZEROS)], "id": 1},
    "an unknown output": {"inputs": [tensor(DIGITS, data=ZEROS)], "outputs": [{"name": "digits"}]},
    "a flag that is none": {"inputs": [tensor(DIGITS, data=ZEROS)], "parameters": {"binary_data_output": 1}},
}


@pytest.mark.parametrize("request_body", WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_what_the_schema_of_a_call_refuses_is_refused(request_body: Any) -> None:
    assert not Draft202012Validator(json_schema(DIGITS, INFER)).is_valid(request_body)
    with pytest.raises((BadInput, TooLarge)):
        DIGITS.rows(v2_open_inference.decode(json.dumps(request_body).encode(), None, DIGITS, 4).inputs)


WRONG_PREDICTIONS: dict[str, Any] = {
    "nothing to predict": {},
    "both formats": {"instances": [[[0, 0], [0, 0]]], "inputs": [[[0, 0], [0, 0]]]},
    "no rows": {"instances": []},
    "rows of another rank": {"instances": [[0, 0]]},
    "more rows than allowed": {"instances": [[[0, 0], [0, 0]]] * 5},
    "text for numbers": {"instances": [[["0", 0], [0, 0]]]},
    "a row without its input": {"instances": [{"pixel": [[0, 0], [0, 0]]}]},
    "a tensor of another rank": {"inputs": [0]},
}


@pytest.mark.parametrize("request_body", WRONG_PREDICTIONS.values(), ids=WRONG_PREDICTIONS)
def test_what_the_schema_of_a_prediction_refuses_is_refused(request_body: Any) -> None:
    assert not Draft202012Validator(json_schema(DIGITS, PREDICT)).is_valid(request_body)
    with pytest.raises((BadInput, TooLarge)):
        DIGITS.rows(v1_predict.decode(json.dumps(request_body).encode(), DIGITS, 4).inputs)


@pytest.mark.parametrize(
    "request_body",
    [
        {"instances": [[[0, 0], [0, 0]], [[1, 1], [1, 1]]]},
        {"instances": [{"pixels": [[0, 0], [0, 0]]}]},
        {"inputs": [[[0, 0], [0, 0]]]},
        {"inputs": {"pixels": [[[0, 0], [0, 0]]]}},
    ],
)
def test_rows_and_whole_tensors_can_be_predicted(request_body: Any) -> None:
    assert Draft202012Validator(json_schema(DIGITS, PREDICT)).is_valid(request_body)
    assert DIGITS.rows(v1_predict.decode(json.dumps(request_body).encode(), DIGITS, 4).inputs)
