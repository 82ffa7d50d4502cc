"""What Schemathesis is told of this service beyond its OpenAPI document.

A failure that does not count is named here as narrowly as it can be, with the reason.
"""

import json
from typing import Any

import schemathesis
from hypothesis import strategies
from schemathesis import Case, HookContext, Response, SerializationContext
from schemathesis.core.failures import Failure, ServerError
from schemathesis.openapi.checks import RejectedPositiveData

# Refusals that no schema foresees: the store's state, two values together or the limits of
# PostgreSQL decide. Each has a type of its own; that a well-formed request is refused with any
# other type is a failure.
UNFORESEEABLE = {
    "/problems/version-conflict",
    "/problems/bad-precondition",
    "/problems/unstorable-value",
    "/problems/snapshot-beyond-aggregate",
    "/problems/position-beyond-safe-position",
    "/problems/store-changed",
    "/problems/fold-failed",
}
# Two parameters that exclude each other, which no schema tells.
EXCLUSIVE = (
    "query.wait: is of JSON pages, forward",
    "query.direction: is forward for who comes back with Last-Event-ID",
    "query.timeout: is only for requests with wait_for",
)
# A token that only the service makes.
NO_TOKEN = "is not what a page has told as next_after"
# Its language is JSON, and what that means is none of JSON Schema's business.
REDUCER = "$.reducer"
# Requests that wait would wait long: what they are answered does not depend on it.
LONGEST_WAIT_S = 0.01
FEW_NAMES = 3
FEW_VERSIONS = 5


@schemathesis.serializer("application/x-ndjson")
def one_line(_: SerializationContext, value: Any) -> bytes:
    """Send what was drawn for a line as the only one."""
    return json.dumps(value).encode()


@schemathesis.hook
def before_load_schema(_: HookContext, raw_schema: dict[str, Any]) -> None:
    """Have headers drawn from their patterns.

    Where a header has a pattern, the coverage phase writes letters and digits only: it never hits
    upon `"3"`, and then sends a value that it knows to be wrong in requests that it takes for
    valid ones.
    """
    for path in raw_schema["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                schema = parameter["schema"]
                if parameter["in"] == "header" and "pattern" in schema:
                    schema["format"] = f"like {schema['pattern']}"
                    values = strategies.from_regex(schema["pattern"], fullmatch=True)
                    schemathesis.openapi.format(schema["format"], values)


@schemathesis.hook
def map_case(_: HookContext, case: Case[Any]) -> Case[Any]:
    """Let about half of the valid requests meet in a few aggregates, at low versions.

    Names and versions drawn at random never do: nothing would be found, and nothing saved. None
    waits long.
    """
    for name in ("wait", "timeout"):
        value = (case.query or {}).get(name)
        if isinstance(value, int | float) and LONGEST_WAIT_S < value <= 60:
            case.query[name] = LONGEST_WAIT_S
    if "wait_for" in (case.query or {}):
        case.query.setdefault("timeout", LONGEST_WAIT_S)
    is_valid = case.meta is not None and case.meta.generation.mode.is_positive
    if not is_valid or sum(map(len, case.path_parameters.values())) % 2:
        return case
    for name, value in case.path_parameters.items():
        if name != "event_id":
            case.path_parameters[name] = f"{name}-{len(value) % FEW_NAMES}"
    for precondition in ("If-Match", "If-None-Match"):
        case.headers.pop(precondition, None)
    if isinstance(case.body, dict):
        case.body.pop("expected_version", None)
        if case.body.get("reducer") is not None:
            case.body["reducer"] = {"kind": "merge"}
        aggregate_id = case.body.get("aggregate_id")
        if isinstance(aggregate_id, str):
            case.body["aggregate_id"] = f"aggregate_id-{len(aggregate_id) % FEW_NAMES}"
        for name in ("version", "last_processed_position", "at_version"):
            value = case.body.get(name)
            if isinstance(value, int):
                case.body[name] = 1 + value % FEW_VERSIONS
    return case


@schemathesis.hook
def filter_failure(_: HookContext, failure: Failure, __: Case[Any], response: Response) -> bool:
    """Whether a failure counts."""
    problem: dict[str, str] = (
        response.json() if isinstance(failure, RejectedPositiveData | ServerError) else {}
    )
    if isinstance(failure, ServerError):
        # Documented, and no defect: nobody has saved such a position.
        return bool(problem["type"] != "/problems/position-not-reached")
    if not isinstance(failure, RejectedPositiveData):
        return True
    # To JSON Schema 3.0 is an integer, to the service and to most typed decoders it is none.
    is_float_for_integer = problem["detail"].endswith(("`int`, got `float`", "null`, got `float`"))
    is_told = (
        problem["type"] in UNFORESEEABLE
        or problem["detail"] in EXCLUSIVE
        or problem["detail"].endswith(NO_TOKEN)
        or problem["detail"].startswith(REDUCER)
    )
    return not is_float_for_integer and not is_told
