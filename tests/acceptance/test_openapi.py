"""The OpenAPI document: what generators of clients, and people, are told of the service."""

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

# The OpenAPI Initiative's own schema of documents, in the copy that Schemathesis brings.
from schemathesis.specs.openapi.definitions import OPENAPI_31

from app.main import create_api
from app.settings import Settings
from app.store.month_store import open_months
from tests.archiving import archive
from tests.integration.client_sql import Connection

PROBLEM = "application/problem+json"
AGGREGATE = "/v1/aggregates/{aggregate_type}/{aggregate_id}"
POLICY = "/v1/snapshot-policies/{aggregate_type}"
POSITION = "/v1/projections/{projection_name}/position"
# Clients are generated from these names: changing one breaks them.
OPERATIONS = {
    ("post", f"{AGGREGATE}/events"): "append_events",
    ("get", f"{AGGREGATE}/events"): "read_events",
    ("get", AGGREGATE): "load_aggregate",
    ("head", AGGREGATE): "head_aggregate",
    ("get", "/v1/aggregates/{aggregate_type}"): "list_aggregates",
    ("get", "/v1/aggregates"): "list_aggregate_types",
    ("put", f"{AGGREGATE}/snapshot"): "save_snapshot",
    ("get", f"{AGGREGATE}/snapshot"): "get_snapshot",
    ("delete", f"{AGGREGATE}/snapshot"): "delete_snapshot",
    ("get", "/v1/snapshots/due"): "list_due_snapshots",
    ("get", "/v1/snapshots/failed"): "list_failed_snapshots",
    ("get", "/v1/stats/snapshot-coverage"): "snapshot_coverage",
    ("get", "/v1/stats/aggregate-types"): "count_aggregate_types",
    ("get", "/v1/stats/event-types"): "count_event_types",
    ("get", "/v1/stats/largest-aggregates"): "largest_aggregates",
    ("get", "/v1/stats/slow-aggregates"): "slow_aggregates",
    ("get", "/v1/stats/conflicts"): "list_conflicts",
    ("get", "/v1/stats/tables"): "table_statistics",
    ("get", "/v1/audit"): "audit_store",
    ("get", "/v1/snapshot-policies"): "list_snapshot_policies",
    ("put", POLICY): "save_snapshot_policy",
    ("get", POLICY): "get_snapshot_policy",
    ("delete", POLICY): "delete_snapshot_policy",
    ("post", f"{POLICY}/preview"): "preview_reducer",
    ("get", f"{AGGREGATE}/state"): "get_state",
    ("post", "/v1/transactions"): "append_transaction",
    ("post", "/v1/import"): "import_events",
    ("get", "/v1/events"): "read_feed",
    ("get", "/v1/events/{event_id}"): "get_event",
    ("get", "/v1/feed/status"): "feed_status",
    ("get", "/v1/projections"): "list_projections",
    ("put", POSITION): "save_position",
    ("get", POSITION): "get_position",
    ("delete", POSITION): "delete_position",
    ("get", "/health/live"): "check_live",
    ("get", "/health/ready"): "check_ready",
}
NDJSON = "application/x-ndjson"
STREAMS = {NDJSON, "text/event-stream"}
RECORDED_EVENT = [
    "event_id",
    "aggregate_type",
    "aggregate_id",
    "version",
    "event_type",
    "event_data",
    "metadata",
    "occurred_at",
    "correlation_id",
    "causation_id",
    "global_position",
]
EVENT_ID = "0192f0c1-2a5e-7c3d-8f4b-6a1d2e3f4a5b"
EVENT = {"event_type": "OrderPlaced", "event_data": {"total": "45.48"}}
MERGE = {"kind": "merge", "fields": {"last_event": "event_type"}}
FAILING = {"kind": "jsonata", "on": {"*": "'a' + 1"}}

Json = dict[str, Any]


def built_document() -> Json:
    app = create_api(Settings(_env_file=None))
    return app.openapi()


DOCUMENT = built_document()
SCHEMAS: Json = DOCUMENT["components"]["schemas"]
EACH_OPERATION = [
    pytest.param(method, operation, id=operation["operationId"])
    for path in DOCUMENT["paths"].values()
    for method, operation in path.items()
]
REGISTRY: Registry[Any] = Registry().with_resource(
    "urn:document", DRAFT202012.create_resource(DOCUMENT)
)


