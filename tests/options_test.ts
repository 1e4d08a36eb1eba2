/** Bad input: each refused with what is wrong, what was given and what is accepted. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { memory } from "../backends/memory.ts";
import { redis } from "../backends/redis.ts";
import { LockManager } from "../mod.ts";
import { FaultyBackend } from "./conformance/faulty.ts";

// deno-lint-ignore no-explicit-any
type Anything = any;

const cyclic: Record<string, unknown> = {};
cyclic["self"] = cyclic;

/** Options of an acquisition, the error, and what its message says. */
const BAD: readonly [Anything, typeof TypeError | typeof RangeError, ...RegExp[]][] = [
  [null, TypeError, /options/],
  ["exclusive", TypeError, /options/, /"exclusive"/],
  [{ mode: "read" }, TypeError, /"mode"/, /"read"/, /"exclusive" or "shared"/],
  [{ mode: 1 }, TypeError, /"mode"/, /1/],
  [{ mode: "shared", limit: 3 }, TypeError, /"limit"/, /"shared"/],
  [{ mode: "shared", limit: Infinity }, TypeError, /"limit"/],
  [{ mode: "shared", steal: true }, TypeError, /"steal"/, /"shared"/],
  [{ limit: "3" }, TypeError, /"limit"/, /"3"/, /number/],
  [{ limit: 3n }, TypeError, /"limit"/, /3n/],
  [{ limit: 0 }, RangeError, /"limit"/, /\b0\b/, /whole number from 1 to/],
  [{ limit: -1 }, RangeError, /"limit"/, /-1/],
  [{ limit: 2.5 }, RangeError, /"limit"/, /2\.5/, /whole/],
  [{ limit: NaN }, RangeError, /"limit"/, /NaN/],
  [{ limit: Infinity }, RangeError, /"limit"/, /Infinity/],
  [{ ttl: "10s" }, TypeError, /"ttl"/, /"10s"/, /number/],
  [{ ttl: null }, TypeError, /"ttl"/, /null/],
  [{ ttl: 9 }, RangeError, /"ttl"/, /\b9\b/, /10 to 86400000/],
  [{ ttl: 86_400_001 }, RangeError, /"ttl"/, /86400001/],
  [{ ttl: NaN }, RangeError, /"ttl"/, /NaN/],
  [{ ttl: Infinity }, RangeError, /"ttl"/, /Infinity/],
  [{ ttl: -1 }, RangeError, /"ttl"/, /-1/],
  [{ renew: 1 }, TypeError, /"renew"/, /\b1\b/, /true or false/],
  [{ steal: "yes" }, TypeError, /"steal"/, /"yes"/],
  [{ signal: new AbortController() }, TypeError, /"signal"/, /AbortSignal/],
  [{ signal: null }, TypeError, /"signal"/, /null/],
  [{ metadata: () => {} }, TypeError, /"metadata"/, /JSON/],
  [{ metadata: Symbol("x") }, TypeError, /"metadata"/],
  [{ metadata: 1n }, TypeError, /"metadata"/, /1n/],
  [{ metadata: NaN }, TypeError, /"metadata"/, /NaN/],
  [{ metadata: cyclic }, TypeError, /"metadata"/],
  [{ metadata: new Map([[1, 2]]) }, TypeError, /"metadata"/],
  [{ metadata: [undefined] }, TypeError, /"metadata"/],
  [{ metadata: { f() {} } }, TypeError, /"metadata"/],
  [{ metadata: "é".repeat(2_048) }, RangeError, /"metadata"/, /4096/, /4098/],
  [{ timeout: 5 }, TypeError, /"timeout"/, /mode, limit, ttl, renew, signal, metadata, steal/],
  [{ Mode: "shared" }, TypeError, /"Mode"/],
  [{ ifAvailable: true }, TypeError, /"ifAvailable"/],
];

const BAD_KEYS: readonly [Anything, typeof TypeError | typeof RangeError, ...RegExp[]][] = [
  ["", RangeError, /key/, /empty/],
  ["k".repeat(513), RangeError, /key/, /512/, /513/],
  [undefined, TypeError, /key/, /undefined/],
  [null, TypeError, /key/, /null/],
  [42, TypeError, /key/, /42/],
  [{}, TypeError, /key/, /object/],
];

const BAD_LISTS: readonly [Anything, typeof TypeError | typeof RangeError, ...RegExp[]][] = [
  [[], RangeError, /at least one key/],
  [["k", ""], RangeError, /key/, /empty/],
  [["k", "k".repeat(513)], RangeError, /512/],
  [["k", 42], TypeError, /key/, /42/],
  [[, "k"], TypeError, /key/],
  [new Set(["k"]), TypeError, /key/],
];

