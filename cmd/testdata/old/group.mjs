// Leaves two groups behind, as a program in Node does: node group.mjs CONNECTION-STRING. "workers" of the stream jobs has settled 0 to 29,
// of which it has parked 7; "readers" of everything in streams that begin with jobs, likewise. 30 to 39 are there and wait.
import {
  ANY, BACKWARDS, END, EventStoreDBClient, START, jsonEvent, persistentSubscriptionToAllSettingsFromDefaults, persistentSubscriptionToStreamSettingsFromDefaults,
  streamNameFilter,
} from "@eventstore/db-client";

const client = EventStoreDBClient.connectionString(process.argv[2]);
const numbered = (n) => jsonEvent({ type: "counted", data: { n } });
const settings = { startFrom: START, checkPointAfter: 100, checkPointLowerBound: 1, checkPointUpperBound: 1, readBatchSize: 20 };

await client.createPersistentSubscriptionToStream("jobs", "workers", persistentSubscriptionToStreamSettingsFromDefaults(settings));
await client.createPersistentSubscriptionToAll("readers", persistentSubscriptionToAllSettingsFromDefaults(settings), { filter: streamNameFilter({ prefixes: ["jobs"] }) });
await client.appendToStream("jobs", Array.from({ length: 30 }, (_, n) => numbered(n)), { expectedRevision: ANY });

let last;
for await (const { event } of client.readAll({ direction: BACKWARDS, fromPosition: END })) {
  if (event?.streamId === "jobs") {
    last = event.position.commit;
    break;
  }
}

// settle takes the 30 and waits until what it has settled is stored.
async function settle(subscription, info, stored) {
  const settled = new Set();
  for await (const resolved of subscription) {
    const { n } = resolved.event.data;
    if (n === 7) await subscription.nack("park", "seven", resolved);
    else await subscription.ack(resolved);
    settled.add(n);
    if (settled.size === 30) break;
  }
  for (let tries = 0; ; tries++) {
    const { stats } = await info();
    if (stats.parkedMessageCount === 1n && stats.totalInFlightMessages === 0 && stored(stats)) break;
    if (tries === 500) throw new Error(`not settled: ${JSON.stringify(stats, (_, v) => (typeof v === "bigint" ? String(v) : v))}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await subscription.unsubscribe();
}
await settle(client.subscribeToPersistentSubscriptionToStream("jobs", "workers"), () => client.getPersistentSubscriptionToStreamInfo("jobs", "workers"),
  (stats) => stats.lastCheckpointedEventRevision === 29n);
await settle(client.subscribeToPersistentSubscriptionToAll("readers"), () => client.getPersistentSubscriptionToAllInfo("readers"),
  (stats) => stats.lastCheckpointedEventPosition?.commit >= last);
await client.appendToStream("jobs", Array.from({ length: 10 }, (_, n) => numbered(30 + n)), { expectedRevision: ANY });
process.exit(0);
