/**
 * A cron job that is installed on every machine, is started by the clock of each, and is run by one of them.
 *
 * `tryAcquire` alone is not enough: clocks differ, and a machine that is late asks for a lock that the first
 * one has already released. `atLeast` keeps the key taken for so long after the grant. The ttl is as long,
 * because the process ends with the job and renews nothing after that. Both have to be longer than the starts
 * can differ, and shorter than the period: otherwise the next run is left out too. A job that fails is not
 * run again before the next period.
 */
import { connect } from "@holdfast/lock/connect";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

await using locks = connect(process.env.HOLDFAST_STORE ?? "sqlite:");
await using lock = await locks.tryAcquire("hourly report", { atLeast: 30_000, ttl: 30_000 });
if (lock === undefined) {
  console.log("not here: another machine runs the report, or has just done so");
} else {
  await report(lock.signal);
  console.log("reported");
}

/** Stands for the job. What it does takes the signal: `fetch`, a query, a child process. */
async function report(signal: AbortSignal): Promise<void> {
  await sleep(50, undefined, { signal });
}

// Prints:
// reported