/** A rejected promise, with an error of this very class that says all of it. */
async function refused(
  call: () => Promise<unknown>,
  [, kind, ...says]: (typeof BAD)[number],
  what: string,
): Promise<void> {
  let promise: Promise<unknown>;
  try {
    promise = call();
  } catch (error) {
    assert.fail(`${what} threw ${error} instead of rejecting`);
  }
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof Error && error.constructor === kind, `${what}: ${error}`);
    for (const word of says) assert.match(error.message, word, what);
    return true;
  });
}

function name(bad: unknown): string {
  if (typeof bad !== "object" || bad === null) return String(bad).slice(0, 20);
  return Object.entries(bad).map(([key, value]) => `${key} ${typeof value} ${String(value).slice(0, 20)}`)
    .join();
}

describe("options of an acquisition", () => {
  // Goes red if: any check is left out, or comes after the first call to the store.
  test("are refused before anything is sent", async () => {
    const store = new FaultyBackend(memory());
    await using locks = new LockManager(store);
    for (const bad of BAD) {
      const what = name(bad[0]);
      await refused(() => locks.acquire("k", bad[0]), bad, `acquire: ${what}`);
      await refused(() => locks.tryAcquire("k", bad[0]), bad, `tryAcquire: ${what}`);
      await refused(() => locks.acquire(["k", "l"], bad[0]), bad, `acquire of two: ${what}`);
      await refused(() => locks.campaign("k", bad[0], () => {}), bad, `campaign: ${what}`);
    }
    assert.deepEqual(store.seen, []);
  });

  test("undefined is as good as left out", async () => {
    await using locks = new LockManager(memory(), { prefix: undefined, ttl: undefined } as Anything);
    const none = { mode: undefined, limit: undefined, ttl: undefined, renew: undefined, signal: undefined };
    const lock = await locks.acquire("k", { ...none, metadata: undefined, steal: undefined } as Anything);
    assert.deepEqual([lock.mode, lock.limit, lock.ttl, lock.metadata], ["exclusive", 1, 10_000, undefined]);
  });

  test("the bounds are accepted", async () => {
    await using locks = new LockManager(memory());
    for (const ttl of [10, 86_400_000]) assert.equal((await locks.acquire(`k${ttl}`, { ttl })).ttl, ttl);
    await locks.acquire("k".repeat(512), { metadata: "é".repeat(2_047) });
    await locks.acquire("l", { limit: Number.MAX_SAFE_INTEGER });
    await locks.acquire("m", { metadata: { toJSON: () => "as it likes" } as Anything });
    await locks.acquire("n", { metadata: { left: undefined, kept: null } as Anything });
  });
});

