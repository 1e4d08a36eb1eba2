/**
 * A service that runs on several machines, one of which does the work while the others stand by.
 *
 * `campaign` runs the function whenever this process leads, and again when it leads again. The state is kept
 * outside of the process, so that the next leader goes on where the last one stopped. What a leader does has
 * to end when its signal aborts: until then nobody else leads, after that somebody may.
 */
import { connect } from "@holdfast/lock/connect";
import { appendFile, readFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

const ENOUGH = Number(process.argv[2] ?? 5); // the example ends; a service goes on until it is stopped
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());

await using locks = connect(process.env.HOLDFAST_STORE ?? "sqlite:");
await locks.campaign("scheduler", { signal: stop.signal }, async (term, signal) => {
  console.log("leads");
  for (let done = await count(); done < ENOUGH;) {
    await sleep(100, undefined, { signal });
    term.signal.throwIfAborted(); // it looks at the clock, so it is right even after a pause
    await appendFile("schedule.log", `${process.pid}\n`);
    console.log(`has done ${++done}`);
  }
  stop.abort();
});
console.log("stopped");

/** How much has been done, whoever did it. */
async function count(): Promise<number> {
  const text = await readFile("schedule.log", "utf8").catch(() => "");
  return text.split("\n").length - 1;
}

// Prints:
// leads
// has done 1
// has done 2
// has done 3
// has done 4
// has done 5
// stopped
