/** Events: which, when, to whom; and that a listener cannot disturb a lock. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { execArgv, execPath, versions } from "node:process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { inspect, promisify } from "node:util";
import { memory } from "../backends/memory.ts";
import {
  AcquiredEvent,
  BackendError,
  type Lock,
  LockErrorEvent,
  LockEvent,
  LockManager,
  type Logger,
  LostEvent,
  QuorumError,
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

describe("a logger", () => {
  /** What it was told: level, message, key, and what is said of it. */
  type Line = readonly [level: string, message: string, details: Record<string, unknown>];

  function listen(): { logger: Logger; lines: Line[]; of: (level: string, what: RegExp) => unknown[] } {
    const lines: Line[] = [];
    const note = (level: string) => (message: string, details: Record<string, unknown>) => {
      JSON.stringify(details); // as a logger would
      lines.push([level, message, details]);
    };
    const of = (level: string, what: RegExp) =>
      lines.filter((line) => line[0] === level && what.test(line[1])).map(([, , { key }]) => key);
    return { logger: { debug: note("debug"), warn: note("warn") }, lines, of };
  }

  // Goes red if: any of the ways a lock begins or ends is not told, or is told twice.
  test("is told of every grant, and of every release or loss, whichever way", async () => {
    const store = memory();
    const { logger, lines, of } = listen();
    await using rival = new LockManager(store);
    {
      await using locks = new LockManager(store, { logger });
      await (await locks.acquire("released")).release();
      {
        await using _disposed = await locks.acquire("disposed");
      }
      await (await locks.acquire(["several", "keys"])).release();
      await locks.request("requested", () => {});
      const lock = await locks.tryAcquire("stolen");
      const lost = next(lock!, "lost");
      await rival.acquire("stolen", { steal: true });
      await lost;
      const both = await locks.acquire(["one", "other"]);
      const lostToo = next(both, "lost");
      await rival.acquire("other", { steal: true });
      await lostToo;
      const giving = new AbortController();
      const withdrawn = locks.acquire("stolen", { signal: giving.signal });
      giving.abort();
      await assert.rejects(withdrawn);
      await locks.acquire("closed");
    }
    const granted = ["released", "disposed", "several", "requested", "stolen", "one", "closed"];
    assert.deepEqual(of("debug", /: acquired$/), granted);
    assert.deepEqual(of("debug", /: released$/), ["released", "disposed", "several", "requested", "closed"]);
    assert.deepEqual(of("warn", /: lost$/), ["stolen", "one"]);
    for (const [, , { token }] of lines) assert.equal(typeof token, "string");
    assert.deepEqual(lines.find(([, , { key }]) => key === "several")![2]["keys"], ["several", "keys"]);
  });

  test("is told of calls that fail and are repeated: of an acquisition, a release, a heartbeat, a watch", async () => {
    const { logger, of } = listen();
    const { clock, locks, store } = world({ logger, retryFor: 2_000 });
    const fail = async (verb: string, meanwhile: () => Promise<unknown>) => {
      store.rule = (each) => each === verb ? "refuse" : "pass";
      const done = meanwhile();
      await clock.pass(50);
      store.rule = () => "pass";
      await clock.pass(1_000);
      await done;
    };
    let lock!: Lock;
    await fail("attempt", async () => lock = await locks.acquire("k"));
    assert.ok(of("warn", /call failed/).includes("k"));
    await fail("release", () => lock.release());
    assert.ok(of("warn", /release failed/).includes("k"));
    const watch = locks.watch("w");
    await watch.ready;
    await fail("list", () => locks.acquire("w"));
    assert.ok(of("warn", /watch failed/).includes("w"));
    store.rule = (verb) => verb === "renew" ? "refuse" : "pass";
    await clock.pass(TTL / 2);
    assert.equal(of("warn", /heartbeat failed/).length > 0, true);
    store.rule = () => "pass";
    await clock.pass(TTL / 2);
  });

  test("is warned, once, of an acquisition that waits for a lock of its own manager", async () => {
    const store = memory();
    const { logger, of } = listen();
    await using rival = new LockManager(store);
    await using locks = new LockManager(store, { logger });
    await rival.acquire("foreign");
    await locks.acquire("own");
    await locks.acquire("permits", { limit: 1 });
    await locks.acquire("read", { mode: "shared" });
    const giving = new AbortController();
    const { signal } = giving;
    const waiting = [
      locks.acquire("own", { signal }),
      locks.acquire(["a", "own", "z"], { signal }),
      locks.acquire("own", { mode: "shared", signal }),
      locks.acquire("permits", { limit: 3, signal }),
      locks.acquire("read", { signal }),
      locks.request("own", { signal }, () => {}),
      locks.acquire("foreign", { signal }),
    ].map((each) => assert.rejects(each));
    assert.equal(await locks.tryAcquire("own"), undefined);
    while ((await locks.query()).pending.length < waiting.length) await Promise.resolve();
    const warned = of("warn", /its own manager.*not reentrant/);
    assert.deepEqual(warned.sort(), ["own", "own", "own", "own", "permits", "read"]);
    giving.abort();
    await Promise.all(waiting);
  });

  test("that throws disturbs no lock", async () => {
    const fault = () => {
      throw new Error("out of ink");
    };
    const locks = new LockManager(memory(), { logger: { debug: fault, warn: fault } });
    assert.equal(await (await locks.acquire("k")).release(), true);
    await locks.close();
  });
});

