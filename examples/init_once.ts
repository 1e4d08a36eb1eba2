/**
 * Something that has to be made once, however many instances start at the same time: settings, a bucket, an
 * index.
 *
 * First the lock, then the look whether it is done: who has waited finds it done. The lock is no record of
 * that, it only keeps two from doing it at once; the thing itself is, so it has to appear in one step.
 */
import { connect } from "@holdfast/lock/connect";
import { existsSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

await using locks = connect(process.env.HOLDFAST_STORE ?? "sqlite:");
await using lock = await locks.acquire("settings", { signal: AbortSignal.timeout(60_000) });
if (existsSync("settings.json")) {
  console.log("was made before");
} else {
  const settings = await make(lock.signal);
  lock.signal.throwIfAborted();
  await writeFile("settings.json.new", JSON.stringify(settings));
  await rename("settings.json.new", "settings.json"); // who is killed before this leaves nothing half done
  console.log("made");
}

/** Stands for what takes its time. */
async function make(signal: AbortSignal): Promise<object> {
  await sleep(500, undefined, { signal });
  return { secret: crypto.randomUUID() };
}

// Prints:
// made
