/** Events: which, when, to whom; and that a listener cannot disturb a lock. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { execArgv, execPath, versions } from "node:process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { memory } from "../backends/memory.ts";
import {
  AcquiredEvent,
  type LockErrorEvent,
  LockEvent,
  LockManager,
  LostEvent,
  ReleasedEvent,
  RenewedEvent,
  WaitingEvent,
} from "../mod.ts";
import { next, record } from "./conformance/actions.ts";
import { TTL, world } from "./virtual.ts";

const ALL = ["waiting", "acquired", "renewed", "released", "lost", "error"] as const;

describe("events", () => {
  test("are of their classes, with readonly fields", async () => {
    const store = memory();
    await using locks = new LockManager(store);
    const events = record(locks, ALL);
    const first = await locks.acquire("k");
    const waiting = next(locks, "waiting");
    const second = locks.acquire("k", { ttl: 5_000 });
    await waiting;
    await first.renew();
    await first.release();
    const lock = await second;
    await locks.acquire("k", { steal: true });
    const kinds = [AcquiredEvent, WaitingEvent, RenewedEvent, ReleasedEvent, AcquiredEvent];
    assert.deepEqual(events.slice(0, 5).map((event) => event.constructor), kinds);
    const lost = events.find((event) => event instanceof LostEvent);
    assert.ok(lost);
    assert.deepEqual([lost.type, lost.key, lost.token, lost.reason], ["lost", "k", lock.token, "stolen"]);
    for (const event of events) assert.ok(event instanceof LockEvent && event instanceof Event);
  });

  test("of a lock reach it and its manager, and no other manager", async () => {
    const store = memory();
    await using locks = new LockManager(store);
    await using other = new LockManager(store);
    const strange = record(other, ALL);
    const own = record(locks, ALL);
    const lock = await locks.acquire("k");
    const direct = record(lock, ALL);
    await lock.renew();
    await lock.release();
    assert.deepEqual(own.map(({ type }) => type), ["acquired", "renewed", "released"]);
    assert.deepEqual(direct.map(({ type }) => type), ["renewed", "released"]);
    assert.deepEqual(strange, []);
  });

  test("waiting is told once for each acquisition, not at every look", async () => {
    const { clock, locks } = world();
    const told = record(locks, ["waiting"]);
    const first = await locks.acquire("k"); // its ttl is when the waiter looks again
    const second = locks.acquire("k");
    await clock.pass(10 * TTL);
    await first.release();
    await second;
    assert.equal(told.length, 1);
  });

  // Goes red if: failed heartbeats are not told.
  test("a heartbeat that fails is an error event with the lock's key and token", async () => {
    const { clock, locks, store } = world();
    const lock = await locks.acquire("k");
    const failed = next<LockErrorEvent>(lock, "error");
    const failedToo = next<LockErrorEvent>(locks, "error");
    store.rule = (verb) => verb === "renew" ? "refuse" : "pass";
    await clock.pass(TTL / 2);
    const event = await failed;
    assert.deepEqual([event.key, event.token], ["k", lock.token]);
    assert.equal((event.error as { code?: string }).code, "backend");
    assert.equal((await failedToo).key, "k");
  });

  test("listeners may be objects, be heard once, be removed or end with a signal", async () => {
    await using locks = new LockManager(memory());
    const heard: string[] = [];
    const ending = new AbortController();
    const removed = () => heard.push("removed");
    locks.addEventListener("acquired", { handleEvent: ({ key }) => heard.push(`object ${key}`) });
    locks.addEventListener("acquired", () => heard.push("once"), { once: true });
    locks.addEventListener("acquired", () => heard.push("until"), { signal: ending.signal });
    locks.addEventListener("acquired", removed);
    locks.addEventListener("acquired", null);
    locks.removeEventListener("acquired", removed);
    await locks.acquire("a");
    ending.abort();
    await locks.acquire("b");
    assert.deepEqual(heard, ["object a", "once", "until", "object b"]);
  });

  // Goes red if: an event is dispatched before the state has changed.
  test("a listener finds the state that the event tells of", async () => {
    const store = memory();
    await using locks = new LockManager(store);
    const seen: unknown[] = [];
    const lock = await locks.acquire("k");
    const { signal } = lock;
    const look = (event: Event) => seen.push([event.type, lock.held, signal.aborted, lock.remaining]);
    signal.addEventListener("abort", look);
    lock.addEventListener("lost", look);
    const lost = next(lock, "lost");
    await locks.acquire("k", { steal: true });
    await lost;
    assert.deepEqual(seen, [["abort", false, true, 0], ["lost", false, true, 0]]);
  });

  test("a listener may release the lock it hears of", async () => {
    await using locks = new LockManager(memory());
    const lock = await locks.acquire("k");
    const released = new Promise((resolve) => {
      lock.addEventListener("renewed", () => resolve(lock.release()), { once: true });
    });
    await lock.renew().catch(() => {});
    assert.equal(await released, true);
    assert.equal(await locks.inspect("k"), undefined);
  });
});

// Goes red if: an exception of a listener gets between a change of state and what follows it.
test("a listener that throws disturbs no lock", async () => {
  const script = fileURLToPath(new URL("./events/throwing_listener.ts", import.meta.url));
  const args = versions["deno"] === undefined
    ? [...execArgv.filter((arg) => !arg.startsWith("--test"))]
    : ["run", "-A", "--no-check"];
  const { stdout } = await promisify(execFile)(execPath, [...args, script]);
  assert.deepEqual(JSON.parse(stdout), {
    acquired: true,
    renewed: true,
    released: true,
    successor: true,
    aborted: true,
    faults: ["acquired", "renewed", "abort", "released"],
  });
});