describe("JSON and the console", () => {
  const deno = (globalThis as { Deno?: { inspect(value: unknown): string } }).Deno;
  const shown = (value: unknown) => [inspect(value), ...(deno === undefined ? [] : [deno.inspect(value)])];

  test("show a lock as inspect shows it, its token as a string in JSON", async () => {
    await using locks = new LockManager(memory());
    const lock = await locks.acquire("k", { metadata: { host: "a" } });
    const said = JSON.parse(JSON.stringify(lock));
    const { holders: [holder] } = JSON.parse(JSON.stringify(await locks.inspect("k")));
    for (const name of ["id", "mode", "limit", "metadata", "token"]) {
      assert.deepEqual(said[name], holder[name]);
    }
    assert.deepEqual([said.key, said.token, said.held], ["k", String(lock.token), true]);
    for (const text of shown(lock)) {
      assert.match(text, /^Lock \{[^]*key: ["']k["'][^]*token: 1n[^]*held: true/);
    }
    for (const text of shown(locks)) assert.match(text, /^LockManager \{[^]*memory/);
    for (const text of shown(locks.watch("k"))) assert.match(text, /^KeyWatch \{[^]*k/);
    await lock.release();
    for (const text of shown([{ lock }])) assert.match(text, /held: false/);
    const both = await locks.acquire(["a", "b"], { mode: "shared" });
    const { keys, tokens, limit } = JSON.parse(JSON.stringify(both));
    assert.deepEqual([keys, Object.keys(tokens), limit], [["a", "b"], ["a", "b"], undefined]);
    const claim = (await locks.inspect("a"))!.holders[0]!;
    assert.equal(JSON.parse(JSON.stringify(claim)).token, String(claim.token));
  });

  test("show every event, the error of one without what the client hung on it", async () => {
    await using locks = new LockManager(memory());
    const events = record(locks, ALL);
    const watch = locks.watch("k");
    const watched = record(watch, ["locked", "unlocked", "error"]);
    await watch.ready;
    const lock = await locks.acquire("k", { metadata: "me" });
    const waiting = next(locks, "waiting");
    const second = locks.acquire("k");
    await waiting;
    await lock.renew();
    await lock.release();
    await (await second).release();
    const lost = next(await locks.acquire("k"), "lost");
    const unlocked = next(watch, "unlocked");
    await locks.acquire("k", { steal: true });
    await Promise.all([lost, unlocked]);
    const client = Object.assign(new Error("refused", { cause: { password: "secret" } }), {
      code: "ECONNREFUSED",
      secret: "secret",
      sequence: 1n,
    });
    const votes = [{ node: "n", answer: "failed", error: client }] as const;
    const errors = [
      new BackendError("Cannot reach the store", { cause: client }),
      new QuorumError("Cannot reach a majority", votes),
    ];
    for (const error of errors) events.push(new LockErrorEvent("k", error, 7n));
    for (const event of [...events, ...watched]) {
      const { type, key, token } = event as LockEvent & { token?: bigint };
      const text = JSON.stringify(event);
      const said = JSON.parse(text);
      assert.deepEqual([said.type, said.key, said.token], [type, key, token?.toString()]);
      assert.ok(!text.includes("secret"));
      for (const text of shown(event)) {
        assert.match(text, new RegExp(`^${event.constructor.name} \\{ *\\n* *type`));
      }
    }
    const [, said] = JSON.parse(JSON.stringify(events.slice(-2)));
    assert.deepEqual([said.error.code, said.error.votes[0].error], [
      "quorum",
      { name: "Error", code: "ECONNREFUSED", message: "refused" },
    ]);
    const { error } = JSON.parse(JSON.stringify(events.at(-2)));
    assert.deepEqual([error.message, error.retryable, error.cause.code], [
      "Cannot reach the store",
      true,
      "ECONNREFUSED",
    ]);
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
