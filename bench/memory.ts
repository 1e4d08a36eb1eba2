/** The core itself: a lock in memory against the in-process mutex that the field uses. */
import { Mutex } from "async-mutex";
import { memory } from "../backends/memory.ts";
import { LockManager } from "../mod.ts";
import { instrument } from "../otel.ts";
import { type Figure, typical } from "./figures.ts";

const CYCLES = 1_000;

/** Uncontended cycles, and hand-over from one waiter to the next. */
export async function run(): Promise<Figure[]> {
  await using locks = new LockManager(memory());
  const ours = await typical(async () => {
    for (let cycle = 0; cycle < CYCLES; cycle++) await (await locks.acquire("key")).release();
  });
  await using observed = new LockManager(memory());
  using _ = instrument(observed);
  const told = await typical(async () => {
    for (let cycle = 0; cycle < CYCLES; cycle++) await (await observed.acquire("key")).release();
  });
  const mutex = new Mutex();
  const theirs = await typical(async () => {
    for (let cycle = 0; cycle < CYCLES; cycle++) (await mutex.acquire())();
  });
  const queue = await typical(async () => {
    const waiting = Array.from({ length: CYCLES }, () => locks.acquire("key"));
    for (const lock of waiting) await (await lock).release();
  });
  return [
    {
      what: "memory: uncontended acquire + release",
      value: CYCLES / ours * 1_000,
      unit: "/s",
      bound: { least: 200_000 },
    },
    { what: "memory: the same, instrumented and without an SDK", value: CYCLES / told * 1_000, unit: "/s" },
    {
      what: "memory: the same with async-mutex, which knows no ttl, token or loss",
      value: CYCLES / theirs * 1_000,
      unit: "/s",
    },
    { what: "memory: 1 000 waiters served in turn", value: CYCLES / queue * 1_000, unit: "/s" },
  ];
}
