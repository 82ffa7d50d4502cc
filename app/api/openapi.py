"""Builds the OpenAPI 3.1 document.

Paths and parameters come from FastAPI's routes, bodies from the structs that requests are decoded
into and answers encoded from: there is no second definition that could drift.
"""

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api import schemas
from app.api.answer import JSON_MEDIA_TYPE, NDJSON_MEDIA_TYPE
from app.api.problems import PROBLEM_MEDIA_TYPE
from app.events import RecordedEvent

REF_TEMPLATE = "#/components/schemas/{name}"
BODIES: tuple[type[msgspec.Struct], ...] = tuple(
    value
    for value in vars(schemas).values()
    if isinstance(value, type) and issubclass(value, msgspec.Struct)
)

Schema = dict[str, Any]


def _ref(body: type[msgspec.Struct]) -> Schema:
    return {"$ref": REF_TEMPLATE.format(name=body.__name__)}


def answer(
    description: str,
    body: type[msgspec.Struct] | None = None,
    *,
    example: object = None,
    ndjson: bool = False,
    etag: bool = False,
) -> Schema:
    """Describes an answer; with ``ndjson`` it is also available as one event a line."""
    described: Schema = {"description": description}
    if body is not None:
        content: Schema = {"schema": _ref(body)}
        if example is not None:
            content["example"] = example
        described["content"] = {JSON_MEDIA_TYPE: content}
    if ndjson:
        described["content"][NDJSON_MEDIA_TYPE] = {
            "schema": {"type": "string", "description": "One RecordedEvent a line."}
        }
    if etag:
        described["headers"] = {
            "ETag": {"description": "The version, in quotes.", "schema": {"type": "string"}}
        }
    return described


def problem(description: str, body: type[msgspec.Struct] = schemas.Problem) -> Schema:
    """Describes a problem answer."""
    return {"description": description, "content": {PROBLEM_MEDIA_TYPE: {"schema": _ref(body)}}}


def request_body(body: type[msgspec.Struct], example: object) -> Schema:
    """Describes a request's body, as ``openapi_extra`` of a route."""
    content = {JSON_MEDIA_TYPE: {"schema": _ref(body), "example": example}}
    return {"requestBody": {"required": True, "content": content}}


UNAVAILABLE = {
    **problem("The database cannot do it now.", schemas.UnavailableProblem),
    "headers": {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}},
}
INVALID = problem(
    "A parameter or value is refused; `errors` tells which.", schemas.InvalidInputProblem
)
UNEXPECTED = problem("A defect of the service.")
MALFORMED = problem("The body is not well-formed JSON, or preconditions contradict.")
TOO_LARGE = problem("The body is over MAX_BODY_BYTES.")


def reading(**answers: Schema) -> dict[int | str, Schema]:
    """The answers of an operation that reads: its own (``_200=…``), and what can always be."""
    return {
        **{int(name.removeprefix("_")): described for name, described in answers.items()},
        422: INVALID,
        500: UNEXPECTED,
        503: UNAVAILABLE,
    }


def writing(**answers: Schema) -> dict[int | str, Schema]:
    """The answers of an operation with a body: its own, and what can always be."""
    return {400: MALFORMED, 413: TOO_LARGE, **reading(**answers)}


def install_openapi(app: FastAPI) -> None:
    """Make ``app.openapi()`` the complete document, built once."""

    def openapi() -> Schema:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> Schema:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        license_info=app.license_info,
        # Relative: wherever the document was fetched from.
        servers=[{"url": "/"}],
    )
    _, components = msgspec.json.schema_components(
        (*BODIES, RecordedEvent), ref_template=REF_TEMPLATE
    )
    document["components"] = {
        "schemas": {name: _tidy(schema) for name, schema in sorted(components.items())}
    }
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _without_null(parameter["schema"])
    return document


def _tidy(schema: Any) -> Any:
    """Say "or null" the way generators understand it: as a second type rather than an ``anyOf``."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: _tidy(value) for name, value in schema.items()}
    if schema.get("default", ...) is None:
        del schema["default"]
    variants = schema.pop("anyOf", None)
    if variants is None:
        return schema
    others = [variant for variant in variants if variant != {"type": "null"}]
    if len(others) == 1 and "$ref" not in others[0]:
        merged = {**others[0], **schema}
        if isinstance(merged.get("type"), str):
            merged["type"] = [merged["type"], "null"]
        return merged
    return {**schema, "oneOf": variants}


def _without_null(schema: Schema) -> Schema:
    """An optional parameter is absent, never null."""
    variants = schema.pop("anyOf", None)
    if variants is None:
        return schema
    [given] = [variant for variant in variants if variant != {"type": "null"}]
    return {**given, **schema}
