"""Builds the OpenAPI 3.1 document.

Paths and parameters come from FastAPI's routes, bodies from the structs that requests are decoded
into and answers encoded from: there is no second definition that could drift.
"""

import inspect
from datetime import date
from typing import Any
from uuid import UUID

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app import errors
from app.api import problem_schemas, schemas, snapshot_schemas, statistics_schemas
from app.api.answer import JSON_MEDIA_TYPE, NDJSON_MEDIA_TYPE
from app.api.body import BodyTooLargeError, MalformedBodyError
from app.api.event_stream import EVENT_STREAM_MEDIA_TYPE
from app.api.examples import EVENT_ID
from app.api.preconditions import BadPreconditionError
from app.api.problems import PROBLEM_MEDIA_TYPE, RETRY_AFTER_S, details_of
from app.events import (
    MAX_POSITION,
    MAX_VERSION,
    ImportedEvent,
    ImportProgress,
    RecordedEvent,
)

REF_TEMPLATE = "#/components/schemas/{name}"
BODIES: tuple[type[msgspec.Struct], ...] = tuple(
    value
    for module in (schemas, snapshot_schemas, statistics_schemas, problem_schemas)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, msgspec.Struct) and value is not msgspec.Struct
)
JSON_OBJECT: dict[str, Any] = {
    "title": "JsonObject",
    "description": "Any JSON object.",
    "type": "object",
    "additionalProperties": True,
}
NULL = {"type": "null"}
UUID_PATTERN = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

Schema = dict[str, Any]

REQUEST_ID: Schema = {
    "description": "The request's own, or one that is made for it: the service's log has it.",
    "schema": {"type": "string", "examples": ["387c2e7cd9944bec9cc1763c79a0bbcd"]},
}


def _ref(body: type[msgspec.Struct]) -> Schema:
    return {"$ref": REF_TEMPLATE.format(name=body.__name__)}


def _text(example: object) -> str:
    """An example as JSON text: FastAPI would leave out its members that are null."""
    return msgspec.json.encode(example).decode()


def _etag(description: str, example: str) -> Schema:
    return {"description": description, "schema": {"type": "string", "examples": [example]}}


VERSION_TAG = _etag(
    "The aggregate's version, in quotes, as `If-Match` of an append takes it.", '"4"'
)
LOADED_VERSION_TAG = _etag(
    "The version that is loaded, in quotes: it names the state, whichever snapshot that is told "
    "with.",
    '"4"',
)
PAGE_TAG = _etag(
    "The aggregate's version, in quotes: a page stays as it is until there is another one. Not of "
    "NDJSON.",
    '"4"',
)
STATE_TAG = _etag(
    "The version and the reducer: another one of either has another.", '"4-7d865e959b246691"'
)
SNAPSHOT_TAG = _etag(
    "Opaque; another one after each save, also of the same version.",
    '"3-2026-11-23T10:15:00.000000Z"',
)


def answer(
    description: str,
    body: type[msgspec.Struct] | None = None,
    *,
    example: object = None,
    ndjson: bool = False,
    event_stream: bool = False,
    etag: Schema | None = None,
) -> Schema:
    """Describes an answer; with ``ndjson`` it is also available as one event a line."""
    described: Schema = {"description": description}
    if body is not None:
        content: Schema = {"schema": _ref(body)}
        if example is not None:
            content["example"] = _text(example)
        described["content"] = {JSON_MEDIA_TYPE: content}
    if ndjson:
        described["content"][NDJSON_MEDIA_TYPE] = {
            "schema": {"type": "string", "description": "One RecordedEvent a line."}
        }
    if event_stream:
        described["content"][EVENT_STREAM_MEDIA_TYPE] = {
            "schema": {
                "type": "string",
                "description": "Server-sent events: `data` is a RecordedEvent.",
            }
        }
    if etag is not None:
        described["headers"] = {"ETag": etag}
    return described


def problem(
    description: str, *examples: Exception, body: type[msgspec.Struct] = problem_schemas.Problem
) -> Schema:
    """Describes a problem answer, by examples of the errors that it is the answer to."""
    described = {
        kind.slug: {"summary": kind.title, "value": _text(details)}
        for kind, details in map(details_of, examples)
    }
    content = {"schema": _ref(body), "examples": described}
    return {
        "description": description,
        "headers": {"X-Request-ID": REQUEST_ID},
        "content": {PROBLEM_MEDIA_TYPE: content},
    }


def request_body(body: type[msgspec.Struct], example: object) -> Schema:
    """Describes a request's body, as ``openapi_extra`` of a route."""
    content = {JSON_MEDIA_TYPE: {"schema": _ref(body), "example": _text(example)}}
    return {"requestBody": {"required": True, "content": content}}


