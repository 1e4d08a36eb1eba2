/**
 * Uses locks in every way that could leave something behind, says how the heap did, and ends: by itself,
 * or something it left is keeping it alive.
 *
 * `node --expose-gc worker.ts ADDRESS CYCLES`
 */
import process from "node:process";
import { LockManager } from "../../mod.ts";
import { type Address, open } from "../faults/address.ts";

/** What it says, in one line of JSON. */
export interface Usage {
  /** Bytes. */
  readonly before: number;
  readonly after: number;
}

const SLOTS = 32;
const [given, count] = process.argv.slice(2) as [string, string];
const address: Address = JSON.parse(given);
const cycles = Number(count);

async function inSlots(times: number, once: (slot: number) => Promise<void>): Promise<void> {
  let left = times;
  await Promise.all(Array.from({ length: SLOTS }, async (_, slot) => {
    while (left-- > 0) await once(slot);
  }));
}

async function heap(): Promise<number> {
  for (let turn = 0; turn < 3; turn++) {
    if ("Bun" in globalThis) (globalThis as unknown as { Bun: { gc(now: boolean): void } }).Bun.gc(true);
    else (globalThis as unknown as { gc(): void }).gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return process.memoryUsage().heapUsed;
}

async function main(): Promise<Usage> {
  await using locks = new LockManager(await open(address));
  await using rivals = new LockManager(await open(address));
  const use = async (cycles: number) => {
    await inSlots(cycles, async (slot) => {
      await using _lock = await locks.acquire(`slot-${slot}`);
    });
    await using _held = await locks.acquire("held");
    await inSlots(cycles / 20, async () => {
      const giveUp = new AbortController();
      const waiting = rivals.acquire("held", { signal: giveUp.signal });
      const aborted = waiting.then(() => Promise.reject(new Error("It was granted")), () => {});
      await rivals.tryAcquire("held");
      giveUp.abort();
      await aborted;
    });
    // Where only who waits or watches hears of a theft at once, the victim does.
    await using watch = locks.watch("watched");
    await watch.ready;
    for (let theft = 0; theft < cycles / 200; theft++) {
      await using victim = await locks.acquire("stolen");
      const { signal } = victim;
      const lost = new Promise((resolve) => signal.addEventListener("abort", resolve));
      await using _thief = await rivals.acquire("stolen", { steal: true });
      await lost;
    }
  };
  await use(cycles / 5);
  const before = await heap();
  await use(cycles);
  return { before, after: await heap() };
}

process.stdout.write(JSON.stringify(await main()) + "\n");
