// Measures Emmett with its PostgreSQL event store, in this process. Plan in, figures out: JSON.

import { readFileSync } from 'node:fs';
import { dumbo } from '@event-driven-io/dumbo';
import { STREAM_DOES_NOT_EXIST } from '@event-driven-io/emmett';
import { getPostgreSQLEventStore, readMessagesBatch } from '@event-driven-io/emmett-postgresql';
import pg from 'pg';

const plan = JSON.parse(readFileSync(0, 'utf8'));
const versions = JSON.parse(readFileSync(new URL('package.json', import.meta.url))).dependencies;
const connectionString =
  `postgresql://${plan.user}@/${plan.database}` +
  `?host=${encodeURIComponent(plan.host)}&port=${plan.port}`;

const pool = new pg.Pool({
  host: plan.host,
  port: plan.port,
  user: plan.user,
  database: plan.database,
  max: plan.connections.pool,
});
const store = getPostgreSQLEventStore(connectionString, {
  connectionOptions: { pooled: true, pool },
});
const events = plan.events.map((event) => ({
  type: event.event_type,
  data: JSON.parse(event.event_data),
  metadata: { ...JSON.parse(event.metadata), occurred_at: event.occurred_at },
}));

const now = () => performance.now() / 1000;

/** Events a second that were acknowledged after the warm-up. */
async function rate(connections, append) {
  const warmAt = now() + plan.warm_up_s;
  const endAt = warmAt + plan.duration_s;
  let acknowledged = 0;
  const repeat = async (connection) => {
    for (let number = 0; now() < endAt; number += 1) {
      const begunAt = now();
      const appended = await append(connection, number);
      if (begunAt >= warmAt) acknowledged += appended;
    }
  };
  await Promise.all(Array.from({ length: connections }, (_, connection) => repeat(connection)));
  return acknowledged / (now() - warmAt);
}

async function appendSingle(connection, number) {
  const version = number % plan.events_a_case;
  const stream = `single-${connection}-${Math.floor(number / plan.events_a_case)}`;
  await store.appendToStream(stream, [events[number % events.length]], {
    expectedStreamVersion: version === 0 ? STREAM_DOES_NOT_EXIST : BigInt(version),
  });
  return 1;
}

async function appendBatch(connection, number) {
  await store.appendToStream(`batch-${connection}-${number}`, events, {
    expectedStreamVersion: STREAM_DOES_NOT_EXIST,
  });
  return events.length;
}

/** As its own projections read all messages: page after page, each decoded. */
async function feedRate() {
  const reader = dumbo({ connectionString, pooled: true, pool });
  const read = (after) =>
    readMessagesBatch(reader.execute, { after, batchSize: plan.page_size });
  const stored = async () =>
    Number((await pool.query('SELECT count(*) FROM emt_messages')).rows[0].count);
  for (let number = 0; (await stored()) < plan.feed_events; number += 20) {
    for (let next = number; next < number + 20; next += 1) await appendBatch('more', next);
  }
  let found = 0;
  let after = 0n;
  const begunAt = now();
  for (;;) {
    const page = await read(after);
    if (page.messages.length === 0) break;
    found += page.messages.length;
    after = page.currentGlobalPosition;
  }
  return found / (now() - begunAt);
}

await store.schema.migrate();
const rates = {
  'single-64': await rate(plan.connections.single, appendSingle),
  'batch-8': await rate(plan.connections.batch, appendBatch),
  feed: await feedRate(),
};
process.stdout.write(
  JSON.stringify({ title: `Emmett ${versions['@event-driven-io/emmett-postgresql']}`, rates }),
);
process.exit(0);
