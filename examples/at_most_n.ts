/**
 * At most two exports at a time, in however many processes they are started; the others wait, first come,
 * first served.
 *
 * All ask with the same `limit`: where limits differ, the smallest one among those in front counts. The
 * metadata is for people and dashboards: `inspect` shows it to anybody who asks.
 */
import { connect } from "@holdfast/lock/connect";
import { appendFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

const name = process.argv[2] ?? "orders";

await using locks = connect(process.env.HOLDFAST_STORE ?? "sqlite:");
await using permit = await locks.acquire("exports", { limit: 2, metadata: { name } });
const now = await locks.inspect("exports");
for (const { metadata } of now?.holders ?? []) console.log("at work:", JSON.stringify(metadata));
console.log("waiting:", now?.waiters.length);
await exportTable(name, permit.signal);
console.log("exported", name);

/** Stands for what is too much for the database if many do it. */
async function exportTable(name: string, signal: AbortSignal): Promise<void> {
  await appendFile("exports.log", `begin ${name}\n`);
  await sleep(300, undefined, { signal });
  await appendFile("exports.log", `end ${name}\n`);
}

// Prints:
// at work: {"name":"orders"}
// waiting: 0
// exported orders
