/**
 * The process that things happen to: takes a lock and, as long as `lock.signal` lets it, writes to a
 * fenced ledger. Says what it sees as lines of JSON; does what it is told on standard input.
 *
 * `node holder.ts ADDRESS KEY TTL LEDGER`
 */
import { existsSync } from "node:fs";
import process from "node:process";
import { LockLostError, LockManager } from "../../mod.ts";
import { Ledger } from "../demo/ledger.ts";
import { open } from "./address.ts";
import type { Report } from "./report.ts";

const [address, key, ttl, path] = process.argv.slice(2) as [string, string, string, string];
using ledger = new Ledger(path);
await using locks = new LockManager(await open(JSON.parse(address)), { retryFor: 30_000 });

function report(what: Report): void {
  process.stdout.write(JSON.stringify({ ...what, at: Date.now() }) + "\n");
}

const lock = await locks.acquire(key, { ttl: Number(ttl) });
const token = String(lock.token);
report({ event: "acquired", token, remaining: lock.remaining });
lock.addEventListener("renewed", () => report({ event: "renewed", remaining: lock.remaining }));
const { signal } = lock;
signal.addEventListener("abort", () => {
  const { reason } = signal;
  if (reason instanceof LockLostError) report({ event: "lost", why: reason.why });
});

/** Looks first, as everybody should; what still gets through is the ledger's to refuse. */
function write(): void {
  if (signal.aborted) return;
  if (ledger.append(lock.token, "holder").refusedBy !== undefined) report({ event: "refused", token });
}
const writing = setInterval(write, 25);

const orders: Record<string, (word: string) => void> = {
  // Nothing else runs in this process until the file exists.
  block(file) {
    const cell = new Int32Array(new SharedArrayBuffer(4));
    while (!existsSync(file)) Atomics.wait(cell, 0, 0, 5);
    report({ event: "looked", aborted: signal.aborted });
    write();
  },
  look() {
    report({ event: "looked", aborted: signal.aborted });
  },
  release() {
    lock.release().then(
      (released) => report({ event: "released", released }),
      (error) => report({ event: "released", error: String(error) }),
    );
  },
};

let rest = "";
for await (const chunk of process.stdin) {
  const lines = (rest + chunk).split("\n");
  rest = lines.pop()!;
  for (const line of lines) {
    const [order, word = ""] = line.split(" ");
    orders[order!]!(word);
  }
}
clearInterval(writing);
