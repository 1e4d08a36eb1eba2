/**
 * One of the processes of the demo: takes the lock, writes a few lines to the ledger, gives it back,
 * and starts again, until it is told to stop. Reports what it sees as lines of JSON.
 *
 * `node worker.ts NAME LEDGER`
 */
import { acquire, type Lock, LockLostError } from "../../mod.ts";
import { Ledger } from "./ledger.ts";
import { KEY, type Report, TTL } from "./report.ts";

const [name, path] = process.argv.slice(2) as [string, string];
using ledger = new Ledger(path);
const leaving = new AbortController();
let slow = false;
process.stdin.on("data", () => slow = true);
process.stdin.on("end", () => leaving.abort());

function report(report: Report): void {
  process.stdout.write(JSON.stringify(report) + "\n");
}

async function write(lock: Lock): Promise<void> {
  lock.signal.throwIfAborted();
  if (slow) {
    // The check above has passed, and the process is stopped before the write below: the gap that
    // no lock can close, and the token does.
    slow = false;
    report({ event: "writing" });
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
  }
  const { refusedBy } = ledger.append(lock.token, name);
  if (refusedBy === undefined) report({ event: "wrote" });
  else report({ event: "refused", token: String(lock.token), by: String(refusedBy) });
}

async function work(): Promise<void> {
  report({ event: "waiting" });
  const asked = performance.now();
  await using lock = await acquire(KEY, { ttl: TTL, signal: leaving.signal, metadata: { name } });
  report({ event: "acquired", token: String(lock.token), waited: performance.now() - asked, at: Date.now() });
  try {
    for (let line = 0; line < 3; line++) {
      await write(lock);
      await new Promise((resolve) => setTimeout(resolve, 80 + Math.random() * 120));
    }
    lock.signal.throwIfAborted();
  } catch (error) {
    if (!(error instanceof LockLostError)) throw error;
    report({ event: "lost", why: error.why });
    return;
  }
  await lock.release();
  report({ event: "released", at: Date.now() });
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 150));
}

while (!leaving.signal.aborted) {
  try {
    await work();
  } catch (error) {
    if (error !== leaving.signal.reason) throw error;
  }
}
