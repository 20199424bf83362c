// Uses an EventStoreDB server as a program in Node would: node client.mjs CONNECTION-STRING. It prints a line for each step that
// holds and ends with status 1 at the first that does not.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import {
  ANY, BACKWARDS, END, EventStoreDBClient, NO_STREAM, START, StreamDeletedError, StreamNotFoundError, WrongExpectedVersionError,
  binaryEvent, eventTypeFilter, jsonEvent, persistentSubscriptionToStreamSettingsFromDefaults, streamNameFilter,
} from "@eventstore/db-client";

const client = EventStoreDBClient.connectionString(process.argv[2]);
const run = randomUUID();
const stream = `node-${run}`;

async function step(name, body) {
  await body();
  console.log(`ok ${name}`);
}

const numbered = (n) => jsonEvent({ type: "counted", data: { n }, metadata: { $correlationId: run } });

// take reads the first n events of a subscription, or of anything else that can be iterated.
async function take(feed, n, each = () => {}) {
  const taken = [];
  for await (const resolved of feed) {
    await each(resolved, taken.length);
    taken.push(resolved);
    if (taken.length === n) break;
  }
  return taken;
}

await step("append", async () => {
  const first = await client.appendToStream(stream, [numbered(0), numbered(1)], { expectedRevision: NO_STREAM });
  assert.equal(first.success, true);
  assert.equal(first.nextExpectedRevision, 1n);
  const again = numbered(2);
  for (let i = 0; i < 2; i++) { // the second is the same append once more
    const retried = await client.appendToStream(stream, again, { expectedRevision: 1n });
    assert.equal(retried.nextExpectedRevision, 2n);
  }
  await client.appendToStream(stream, binaryEvent({ type: "raw", data: new Uint8Array([0, 255, 1]) }), { expectedRevision: 2n });
});

await step("refuse a wrong revision", async () => {
  await assert.rejects(client.appendToStream(stream, numbered(9), { expectedRevision: 0n }), (error) => {
    assert.ok(error instanceof WrongExpectedVersionError);
    assert.equal(error.actualVersion, 3n);
    return true;
  });
});

await step("append at the same time", async () => {
  const many = `node-many-${run}`;
  await Promise.all(Array.from({ length: 200 }, (_, n) => client.appendToStream(many, numbered(n), { expectedRevision: ANY })));
  const all = await take(client.readStream(many), 1000);
  assert.equal(all.length, 200);
  assert.deepEqual(new Set(all.map(({ event }) => event.data.n)).size, 200);
});

await step("read", async () => {
  const forwards = await take(client.readStream(stream), 10);
  assert.deepEqual(forwards.map(({ event }) => event.data.n ?? Array.from(event.data)), [0, 1, 2, [0, 255, 1]]);
  assert.equal(forwards[0].event.metadata.$correlationId, run);
  assert.equal(forwards[0].event.type, "counted");
  assert.ok(Math.abs(Date.now() - forwards[0].event.created) < 600_000);
  const backwards = await take(client.readStream(stream, { direction: BACKWARDS, fromRevision: END, maxCount: 2 }), 10);
  assert.deepEqual(backwards.map(({ event }) => event.revision), [3n, 2n]);
  await assert.rejects(take(client.readStream(`nobody-${run}`), 1), StreamNotFoundError);
});

await step("read everything", async () => {
  const mine = (await take(client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1000 }), 1000))
    .filter(({ event }) => event?.streamId === stream);
  assert.deepEqual(mine.map(({ event }) => event.revision), [3n, 2n, 1n, 0n]);
});

await step("subscribe to a stream", async () => {
  const subscription = client.subscribeToStream(stream, { fromRevision: START });
  setTimeout(() => client.appendToStream(stream, numbered(4)), 50);
  const taken = await take(subscription, 5);
  assert.deepEqual(taken.map(({ event }) => event.revision), [0n, 1n, 2n, 3n, 4n]);
  await subscription.unsubscribe();
});

await step("subscribe to everything, filtered", async () => {
  const byStream = client.subscribeToAll({ fromPosition: START, filter: streamNameFilter({ prefixes: [stream] }) });
  assert.deepEqual((await take(byStream, 5)).map(({ event }) => event.revision), [0n, 1n, 2n, 3n, 4n]);
  await byStream.unsubscribe();
  const byType = client.subscribeToAll({ fromPosition: START, filter: eventTypeFilter({ regex: "^ra[w]$" }) });
  assert.equal((await take(byType, 1))[0].event.type, "raw");
  await byType.unsubscribe();
});

await step("keep the last events only", async () => {
  const short = `node-short-${run}`;
  await client.appendToStream(short, [0, 1, 2, 3].map(numbered));
  await client.setStreamMetadata(short, { maxCount: 2, custom: "kept" });
  assert.deepEqual((await take(client.readStream(short), 9)).map(({ event }) => event.data.n), [2, 3]);
  const { metadata } = await client.getStreamMetadata(short);
  assert.equal(metadata.maxCount, 2);
});

await step("delete and begin again", async () => {
  const gone = `node-gone-${run}`;
  await client.appendToStream(gone, [numbered(0), numbered(1)]);
  await client.deleteStream(gone);
  await assert.rejects(take(client.readStream(gone), 1), StreamNotFoundError);
  const again = await client.appendToStream(gone, numbered(2), { expectedRevision: NO_STREAM });
  assert.equal(again.nextExpectedRevision, 2n);
  assert.deepEqual((await take(client.readStream(gone), 9)).map(({ event }) => event.data.n), [2]);
  await client.tombstoneStream(gone);
  await assert.rejects(client.appendToStream(gone, numbered(3)), StreamDeletedError);
});

await step("share a stream in a group", async () => {
  const work = `node-work-${run}`;
  const group = "workers";
  await client.createPersistentSubscriptionToStream(work, group, persistentSubscriptionToStreamSettingsFromDefaults({ startFrom: START, maxRetryCount: 3 }));
  await client.appendToStream(work, Array.from({ length: 20 }, (_, n) => numbered(n)));
  const subscription = client.subscribeToPersistentSubscriptionToStream(work, group);
  const refused = new Set();
  const done = new Set();
  for await (const resolved of subscription) {
    const { n } = resolved.event.data;
    if (n % 5 === 0 && !refused.has(n)) {
      refused.add(n);
      await subscription.nack("retry", "not yet", resolved);
    } else if (n === 7) {
      await subscription.nack("park", "never", resolved);
      done.add(n);
    } else {
      await subscription.ack(resolved);
      done.add(n);
    }
    if (done.size === 20) break;
  }
  await subscription.unsubscribe();
  assert.equal(refused.size, 4);
  let info;
  for (let tries = 0; tries < 500 && info?.stats.parkedMessageCount !== 1n; tries++) { // parking is not waited for
    info = await client.getPersistentSubscriptionToStreamInfo(work, group);
  }
  assert.equal(info.groupName, group);
  assert.equal(info.stats.parkedMessageCount, 1n);
  await client.replayParkedMessagesToStream(work, group);
  const again = client.subscribeToPersistentSubscriptionToStream(work, group);
  for await (const resolved of again) { // the last acknowledgements may have been lost when the first subscription ended
    await again.ack(resolved);
    if (resolved.event.data.n === 7) break;
  }
  await again.unsubscribe();
  await client.deletePersistentSubscriptionToStream(work, group);
});


console.log("done");
process.exit(0); // not waiting for connections to end