def ndjson_request_body(line: type[msgspec.Struct], example: object) -> Schema:
    """Describes a request's body of one value a line, as ``openapi_extra`` of a route."""
    description = f"One {line.__name__} a line, of which there may be any number."
    content = {NDJSON_MEDIA_TYPE: {"schema": _ref(line), "example": _text(example)}}
    # None at all is one, too.
    return {"requestBody": {"description": description, "required": False, "content": content}}


def ndjson_answer(description: str, line: type[msgspec.Struct], example: object) -> Schema:
    """Describes an answer of one value a line."""
    content = {NDJSON_MEDIA_TYPE: {"schema": _ref(line), "example": _text(example)}}
    return {"description": description, "content": content}


def _unavailable(
    *examples: errors.Unavailable, body: type[msgspec.Struct] = problem_schemas.UnavailableProblem
) -> Schema:
    retry_after = {
        "description": "Seconds to wait.",
        "schema": {"type": "integer", "format": "int32", "examples": [RETRY_AFTER_S]},
    }
    described = problem("It cannot be done now.", *examples, body=body)
    described["headers"]["Retry-After"] = retry_after
    return described


_UNREACHABLE = errors.DatabaseUnreachable("no connection to the database could be made")
_BUSY = errors.DatabaseBusy("no connection was free in time")
UNAVAILABLE = _unavailable(_UNREACHABLE, _BUSY)
UNAVAILABLE_TO_FOLD = _unavailable(
    _UNREACHABLE, _BUSY, errors.FoldUnavailable("the fold process has been ended")
)
UNAVAILABLE_OR_FULL = _unavailable(_UNREACHABLE, _BUSY, errors.TooManySubscribers(1_000))
UNAVAILABLE_OR_UNKNOWN = _unavailable(
    _UNREACHABLE,
    _BUSY,
    errors.ServiceBusy("too many request bodies are at hand; nothing was stored"),
    errors.OutcomeUnknown([UUID(EVENT_ID)]),
)
UNAVAILABLE_IMPORT = _unavailable(
    _UNREACHABLE,
    _BUSY,
    errors.ServiceBusy("as many imports are under way as may be; nothing was stored"),
    errors.OutcomeUnknown(),
    body=problem_schemas.ImportProblem,
)
INVALID = problem(
    "A parameter is refused; `errors` tells which.",
    errors.InvalidInput("query.limit", "Input should be less than or equal to 10000"),
    body=problem_schemas.InvalidInputProblem,
)


def invalid_body(*examples: errors.InvalidInput) -> Schema:
    """Describes the refusal of a value in a body; by more examples than those of any body."""
    return problem(
        "A parameter or a value in the body is refused; `errors` tells which.",
        errors.InvalidInput("$", "Object contains unknown field `events_`"),
        *examples,
        body=problem_schemas.InvalidInputProblem,
    )


_FOLD_FAILED = errors.FoldFailed(
    "Order",
    "ord-123",
    4,
    EVENT_ID,
    "OrderPaid",
    'The left side of the "+" operator must evaluate to a number (T2001, at character 7)',
)


def no_state(*examples: errors.InvalidInput) -> Schema:
    """Describes the refusal of a value, or of an event by a reducer."""
    return problem(
        "A parameter or a value is refused, or the reducer fails on an event.",
        errors.InvalidInput("query.at_version", "Input should be greater than or equal to 1"),
        *examples,
        _FOLD_FAILED,
        body=problem_schemas.StateProblem,
    )


DETACHED = problem(
    "Events that the answer needs are in months that are detached from the archive.",
    errors.EventsDetached([date(2024, 3, 1)]),
    body=problem_schemas.EventsDetachedProblem,
)
DETACHED_FEED = problem(
    "The next events may be of months that are detached from the archive.",
    errors.EventsDetached([date(2024, 3, 1)], 918),
    body=problem_schemas.EventsDetachedProblem,
)
DETACHED_REPETITION = problem(
    "Event ids are those of events that are detached from the archive, so that it cannot be told "
    "whether this is a repetition; nothing was stored.",
    errors.EventsDetached([date(2024, 3, 1)]),
    body=problem_schemas.EventsDetachedProblem,
)
UNEXPECTED = problem("A defect of the service.", Exception())
MALFORMED_BODY = MalformedBodyError("JSON is malformed: expected '}' (byte 42)")
_NO_PRECONDITION = BadPreconditionError("the operation takes no If-Match")
PRECONDITION_REFUSED = problem(
    "The request has a precondition, and the operation takes none.", _NO_PRECONDITION
)
MALFORMED = problem(
    "The body is not well-formed JSON; or the request has a precondition, and the operation takes "
    "none.",
    MALFORMED_BODY,
    _NO_PRECONDITION,
)
TOO_LARGE = problem("The body is over MAX_BODY_BYTES.", BodyTooLargeError(16 * 1024 * 1024))


