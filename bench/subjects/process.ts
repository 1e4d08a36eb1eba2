/**
 * A process that is measured: does what it is told, see `harness/protocol.ts`, and ends with its standard input.
 *
 * `process.ts MODULE ADDRESS TTL`: the module exports `open`, see `subject.ts`.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import type { Order, Orders, Verb } from "../harness/protocol.ts";
import type { Open, Signal, Subject } from "./subject.ts";

const [module, address, ttl] = process.argv.slice(2) as [string, string, string];
const orders = createInterface(process.stdin); // from the beginning: it keeps the process alive
const { open } = await import(module) as { open: Open<Subject | Signal> };
const subject = await open(address, Number(ttl));
const ours = module.endsWith("/holdfast.ts");

/** What is taken, by key; and what is held, by nobody. */
const taken = new Map<string, () => Promise<unknown>>();
const held: (() => Promise<unknown>)[] = [];
/** Milliseconds after which who does not tell that it waits is taken to do so, and more for each of many. */
const SETTLED = 20;
const SETTLED_EACH = 0.2;

let serial = 0;
/** The longest pause between two ticks, and when the last one was. */
let [still, tick] = [0, 0];
let ticking: ReturnType<typeof setInterval> | undefined;
const now = () => performance.now();

type Work = { [V in Verb]: (order: Orders[V]["order"], say: () => void) => Promise<Orders[V]["done"]> };

const work: Work = {
  clock: () => Promise.resolve(now()),
  async cycles({ n, key }) {
    const times = new Array<number>(n);
    for (let round = 0; round < n; round++) {
      const name = key.endsWith("*") ? `${key.slice(0, -1)}${process.pid}-${serial++}` : key;
      const since = now();
      const release = await lock().acquire(name);
      await release();
      times[round] = now() - since;
    }
    return times;
  },
  async flight({ n, many }) {
    let left = n;
    const one = async (_: unknown, at: number) => {
      for (; left > 0;) {
        left--;
        await (await lock().acquire(`flight-${process.pid}-${at}`))();
      }
    };
    const since = now();
    await Promise.all(Array.from({ length: many }, one));
    return now() - since;
  },
  async take({ key }, say) {
    if ("wait" in subject) {
      await subject.wait(say);
    } else {
      const acquiring = subject.acquire(key, say);
      if (!ours) setTimeout(say, SETTLED);
      taken.set(key, await acquiring);
    }
    return now();
  },
  async give({ key }) {
    const from = now();
    await ("wait" in subject ? subject.pass() : taken.get(key)!());
    return [from, now()];
  },
  async crowd({ key, many }, say) {
    let standing = 0;
    const one = async () => {
      const release = await lock().acquire(key, () => {
        if (++standing === many) say();
      });
      const at = now();
      await release();
      return at;
    };
    const all = Promise.all(Array.from({ length: many }, one));
    if (!ours) await Promise.race([all, sleep(SETTLED + SETTLED_EACH * many).then(say)]);
    return await all;
  },
  async hold({ many, prefix }) {
    const one = async (_: unknown, n: number) => held.push(await lock().acquire(`${prefix}${n}`));
    await Promise.all(Array.from({ length: many }, one));
    return null;
  },
  async drop() {
    await Promise.all(held.splice(0).map((release) => release()));
    return null;
  },
  standstill() {
    const longest = still;
    still = 0;
    tick = now();
    ticking ??= setInterval(() => {
      still = Math.max(still, now() - tick);
      tick = now();
    }, 1);
    return Promise.resolve(longest);
  },
  heap() {
    const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } };
    for (let time = 0; time < 3; time++) gc?.() ?? Bun?.gc(true);
    return Promise.resolve(gc || Bun ? process.memoryUsage().heapUsed : 0);
  },
};

function lock(): Subject {
  if ("wait" in subject) throw new Error(`${module} is no lock`);
  return subject;
}

function write(answer: object): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function follow({ id, do: verb, ...order }: Order): Promise<void> {
  let said = false;
  const say = () => {
    if (!said) write({ id, say: "waiting", at: now() });
    said = true;
  };
  try {
    const done = await (work[verb] as (order: object, say: () => void) => Promise<unknown>)(order, say);
    write({ id, done });
  } catch (error) {
    write({ id, failed: error instanceof Error ? error.stack ?? error.message : String(error) });
  }
}

write({ id: 0, done: null });
for await (const line of orders) void follow(JSON.parse(line));
await Promise.race([subject.close(), sleep(1_000)]);
process.exit(0);
