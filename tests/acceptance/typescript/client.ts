// Uses the generated client against a running service, and prints what it has seen as JSON.
// That it compiles under --strict is half of the test: the types say what the service does.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
type Conflict = Schemas["AppendConflictProblem"];

const [, , baseUrl] = process.argv;
const client = createClient<paths>({ baseUrl });

// Any name must find its way into a path and back.
const aggregate = { aggregate_type: "Order", aggregate_id: "ord/1 ö?%2F" };

function present<T>(value: T | undefined, answer: { response: Response; error?: unknown }): T {
  if (value === undefined) {
    throw new Error(`${answer.response.status}: ${JSON.stringify(answer.error)}`);
  }
  return value;
}

// What is optional may be left out; event_data takes any object.
function event(eventType: string, more: Partial<Schemas["NewEvent"]> = {}): Schemas["NewEvent"] {
  return { event_type: eventType, event_data: { total: "45.48", lines: [{ sku: 1 }, null] }, ...more };
}

async function append(body: Schemas["AppendRequest"], ifMatch?: string) {
  return client.POST("/v1/aggregates/{aggregate_type}/{aggregate_id}/events", {
    params: {
      path: aggregate,
      header: { "If-Match": ifMatch },
      query: { include: ["conflicting_events"] },
    },
    body,
  });
}

async function appendAndRefuse() {
  const body = {
    expected_version: 0,
    events: [event("OrderPlaced", { event_id: crypto.randomUUID(), metadata: { user: 7 } })],
  };
  const first = await append(body);
  const again = await append(body);
  const conflict = await append({ expected_version: 0, events: [event("OrderPlaced")] });
  const failed = await append({ events: [event("OrderPaid")] }, '"7"');
  const invalid = await append({ events: [event("")] });
  if (!conflict.error || !("actual_version" in conflict.error)) {
    throw new Error("not a conflict");
  }
  const problem: Conflict = conflict.error;
  if (!invalid.error || !("errors" in invalid.error)) {
    throw new Error("not an invalid input");
  }
  return {
    statuses: [first, again, conflict, failed, invalid].map((answer) => answer.response.status),
    version: present(first.data, first).version,
    repeated: present(again.data, again).events[0]?.event_id === body.events[0]?.event_id,
    snapshotDue: first.data?.snapshot_due,
    conflict: [problem.type, problem.expected_version, problem.actual_version],
    conflicting: problem.conflicting_events?.map((recorded) => recorded.event_type),
    place: invalid.error.errors[0]?.place,
  };
}

async function load() {
  const path = { params: { path: aggregate } };
  const loaded = await client.GET("/v1/aggregates/{aggregate_type}/{aggregate_id}", path);
  const { events, snapshot, version } = present(loaded.data, loaded);
  const [recorded] = events;
  const total: unknown = recorded?.event_data["total"];
  const user: unknown = recorded?.metadata?.["user"];
  const lines = await client.GET("/v1/aggregates/{aggregate_type}/{aggregate_id}/events", {
    params: { path: aggregate },
    headers: { Accept: "application/x-ndjson" },
    parseAs: "text",
  });
  const missing = await client.GET("/v1/aggregates/{aggregate_type}/{aggregate_id}", {
    params: { path: { aggregate_type: "Order", aggregate_id: "none" } },
  });
  return {
    version,
    snapshot,
    etag: loaded.response.headers.get("etag"),
    total,
    user,
    correlationId: recorded?.correlation_id,
    lines: present(lines.data, lines).trim().split("\n").length,
    missing: [missing.response.status, missing.error?.type],
  };
}

async function snapshot() {
  const params = { path: aggregate };
  const path = "/v1/aggregates/{aggregate_type}/{aggregate_id}/snapshot";
  const saved = await client.PUT(path, { params, body: { version: 1, state: { total: 1 } } });
  const stored = await client.GET(path, { params });
  const deleted = await client.DELETE(path, { params });
  return {
    statuses: [saved, stored, deleted].map((answer) => answer.response.status),
    state: present(stored.data, stored).state,
  };
}

async function transaction() {
  const append = (id: string): Schemas["TransactionAppend"] => ({
    aggregate_type: "Invoice",
    aggregate_id: id,
    expected_version: 0,
    events: [event("InvoiceSent")],
  });
  const stored = await client.POST("/v1/transactions", {
    body: { appends: [append("a"), append("b")] },
  });
  const conflict = await client.POST("/v1/transactions", {
    body: { appends: [append("c"), append("b")] },
  });
  return {
    aggregates: present(stored.data, stored).appends.map((appended) => appended.aggregate_id),
    conflict: conflict.error && "append_index" in conflict.error && conflict.error.append_index,
  };
}

async function feedAndPosition() {
  const feed = await client.GET("/v1/events", {
    params: { query: { event_type: ["OrderPlaced", "InvoiceSent"], direction: "forward" } },
  });
  const page = present(feed.data, feed);
  if (typeof page === "string") throw new Error("a page was asked for, not a stream");
  const { events, next_after, safe_position, up_to_date } = page;
  const params = { path: { projection_name: "totals" } };
  const path = "/v1/projections/{projection_name}/position";
  const saved = await client.PUT(path, { params, body: { last_processed_position: next_after } });
  const back = await client.PUT(path, { params, body: { last_processed_position: 1 } });
  const position = await client.GET(path, { params });
  const { lag_positions, last_processed_position } = present(position.data, position);
  return {
    events: events.map((recorded) => recorded.event_type),
    atTheEnd: up_to_date && next_after === safe_position,
    statuses: [saved, back, position].map((answer) => answer.response.status),
    kept:
      back.error && "last_processed_position" in back.error && back.error.last_processed_position,
    position: [last_processed_position === next_after, lag_positions],
  };
}

console.log(
  JSON.stringify({
    append: await appendAndRefuse(),
    load: await load(),
    snapshot: await snapshot(),
    transaction: await transaction(),
    feed: await feedAndPosition(),
  }),
);