def reading(**answers: Schema) -> dict[int | str, Schema]:
    """The answers of an operation that reads: what can always be, and its own (``_200=…``)."""
    return {422: INVALID, 500: UNEXPECTED, 503: UNAVAILABLE, **_by_status(answers)}


def writing(**answers: Schema) -> dict[int | str, Schema]:
    """The answers of an operation with a body: what can always be, and its own."""
    return {
        400: MALFORMED,
        413: TOO_LARGE,
        422: invalid_body(),
        500: UNEXPECTED,
        503: UNAVAILABLE_OR_UNKNOWN,
        **_by_status(answers),
    }


def _by_status(answers: dict[str, Schema]) -> dict[int | str, Schema]:
    return {int(name.removeprefix("_")): described for name, described in answers.items()}


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
    bodies = (*BODIES, RecordedEvent, ImportedEvent, ImportProgress)
    _, components = msgspec.json.schema_components(bodies, ref_template=REF_TEMPLATE)
    for schema in components.values():
        schema["description"] = inspect.cleandoc(schema["description"])
    # The framework's own components are the enumerations of parameters.
    components |= document["components"]["schemas"]
    components = {name: _tidy(schema) for name, schema in components.items()}
    components[JSON_OBJECT["title"]] = JSON_OBJECT
    document["components"] = {"schemas": dict(sorted(components.items()))}
    for path in document["paths"].values():
        for method, operation in path.items():
            _tidy_operation(method, operation)
    return document


def _tidy_operation(method: str, operation: Schema) -> None:
    parameters = operation.get("parameters", [])
    for parameter in parameters:
        parameter["schema"] = _tidy_parameter(parameter["schema"])
        if parameter["in"] == "header" and parameter["schema"].get("format") == "uuid":
            # openapi-python-client would give the header as a UUID to httpx, which takes text.
            del parameter["schema"]["format"]
            parameter["schema"]["pattern"] = UUID_PATTERN
    if not parameters and "requestBody" not in operation:
        # There is nothing that could be refused.
        operation["responses"].pop("422", None)
    for described in (operation.get("requestBody", {}), *operation["responses"].values()):
        if method == "head":
            described.pop("content", None)
        for content in described.get("content", {}).values():
            if "example" in content:
                content["example"] = msgspec.json.decode(content["example"])
            for example in content.get("examples", {}).values():
                example["value"] = msgspec.json.decode(example["value"])
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _tidy_parameter(schema: Schema) -> Schema:
    """A parameter's schema; "or null" is left out: an optional parameter is absent, never null."""
    # The framework repeats the parameter's own name and description.
    schema = {key: value for key, value in schema.items() if key not in {"title", "description"}}
    variants = schema.pop("anyOf", None)
    if variants is not None:
        [given] = [variant for variant in variants if variant != NULL]
        schema = {**given, **schema}
    default = {"default": schema["default"]} if "default" in schema else {}
    return {**_tidy(schema), **default}


def _tidy(schema: Schema) -> Schema:
    """The same schema in the words that generators of clients understand.

    - "Or null" is a second type, or ``oneOf`` with a named schema: never ``anyOf``.
    - A JSON object of any content is a schema with a name: openapi-typescript takes a bare
      ``{"type": "object"}`` for one that must be empty.
    - No ``default``, of which openapi-typescript concludes that a request must have the property;
      descriptions tell it.
    - ``enum`` of one rather than ``const``, so that a second value changes no name.
    - Every number has a ``format``: many generators take a bare integer for one of 32 bits.
    """
    schema = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in schema:
        schema["properties"] = {key: _tidy(value) for key, value in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = _tidy(schema["items"])
    if "anyOf" in schema:
        schema = _nullable(schema)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "enum" in schema:
        # Of a `Literal`, whose values are text.
        schema.setdefault("type", "string")
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if "object" in types and "properties" not in schema:
        del schema["type"]
        named = {"$ref": REF_TEMPLATE.format(name=JSON_OBJECT["title"])}
        return {**schema, **({"oneOf": [named, NULL]} if "null" in types else named)}
    if "integer" in types:
        is_short = schema.get("maximum", MAX_POSITION) <= MAX_VERSION
        schema["format"] = "int32" if is_short else "int64"
    if "number" in types:
        schema["format"] = "double"
    return schema


def _nullable(schema: Schema) -> Schema:
    """The schema with its ``anyOf``, of something and null, said otherwise."""
    [given] = [_tidy(variant) for variant in schema["anyOf"] if variant != NULL]
    schema = {key: value for key, value in schema.items() if key != "anyOf"}
    if "$ref" in given:
        return {**schema, "oneOf": [given, NULL]}
    return {**given, **schema, "type": [given["type"], "null"]}