def errors_of(value: object, schema: Json) -> list[str]:
    """What is wrong with a value, by a schema of the document."""
    absolute = {
        key: f"urn:document{part}" if key == "$ref" else part for key, part in schema.items()
    }
    validator = Draft202012Validator(absolute, registry=REGISTRY, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def nodes(value: Any, place: str = "$") -> Iterator[tuple[str, Json]]:
    """Every JSON object of the document but examples, with its place."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from nodes(item, f"{place}[{index}]")
    if isinstance(value, dict):
        yield place, value
        for key, item in value.items():
            if key not in {"example", "examples"}:
                yield from nodes(item, f"{place}.{key}")


def schemas() -> Iterator[tuple[str, Json]]:
    """Every schema of the document, at whatever depth."""
    for place, node in nodes(DOCUMENT):
        is_schema = re.search(r"\.(schema|items|components\.schemas\.\w+|properties\.\w+)$", place)
        if is_schema or re.search(r"\.(oneOf|allOf)\[\d+\]$", place):
            yield place, node


def test_document_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    found = Draft202012Validator(OPENAPI_31).iter_errors(DOCUMENT)
    assert [f"{error.json_path}: {error.message}" for error in found] == []
    for _, schema in schemas():
        Draft202012Validator.check_schema(schema)


def test_every_reference_resolves_and_every_schema_is_used() -> None:
    referenced = {node["$ref"] for _, node in nodes(DOCUMENT) if "$ref" in node}
    assert referenced == {f"#/components/schemas/{name}" for name in SCHEMAS}


def test_operations() -> None:
    told = {
        (method, path): operation["operationId"]
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
    }
    assert told == OPERATIONS


@pytest.mark.parametrize(("method", "operation"), EACH_OPERATION)
def test_operation_is_described(method: str, operation: Json) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert set(operation["tags"]) < {tag["name"] for tag in DOCUMENT["tags"]}
    for parameter in operation.get("parameters", []):
        assert parameter["description"], parameter["name"]
        assert parameter["required"] == (parameter["in"] == "path")
    for status, answer in operation["responses"].items():
        assert answer["description"], status
        for name, header in answer.get("headers", {}).items():
            assert header["description"], name
        if method == "head" or status in {"204", "304"}:
            assert "content" not in answer
        elif int(status) < 400:
            assert set(answer["content"]) <= {"application/json", *STREAMS}
            told = answer["content"].get("application/json") or answer["content"][NDJSON]
            assert told["schema"]["$ref"]
        else:
            [media_type] = answer["content"]
            assert media_type == PROBLEM, status
            problem = SCHEMAS[answer["content"][PROBLEM]["schema"]["$ref"].rpartition("/")[2]]
            assert problem["required"][:4] == ["type", "title", "status", "detail"]
    if "requestBody" in operation:
        [(media_type, content)] = operation["requestBody"]["content"].items()
        assert operation["requestBody"]["required"] == (media_type != NDJSON)
        assert content["schema"]["$ref"]


@pytest.mark.parametrize(("method", "operation"), EACH_OPERATION)
def test_bodies_have_valid_examples(method: str, operation: Json) -> None:
    bodies = [(None, operation["requestBody"])] if "requestBody" in operation else []
    bodies += operation["responses"].items()
    for status, body in bodies:
        for media_type, content in body.get("content", {}).items():
            examples = [example["value"] for example in content.get("examples", {}).values()]
            examples += [content["example"]] if "example" in content else []
            assert examples or media_type in STREAMS, status
            for example in examples:
                assert errors_of(example, content["schema"]) == [], status
                if media_type == PROBLEM:
                    assert str(example["status"]) == status
        for name, header in body.get("headers", {}).items():
            for example in header["schema"]["examples"]:
                assert errors_of(example, header["schema"]) == [], name
    for parameter in operation.get("parameters", []):
        for example in parameter["schema"].get("examples", []):
            assert errors_of(example, parameter["schema"]) == [], parameter["name"]


def test_nothing_that_generators_stumble_over() -> None:
    for place, schema in schemas():
        # As a union of classes, or not at all.
        assert "anyOf" not in schema, place
        assert "allOf" not in schema, place
        # Without a type, but for any JSON value.
        assert {"type", "$ref", "oneOf"} & set(schema) or place.endswith(".state"), place
        # Only "this or null": other unions get names that change with their order.
        if "oneOf" in schema:
            named, null = schema["oneOf"]
            assert set(named) == {"$ref"}, place
            assert null == {"type": "null"}, place
        # A constant of no type, where an enumeration would be a type.
        assert "const" not in schema, place
        # As a property that a request must have.
        assert "default" not in schema or place.startswith("$.paths"), place
        # As 32 bits, or as a float.
        types = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
        if "integer" in types:
            assert schema["format"] in {"int32", "int64"}, place
        # As an object without any members.
        if "object" in types:
            assert "properties" in schema or schema["additionalProperties"] is True, place
            assert re.fullmatch(r"\$\.components\.schemas\.\w+", place), f"{place} has no name"


def test_names_of_schemas_are_their_titles() -> None:
    for name, schema in SCHEMAS.items():
        assert schema["title"] == name
        assert schema["description"]
        assert not re.search(r"^[ \t]", schema["description"], re.MULTILINE), name


def test_positions_have_64_bits_and_versions_32() -> None:
    formats = {
        key: schema["format"]
        for name in ("RecordedEvent", "AppendedEvent", "FeedAnswer", "PositionAnswer")
        for key, schema in SCHEMAS[name]["properties"].items()
        if schema.get("type") == "integer"
    }
    assert formats == {
        "version": "int32",
        "global_position": "int64",
        "next_after": "int64",
        "safe_position": "int64",
        "last_processed_position": "int64",
        "lag_positions": "int64",
    }


async def test_event_is_as_documented(client: httpx.AsyncClient) -> None:
    schema = SCHEMAS["RecordedEvent"]
    assert list(schema["properties"]) == RECORDED_EVENT
    assert schema["required"] == RECORDED_EVENT
    full = {
        **EVENT,
        "metadata": {"user": 7},
        "correlation_id": EVENT_ID,
        "causation_id": EVENT_ID,
        "occurred_at": "2026-11-23T11:15:30+01:00",
    }
    answer = await client.post("/v1/aggregates/Order/1/events", json={"events": [EVENT, full]})
    assert answer.status_code == 201
    for event in (await client.get("/v1/events")).json()["events"]:
        assert list(event) == RECORDED_EVENT
        assert errors_of(event, {"$ref": "#/components/schemas/RecordedEvent"}) == []


async def test_served_document_is_the_built_one(client: httpx.AsyncClient) -> None:
    answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


def check_described(answer: httpx.Response, described: Json) -> None:
    """Compare an answer with its description: media type, headers and body."""
    media_type = answer.headers.get("content-type")
    if media_type == NDJSON:
        assert media_type in described["content"]
        return
    assert all(name in answer.headers for name in described.get("headers", {}))
    if "content" in described:
        assert errors_of(answer.json(), described["content"][media_type]["schema"]) == []
    else:
        assert answer.content == b""


class TestRealAnswers:
    """What the service answers is documented, and what is documented is what it answers."""

    MAX_BODY_BYTES = 2_000
    # What these tests cannot bring about: a defect, and a database out of reach.
    NOT_HERE = frozenset({"500", "503"})

    @pytest.fixture
    def setting_overrides(self) -> dict[str, Any]:
        return {"max_body_bytes": self.MAX_BODY_BYTES}

    async def test_statuses(
        self, client: httpx.AsyncClient, sql: Connection, settings: Settings
    ) -> None:
        answered: dict[str, set[str]] = defaultdict(set)

        async def answers(method: str, path: str, *statuses: int, **request: Any) -> None:
            """Send a request once for each of the statuses that are expected, in turn."""
            template = next(
                template
                for (told_method, template) in OPERATIONS
                if told_method == method
                and re.fullmatch(re.sub(r"\{\w+\}", "[^/]*", template), path.partition("?")[0])
            )
            operation = DOCUMENT["paths"][template][method]
            for status in statuses:
                answer = await client.request(method.upper(), path, **request)
                assert answer.status_code == status, f"{method} {path}: {answer.text}"
                answered[operation["operationId"]].add(str(status))
                check_described(answer, operation["responses"][str(status)])

        too_long = {"content": b" " * (self.MAX_BODY_BYTES + 1)}
        malformed = {"content": b"{"}
        conditional: Json = {"headers": {"If-Match": "*"}}
        wrong: Json = {"json": {"unknown": 1}}
        order, events, snapshot = (
            f"/v1/aggregates/Order/1{suffix}" for suffix in ("", "/events", "/snapshot")
        )
        append = {"events": [{**EVENT, "event_id": EVENT_ID}]}

        await answers("post", events, 201, 200, json=append)
        await answers("post", events, 409, json={"events": [EVENT], "expected_version": 7})
        await answers("post", "/v1/aggregates/Order/2/events", 409, json=append)
        await answers("post", events, 412, json={"events": [EVENT]}, headers={"If-Match": '"7"'})
        await answers("post", events, 400, json={"events": [EVENT]}, headers={"If-Match": "7"})
        await answers("post", events, 400, **malformed)
        await answers("post", events, 413, **too_long)
        await answers("post", events, 422, **wrong)

        await answers("get", events, 200)
        await answers("get", events, 200, headers={"Accept": "application/x-ndjson"})
        await answers("get", events, 304, headers={"If-None-Match": '"1"'})
        await answers("get", "/v1/aggregates/Order/none/events", 404)
        await answers("get", events, 406, headers={"Accept": "text/html"})
        await answers("get", f"{events}?limit=0", 422)

        for method in ("get", "head"):
            await answers(method, order, 200)
            await answers(method, order, 304, headers={"If-None-Match": '"1"'})
            await answers(method, "/v1/aggregates/Order/none", 404)
            await answers(method, "/v1/aggregates/Order/", 422)
        await answers("get", f"{order}?at_version=7", 404)

        await answers("get", "/v1/aggregates", 200)
        await answers("get", "/v1/aggregates/Order", 200)
        await answers("get", "/v1/aggregates/Order?limit=0", 422)

        await answers("post", events, 201, json={"events": [EVENT]})
        await answers("get", snapshot, 404)
        await answers("put", snapshot, 201, 200, json={"version": 2, "state": {}})
        await answers("put", snapshot, 409, json={"version": 1, "state": {}})
        await answers("put", snapshot, 422, json={"version": 7, "state": {}})
        await answers("put", snapshot, 400, **malformed)
        await answers("put", snapshot, 413, **too_long)
        await answers("put", snapshot, 400, json={"version": 2, "state": {}}, **conditional)
        await answers("get", snapshot, 200)
        await answers("get", order, 200)
        await answers("get", snapshot, 304, headers={"If-None-Match": "*"})
        await answers("get", "/v1/aggregates/Order//snapshot", 422)
        await answers("delete", snapshot, 400, **conditional)
        await answers("delete", snapshot, 204, 404)
        await answers("delete", "/v1/aggregates/Order//snapshot", 422)

        await answers("get", "/v1/snapshots/due", 200)
        await answers("get", "/v1/snapshots/due?aggregate_type=Order", 200)
        await answers("get", "/v1/snapshots/due?after=7", 422)

        await answers("get", "/v1/stats/snapshot-coverage", 200)
        await answers("get", "/v1/stats/snapshot-coverage?exact=maybe", 422)
        for name in ("aggregate-types", "event-types", "largest-aggregates", "slow-aggregates"):
            await answers("get", f"/v1/stats/{name}", 200)
            await answers("get", f"/v1/stats/{name}?exact=true", 200)
            await answers("get", f"/v1/stats/{name}?limit=0", 422)
        await answers("get", "/v1/stats/conflicts", 200)
        await answers("get", "/v1/stats/conflicts?limit=0", 422)
        await answers("get", "/v1/stats/tables", 200)
        await answers("get", "/v1/stats/tables?exact=maybe", 422)
        await answers("get", "/v1/audit", 200)
        await answers("get", "/v1/audit?after=7", 422)
        await answers("get", "/v1/snapshots/failed", 200)
        await answers("get", "/v1/snapshots/failed?after=7", 422)

        policies, policy = "/v1/snapshot-policies", "/v1/snapshot-policies/Invoice"
        nameless_policy = "/v1/snapshot-policies/"
        await answers("get", policy, 404)
        await answers("put", policy, 201, 200, json={"every": 50})
        await answers("put", policy, 422, json={"every": 0})
        await answers("put", policy, 400, **malformed)
        await answers("put", policy, 400, json={"every": 50}, **conditional)
        await answers("put", policy, 413, **too_long)
        await answers("get", policy, 200)
        await answers("get", policies, 200)
        await answers("get", nameless_policy, 422)
        await answers("delete", policy, 400, **conditional)
        await answers("delete", policy, 204, 404)
        await answers("delete", nameless_policy, 422)

        state, preview = f"{order}/state", "/v1/snapshot-policies/Order/preview"
        trial: Json = {"aggregate_id": "1", "reducer": {"kind": "merge"}}
        await answers("get", state, 404)
        await answers("get", "/v1/aggregates/Order?include=state", 404)
        await answers("put", "/v1/snapshot-policies/Order", 201, json={"reducer": MERGE})
        await answers("get", state, 200)
        await answers("get", "/v1/aggregates/Order?include=state", 200)
        await answers("get", state, 304, headers={"If-None-Match": "*"})
        await answers("get", f"{state}?at_version=0", 422)
        await answers("post", preview, 200, json=trial)
        await answers("post", preview, 404, json={**trial, "aggregate_id": "none"})
        await answers("post", preview, 422, json={**trial, "reducer": FAILING})
        await answers("post", preview, 400, **malformed)
        await answers("post", preview, 400, json=trial, **conditional)
        await answers("post", preview, 413, **too_long)
        await answers("delete", "/v1/snapshot-policies/Order", 204)

        item = {"aggregate_type": "Order", "aggregate_id": "3", **append}
        item["events"] = [{**EVENT, "event_id": EVENT_ID.replace("0", "1")}]
        transactions = "/v1/transactions"
        await answers("post", transactions, 201, 200, json={"appends": [item]})
        conflict = {**item, "events": [EVENT], "expected_version": 0}
        await answers("post", transactions, 409, json={"appends": [conflict]})
        including = f"{transactions}?include=conflicting_events"
        await answers("post", including, 409, json={"appends": [conflict]})
        await answers("post", transactions, 400, **malformed)
        await answers("post", transactions, 400, json={"appends": [item]}, **conditional)
        await answers("post", transactions, 413, **too_long)
        await answers("post", transactions, 422, **wrong)

        line: Json = {**EVENT, "aggregate_type": "Order", "aggregate_id": "4"}
        await answers("post", "/v1/import", 200, json=line)
        await answers("post", "/v1/import", 409, json={**line, "version": 7})
        await answers("post", "/v1/import", 409, json={**line, "event_id": EVENT_ID})
        await answers("post", "/v1/import", 400, **malformed)
        await answers("post", "/v1/import", 400, json=line, **conditional)
        await answers("post", "/v1/import", 413, content=b"x" * (self.MAX_BODY_BYTES + 1))
        await answers("post", "/v1/import", 422, **wrong)

        await answers("get", "/v1/events", 200)
        await answers("get", "/v1/events", 406, headers={"Accept": "text/html"})
        await answers("get", "/v1/events?after=-1", 422)
        await answers("get", f"/v1/events?store_id={EVENT_ID}", 409)
        await answers("get", "/v1/events?occurred_from=0.5", 422)
        await answers("get", f"/v1/events/{EVENT_ID}", 200)
        await answers("get", f"/v1/events/{EVENT_ID.replace('0', '9')}", 404)
        await answers("get", "/v1/events/7", 422)

        position = "/v1/projections/totals/position"
        nameless = "/v1/projections//position"
        await answers("get", position, 404)
        await answers("put", position, 201, 200, json={"last_processed_position": 2})
        await answers("put", position, 409, json={"last_processed_position": 1})
        await answers("put", position, 422, json={"last_processed_position": 7_000})
        await answers("put", position, 400, **malformed)
        await answers("put", position, 400, json={"last_processed_position": 2}, **conditional)
        await answers("put", position, 413, **too_long)
        await answers("get", position, 200)
        await answers("get", f"{position}?wait_for=2", 200)
        await answers("get", f"{position}?wait_for=3&timeout=0", 504)
        await answers("get", nameless, 422)
        await answers("get", "/v1/projections", 200)
        await answers("delete", position, 400, **conditional)
        await answers("delete", position, 204, 404)
        await answers("delete", nameless, 422)

        await answers("get", "/v1/feed/status", 200)
        await answers("get", "/health/live", 200)
        await answers("get", "/health/ready", 200)

        await client.put("/v1/snapshot-policies/Order", json={"every": 100, "reducer": MERGE})
        await archive(sql, datetime.max.replace(tzinfo=UTC))
        async with open_months(settings) as months:
            for each in await months.list_months():
                await months.detach_month(each.month)
        await answers("post", events, 410, json=append)
        await answers("post", transactions, 410, json={"appends": [item]})
        await answers("post", "/v1/import", 410, json={**line, "event_id": EVENT_ID})
        await answers("get", events, 410)
        await answers("get", f"{order}?snapshot=false", 410)
        await answers("head", f"{order}?as_of=2999-01-01T00:00:00Z", 410)
        await answers("get", state, 410)
        await answers("post", preview, 410, json=trial)
        await answers("get", "/v1/events", 410)
        await answers("get", f"/v1/events/{EVENT_ID}", 410)

        documented = {
            operation["operationId"]: set(operation["responses"]) - self.NOT_HERE
            for path in DOCUMENT["paths"].values()
            for operation in path.values()
        }
        assert answered == documented

    @pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
    async def test_no_write_ignores_a_precondition(
        self, client: httpx.AsyncClient, name: str
    ) -> None:
        """It is a parameter of the operation, or it is refused (RFC 9110, section 13.1)."""
        refused = set()
        for (method, path), operation_id in OPERATIONS.items():
            parameters = DOCUMENT["paths"][path][method].get("parameters", [])
            if method in {"get", "head"} or name in {told["name"] for told in parameters}:
                continue
            answer = await client.request(
                method, re.sub(r"\{\w+\}", "x", path), headers={name: '"1"'}
            )
            assert answer.status_code == 400, operation_id
            assert answer.json()["type"] == "/problems/bad-precondition", operation_id
            assert f"no {name}" in answer.json()["detail"], operation_id
            refused.add(operation_id)
        assert refused == {
            "save_snapshot",
            "delete_snapshot",
            "save_snapshot_policy",
            "delete_snapshot_policy",
            "preview_reducer",
            "append_transaction",
            "import_events",
            "save_position",
            "delete_position",
        }

    async def test_methods_of_a_path(self, client: httpx.AsyncClient) -> None:
        """A 405 names all methods that the document has for the path."""
        for path, operations in DOCUMENT["paths"].items():
            answer = await client.request("PATCH", re.sub(r"\{\w+\}", "x", path))
            assert answer.status_code == 405
            assert answer.headers["content-type"] == PROBLEM
            assert answer.headers["allow"].split(", ") == sorted(map(str.upper, operations))


class TestDocs:
    """The page for people, which has to work where there is no other host to be reached."""

    async def test_page_and_its_assets_are_served_from_here(
        self, client: httpx.AsyncClient
    ) -> None:
        page = await client.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "//" not in re.sub(r"^\s*//.*$", "", page.text, flags=re.MULTILINE)
        assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert [asset.rpartition(".")[2] for asset in assets] == ["css", "png", "js"]
        types = []
        for asset in assets:
            answer = await client.get(urljoin("/docs", asset))
            assert answer.status_code == 200
            assert len(answer.content) > 100
            types.append(answer.headers["content-type"].partition(";")[0])
            if asset.endswith(".css"):
                assert not re.search(r"@import|url\((?!['\"]?data:)", answer.text)
        assert types == ["text/css", "image/png", "text/javascript"]
        assert "url: '/openapi.json'" in page.text
        # The other layout asks a validator on another host for a badge.
        assert '"layout": "BaseLayout"' in page.text

    async def test_there_is_no_second_page(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/redoc")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == PROBLEM
