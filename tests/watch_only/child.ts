/**
 * A process with a watch, which has to end by itself once nothing else is left to do, and not before.
 *
 * `node child.ts TARGET MODE TTL`
 */
import process from "node:process";
import { type Backend, LockManager } from "../../mod.ts";
import { type Address, open } from "../faults/address.ts";

/** Where the locks are. */
export type Target = Address | { readonly cluster: string } | "memory";

/**
 * What is done beside watching "watched". "nothing": nothing. "locked", "error": it lives until the watch has
 * told of that. "uses": it waits for "used", holds it for a renewal, and releases it; and ends
 * another watch.
 */
export type Mode = "nothing" | "locked" | "error" | "uses";

/** What it says, one word a line. */
export type Word = "waits" | "renewed" | "told" | "done";

function say(word: Word): void {
  console.log(word);
}

async function backend(target: Target): Promise<Backend> {
  if (target === "memory") return (await import("../../backends/memory.ts")).memory();
  if ("cluster" in target) {
    return (await import("../../backends/redis.ts")).redis({ cluster: [target.cluster] });
  }
  return await open(target);
}

const [target, mode, ttl] = process.argv.slice(2) as [string, Mode, string];
const locks = new LockManager(await backend(JSON.parse(target)), { ttl: Number(ttl) });
locks.addEventListener("waiting", () => say("waits"));
const watch = locks.watch("watched");
await watch.ready;
if (mode === "locked" || mode === "error") {
  const alive = setInterval(() => {}, 60_000);
  watch.addEventListener(mode, () => {
    say("told");
    clearInterval(alive);
  }, { once: true });
}
if (mode === "uses") {
  const lock = await locks.acquire("used");
  await new Promise((resolve) => lock.addEventListener("renewed", resolve, { once: true }));
  say("renewed");
  await lock.release();
  const ended = locks.watch("used");
  await ended.ready;
  await ended[Symbol.asyncDispose]();
}
say("done");