describe("an option of another library, or misspelt,", () => {
  /** What somebody gives, and what the error names. */
  const MEANT: readonly [Anything, RegExp][] = [
    [{ timeout: 500 }, /signal: AbortSignal\.timeout\(500\)/],
    [{ timeout: null }, /AbortSignal\.timeout\(/],
    [{ timeoutMs: 500 }, /AbortSignal\.timeout\(500\)/],
    [{ acquire_timeout: 500 }, /AbortSignal\.timeout\(500\)/],
    [{ acquireTimeout: 500 }, /AbortSignal/],
    [{ timout: 500 }, /AbortSignal/],
    [{ maxWait: 500 }, /AbortSignal/],
    [{ wait: false }, /tryAcquire/],
    [{ blocking: false }, /tryAcquire/],
    [{ failImmediate: true }, /tryAcquire/],
    [{ ifAvailable: true }, /tryAcquire/],
    [{ ttlMs: 5 }, /"ttl"/],
    [{ TTL: 5 }, /"ttl"/],
    [{ expiry: 5 }, /ttl is/],
    [{ expires_in: 5 }, /ttl is/],
    [{ lease: 5 }, /ttl is/],
    [{ leaseTimeMillis: 5 }, /ttl is/],
    [{ duration: 5 }, /ttl is/],
    [{ retries: 3 }, /retryFor/],
    [{ retryCount: 3 }, /retryFor/],
    [{ retryDelay: 3 }, /retryFor/],
    [{ autoRenew: false }, /renew/],
    [{ automaticExtensionThreshold: 500 }, /renew/],
    [{ permits: 3 }, /limit is/],
    [{ concurrency: 3 }, /limit is/],
    [{ shared: true }, /mode: "shared"/],
    [{ data: "x" }, /metadata is/],
    [{ force: true }, /steal: true/],
    [{ lockAtLeastFor: 1 }, /atLeast is/],
    [{ prefix: "x" }, /prefix of the manager/],
    [{ retryFor: 1 }, /manager/],
    [{ logger: console }, /manager/],
    [AbortSignal.timeout(60_000), /signal is/],
    [{ singal: AbortSignal.timeout(60_000) }, /did you mean "signal"\?/],
    [{ Signal: AbortSignal.timeout(60_000) }, /did you mean "signal"\?/],
    [{ metdata: 1 }, /did you mean "metadata"\?/],
    [{ steel: true }, /did you mean "steal"\?/],
    [{ lmit: 1 }, /did you mean "limit"\?/],
    [{ at_least: 1 }, /did you mean "atLeast"\?/],
    [5_000, /\{ ttl: 5000 \} or \{ signal: AbortSignal\.timeout\(5000\) \}/],
    ["l", /array/],
    [() => {}, /request/],
  ];

  test("is refused with what is meant", async () => {
    await using locks = new LockManager(memory());
    for (const [options, what] of MEANT) {
      await refused(() => locks.acquire("k", options), [options, TypeError, what], name(options));
    }
    for (const [options, what] of [[{ namespace: "x" }, /prefix/], [{ host: "h" }, /backend/]] as Anything) {
      assert.throws(() => new LockManager(memory(), options), { name: "TypeError", message: what });
    }
    assert.throws(() => redis({ hots: "h" } as Anything), /did you mean "host"\?/);
  });

  test("is guessed at only where it is near to something", async () => {
    await using locks = new LockManager(memory());
    for (const option of ["zzz", "toString", "constructor", "x", "", "frobnicate"]) {
      const options: Anything = { [option]: 1 };
      await assert.rejects(
        locks.acquire("k", options),
        /^TypeError: Unknown option "\w*" of an acquisition: expected mode, /,
      );
    }
  });

  test("shows no value but a number of milliseconds", async () => {
    await using locks = new LockManager(memory());
    for (const options of [{ timeout: "secret" }, { password: "secret" }, { url: "redis://u:secret@h" }]) {
      await assert.rejects(
        locks.acquire("k", options as Anything),
        (error) => !String(error).includes("secret"),
      );
    }
  });
});

describe("keys", () => {
  test("are refused before anything is sent", async () => {
    const store = new FaultyBackend(memory());
    await using locks = new LockManager(store);
    for (const bad of [...BAD_KEYS, ...BAD_LISTS]) {
      const what = name(bad[0]);
      await refused(() => locks.acquire(bad[0]), bad, `acquire: ${what}`);
      await refused(() => locks.tryAcquire(bad[0]), bad, `tryAcquire: ${what}`);
    }
    for (const bad of BAD_KEYS) {
      const what = name(bad[0]);
      await refused(() => locks.inspect(bad[0]), bad, `inspect: ${what}`);
      await refused(() => locks.campaign(bad[0], {}, () => {}), bad, `campaign: ${what}`);
      assert.throws(() => locks.watch(bad[0]), bad[1], `watch: ${what}`);
    }
    assert.deepEqual(store.seen, []);
  });

  test("an acquisition of several keys drops duplicates", async () => {
    await using locks = new LockManager(memory());
    const lock = await locks.acquire(["b", "a", "b", "a"]);
    assert.deepEqual(lock.keys, ["b", "a"]);
    assert.equal(lock.key, "b");
  });
});

describe("a manager", () => {
  const bad: readonly [Anything, typeof TypeError | typeof RangeError, ...RegExp[]][] = [
    [null, TypeError, /options/],
    [{ prefix: 1 }, TypeError, /"prefix"/, /\b1\b/],
    [{ prefix: "p".repeat(513) }, RangeError, /"prefix"/, /512/],
    [{ ttl: 5 }, RangeError, /"ttl"/, /\b5\b/],
    [{ ttl: "5" }, TypeError, /"ttl"/],
    [{ metadata: 1n }, TypeError, /"metadata"/],
    [{ metadata: "x".repeat(4_095) }, RangeError, /"metadata"/],
    [{ retryFor: -1 }, RangeError, /"retryFor"/, /-1/],
    [{ retryFor: NaN }, RangeError, /"retryFor"/],
    [{ retryFor: "1" }, TypeError, /"retryFor"/],
    [{ logger: "console" }, TypeError, /"logger"/],
    [{ limit: 2 }, TypeError, /"limit"/, /prefix, ttl, metadata, retryFor/],
  ];

  test("is not made with options that cannot be", () => {
    for (const [options, kind, ...says] of bad) {
      assert.throws(() => new LockManager(memory(), options), (error) => {
        assert.ok(error instanceof Error && error.constructor === kind, `${name(options)}: ${error}`);
        for (const word of says) assert.match(error.message, word, name(options));
        return true;
      });
    }
    for (const backend of [undefined, null, {}, "redis://127.0.0.1"] as Anything[]) {
      assert.throws(() => new LockManager(backend), TypeError);
    }
  });

  // Goes red if: the error shows what it was given although that may be a connection's address.
  test("that is given an address in place of a backend does not show it", () => {
    const address: Anything = "redis://user:secret@127.0.0.1";
    assert.throws(() => new LockManager(address), (error) => !String(error).includes("secret"));
  });

  test("a refused one does not count as a user of the backend", async () => {
    const store = memory();
    let disposed = 0;
    store[Symbol.asyncDispose] = async () => void disposed++;
    assert.throws(() => new LockManager(store, { ttl: 5 }));
    await new LockManager(store).close();
    assert.equal(disposed, 1);
  });
});
