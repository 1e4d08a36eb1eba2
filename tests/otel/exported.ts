/**
 * Run by Deno as a process of its own, whose telemetry is Deno's: two managers, of which one loses a lock. It ends
 * once the collector has all that it waits for, so that nothing depends on how Deno exports at its end.
 */
import process from "node:process";
import { trace } from "@opentelemetry/api";
import { memory } from "../../backends/memory.ts";
import { LockManager } from "../../mod.ts";
import { instrument } from "../../otel.ts";
import { over } from "../support.ts";

const store = memory();
const ttl = 600_000; // nothing is lost by a slow machine
await using one = new LockManager(store, { ttl });
await using two = new LockManager(store, { ttl });
for (const locks of [one, two]) instrument(locks, { name: (key) => key.split(":")[0] });

await trace.getTracer("app").startActiveSpan("caller", async (span) => {
  const lock = await one.acquire("invoice:42");
  const lost = over(lock);
  const thief = await two.acquire("invoice:42", { steal: true });
  await lost;
  await thief.release();
  span.end();
});
await using _ = await one.acquire("invoice:43");
await using __ = await two.acquire("invoice:44");
await fetch(`${process.env.OTEL_EXPORTER_OTLP_ENDPOINT}/enough`);
