"""What Schemathesis is told of this service beyond its OpenAPI document.

A failure that does not count is named here as narrowly as it can be, with the reason.
"""

from typing import Any

import schemathesis
from hypothesis import strategies
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import Failure
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
}
FEW_NAMES = 3
FEW_VERSIONS = 5


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

    Names and versions drawn at random never do: nothing would be found, and nothing saved.
    """
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
        for name in ("version", "last_processed_position"):
            value = case.body.get(name)
            if isinstance(value, int):
                case.body[name] = 1 + value % FEW_VERSIONS
    return case


@schemathesis.hook
def filter_failure(_: HookContext, failure: Failure, __: Case[Any], response: Response) -> bool:
    """Whether a failure counts."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    problem = response.json()
    # To JSON Schema 3.0 is an integer, to the service and to most typed decoders it is none.
    is_float_for_integer = problem["detail"].endswith(("`int`, got `float`", "null`, got `float`"))
    return problem["type"] not in UNFORESEEABLE and not is_float_for_integer
