/** `request` and `query` as the Web Locks specification has them; the cases follow its platform tests. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { memory } from "../backends/memory.ts";
import { type Lock, LockLostError, LockManager } from "../mod.ts";
import { FaultyBackend } from "./conformance/faulty.ts";
import { CALL, claim, ENTERED, request } from "./support.ts";

const never = () => assert.fail("the callback must not run");

/** What `request` refuses although the types would not let it through. */
// deno-lint-ignore no-explicit-any
type Anything = any;

function isDomException(name: string): (error: unknown) => boolean {
  return (error) => error instanceof DOMException && error.name === name;
}

/** Requests a lock and holds it until `release` is called. */
async function hold(
  locks: LockManager,
  name: string,
  options: { mode?: "exclusive" | "shared"; steal?: boolean } = {},
): Promise<{ lock: Lock; release: (value?: unknown) => void; done: Promise<unknown> }> {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const granted = Promise.withResolvers<Lock>();
  const done = locks.request(name, options, (lock: Lock | null) => {
    granted.resolve(lock!);
    return promise;
  });
  done.catch(granted.reject);
  return { lock: await granted.promise, release: resolve, done };
}

/** Resolves once `count` requests of a name wait. */
async function pending(locks: LockManager, name: string, count: number): Promise<void> {
  for (;;) {
    const { pending } = await locks.query();
    if (pending.filter((lock) => lock.name === name).length === count) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

describe("request: its arguments", () => {
  test("are checked by a rejection, never a throw", async () => {
    await using locks = new LockManager(memory());
    const request = locks.request.bind(locks) as Anything;
    for (
      const args of [[], ["n"], ["n", undefined], ["n", null], ["n", {}], ["n", 12], ["n", "f"], ["n", {}, 7]]
    ) {
      const rejected: Promise<unknown> = request(...args);
      assert.ok(rejected instanceof Promise);
      await assert.rejects(rejected, TypeError, `request(${args.map(String)})`);
    }
    await assert.rejects(request(Symbol("n"), never), TypeError);
  });

  test("the mode is one of two strings", async () => {
    await using locks = new LockManager(memory());
    for (const mode of ["", "EXCLUSIVE", "read", null, 1, {}]) {
      await assert.rejects(locks.request("n", { mode } as Anything, never), TypeError, `mode ${mode}`);
    }
    for (const mode of ["exclusive", "shared"] as const) {
      await locks.request("n", { mode }, (lock) => assert.equal(lock?.mode, mode));
    }
    const mode: Anything = { toString: () => "shared" };
    await locks.request("n", { mode }, (lock: Lock | null) => assert.equal(lock?.mode, "shared"));
    await locks.request("n", {}, (lock) => assert.equal(lock?.mode, "exclusive"));
    await locks.request("n", { mode: undefined } as Anything, (lock: Lock | null) => {
      assert.equal(lock?.mode, "exclusive");
    });
  });

  test("the signal is an AbortSignal", async () => {
    await using locks = new LockManager(memory());
    for (const signal of ["string", 12.34, false, {}, Symbol(), () => {}, globalThis, null]) {
      await assert.rejects(
        locks.request("n", { signal } as Anything, never),
        TypeError,
        `signal ${String(signal)}`,
      );
    }
    await locks.request("n", { signal: undefined } as Anything, () => {});
  });

  test("null and undefined options are no options; unknown ones are ignored", async () => {
    await using locks = new LockManager(memory());
    for (const options of [null, undefined, {}, { unknown: 1 }, () => {}]) {
      assert.equal(await locks.request("n", options as Anything, () => "ran"), "ran");
    }
    for (const options of [1, "x", true]) {
      await assert.rejects(locks.request("n", options as Anything, never), TypeError);
    }
  });

  test("any name goes, converted to a string, but none that begins with '-'", async () => {
    await using locks = new LockManager(memory());
    const names = [
      "",
      "abc DEF 123",
      " ",
      "a/b",
      ".",
      "\0",
      "\ud800",
      "\udc00",
      "\udc00\ud800",
      "日本",
      "🔒",
      "x-",
    ];
    for (const name of names) await locks.request(name, (lock) => assert.equal(lock.name, name));
    for (const [name, text] of [[undefined, "undefined"], [null, "null"], [7, "7"]]) {
      await locks.request(name as Anything, (lock: Lock) => assert.equal(lock.name, text));
    }
    for (const name of ["-", "-a", "--"]) {
      await assert.rejects(locks.request(name, never), isDomException("NotSupportedError"), name);
    }
  });

  test("what contradicts itself is not supported, whether or not the signal has aborted", async () => {
    await using locks = new LockManager(memory());
    const { signal } = new AbortController();
    const contradictions = [
      { steal: true, ifAvailable: true },
      { steal: true, mode: "shared" },
      { steal: true, signal },
      { ifAvailable: true, signal },
      { steal: true, signal: AbortSignal.abort() },
      { ifAvailable: true, signal: AbortSignal.abort(new Error("aborted")) },
    ];
    for (const options of contradictions) {
      await assert.rejects(
        locks.request("n", options as Anything, never),
        isDomException("NotSupportedError"),
        Object.keys(options).join(),
      );
    }
    const { held, pending } = await locks.query();
    assert.deepEqual([held, pending], [[], []]);
  });
});

describe("request: its callback", () => {
  test("runs later, with a full lock, and its result is the result", async () => {
    await using locks = new LockManager(memory());
    let ran = false;
    const result = locks.request("n", (lock) => {
      ran = true;
      assert.equal(lock.name, "n");
      assert.equal(lock.mode, "exclusive");
      assert.equal(typeof lock.token, "bigint");
      assert.ok(lock.held && !lock.signal.aborted);
      return Promise.resolve("async value");
    });
    assert.equal(ran, false);
    assert.equal(await result, "async value");
    assert.equal(await locks.request("n", () => 42), 42);
    assert.equal(await locks.request("n", () => {}), undefined);
  });

  test("what it throws or rejects with is the rejection, and the lock is free", async () => {
    await using locks = new LockManager(memory());
    const error = new Error("mine");
    const mine = (thrown: unknown) => thrown === error;
    await assert.rejects(
      locks.request("n", () => {
        throw error;
      }),
      mine,
    );
    await assert.rejects(locks.request("n", () => Promise.reject(error)), mine);
    await locks.request("n", { ifAvailable: true }, (lock) => assert.ok(lock));
  });

  test("the lock is held until what it returns has settled, and free when the request has", async () => {
    await using locks = new LockManager(memory());
    for (let round = 0; round < 5; round++) {
      const { lock, release, done } = await hold(locks, "n");
      await locks.request("n", { ifAvailable: true }, (other) => assert.equal(other, null));
      assert.ok(lock.held);
      release("value");
      assert.equal(await done, "value");
      assert.equal(lock.held, false);
      await locks.request("n", { ifAvailable: true }, (other) => assert.ok(other));
    }
  });

  test("a lock it releases itself does not disturb its result", async () => {
    await using locks = new LockManager(memory());
    assert.equal(await locks.request("n", async (lock) => `${await lock.release()}`), "true");
  });
});

describe("modes and order", () => {
  test("shared locks are held together, an exclusive one alone", async () => {
    await using locks = new LockManager(memory());
    const readers = [await hold(locks, "n", { mode: "shared" }), await hold(locks, "n", { mode: "shared" })];
    const order: string[] = [];
    const writer = locks.request("n", () => order.push("writer"));
    await pending(locks, "n", 1);
    const late = locks.request("n", { mode: "shared" }, () => order.push("late reader"));
    await pending(locks, "n", 2);
    assert.deepEqual(order, []);
    for (const { release } of readers) release();
    await Promise.all([writer, late]);
    assert.deepEqual(order, ["writer", "late reader"]);
  });

  test("requests are granted in the order in which they were made", async () => {
    await using locks = new LockManager(memory());
    const order: number[] = [];
    await Promise.all(Array.from({ length: 20 }, (_, turn) =>
      locks.request("n", async () => {
        order.push(turn);
        await Promise.resolve();
        order.push(turn);
      })));
    assert.deepEqual(order, Array.from({ length: 40 }, (_, at) => Math.floor(at / 2)));
  });

  test("different names do not wait for each other", async () => {
    await using locks = new LockManager(memory());
    const a = await hold(locks, "a");
    assert.equal(await locks.request("b", () => "b"), "b");
    a.release();
    await a.done;
  });
});

describe("ifAvailable", () => {
  test("gives null when the lock is taken, and the callback's result is the result", async () => {
    await using locks = new LockManager(memory());
    const { release, done } = await hold(locks, "n");
    assert.equal(
      await locks.request("n", { ifAvailable: true }, (lock) => {
        assert.equal(lock, null);
        return "not now";
      }),
      "not now",
    );
    const error = new Error("mine");
    const mine = (thrown: unknown) => thrown === error;
    await assert.rejects(
      locks.request("n", { ifAvailable: true }, () => {
        throw error;
      }),
      mine,
    );
    await assert.rejects(locks.request("n", { ifAvailable: true }, () => Promise.reject(error)), mine);
    release();
    await done;
    await locks.request("n", { ifAvailable: true }, (lock) => assert.ok(lock));
  });

  test("gives a shared lock beside a shared one, but not beside an exclusive one", async () => {
    await using locks = new LockManager(memory());
    const reader = await hold(locks, "n", { mode: "shared" });
    await locks.request("n", { ifAvailable: true, mode: "shared" }, (lock) => assert.ok(lock));
    await locks.request("n", { ifAvailable: true }, (lock) => assert.equal(lock, null));
    reader.release();
    await reader.done;
    const writer = await hold(locks, "n");
    await locks.request("n", { ifAvailable: true, mode: "shared" }, (lock) => assert.equal(lock, null));
    writer.release();
    await writer.done;
  });

  test("holds the lock like any other, once it is given", async () => {
    await using locks = new LockManager(memory());
    await locks.request("n", { ifAvailable: true }, async (lock) => {
      assert.ok(lock);
      await locks.request("n", { ifAvailable: true }, (other) => assert.equal(other, null));
    });
  });
});

describe("a queue", () => {
  // Goes red if: those who are let in together are told from the last to the first.
  test("is served from the first to the last, also where many are let in at once", async () => {
    await using locks = new LockManager(memory());
    const { release, done } = await hold(locks, "n");
    const order: number[] = [];
    const readers = [0, 1, 2, 3].map((n) => locks.request("n", { mode: "shared" }, () => order.push(n)));
    await pending(locks, "n", 4);
    release();
    await Promise.all([done, ...readers]);
    assert.deepEqual(order, [0, 1, 2, 3]);
  });
});

describe("steal", () => {
  test("of a free lock is a request like any other", async () => {
    await using locks = new LockManager(memory());
    assert.equal(await locks.request("n", { steal: true }, (lock) => lock?.name), "n");
  });

  test("rejects the former holder with an AbortError while its callback still runs", async () => {
    await using locks = new LockManager(memory());
    const victim = await hold(locks, "n");
    const rejected = assert.rejects(victim.done, isDomException("AbortError"));
    const thief = await hold(locks, "n", { steal: true });
    await rejected;
    assert.equal(victim.lock.held, false);
    assert.ok(thief.lock.token > victim.lock.token);
    const { held } = await locks.query();
    assert.equal(held.length, 1);
    victim.release("too late"); // it changes nothing any more
    assert.ok(thief.lock.held);
    thief.release("stolen");
    assert.equal(await thief.done, "stolen");
  });

  test("takes it from all readers, and from another thief", async () => {
    await using locks = new LockManager(memory());
    const readers = [await hold(locks, "n", { mode: "shared" }), await hold(locks, "n", { mode: "shared" })];
    const rejected = readers.map(({ done }) => assert.rejects(done, isDomException("AbortError")));
    const first = await hold(locks, "n", { steal: true });
    await Promise.all(rejected);
    const robbed = assert.rejects(first.done, isDomException("AbortError"));
    const second = await hold(locks, "n", { steal: true });
    await robbed;
    second.release();
    await second.done;
  });

  // Goes red if: a thief robs the store before those who came first have heard of their grants.
  for (
    const first of [{}, { mode: "shared" }, { steal: true }, { ifAvailable: true }, { limit: 3 }] as const
  ) {
    test(`in one breath with what it robs: ${JSON.stringify(first)}`, async () => {
      await using locks = new LockManager(memory());
      const ran: string[] = [];
      const forever = (name: string) => () => {
        ran.push(name);
        return new Promise<void>(() => {});
      };
      const robbed = [
        locks.request("n", first, forever("first")),
        locks.request("n", { steal: true }, forever("second")),
        locks.request("n", { steal: true }, forever("third")),
      ];
      const waiting = locks.request("n", () => "after them");
      const last = locks.request("n", { steal: true }, (lock) => {
        assert.deepEqual(ran, ["first", "second", "third"]);
        return lock!.name;
      });
      for (const one of robbed) await assert.rejects(one, isDomException("AbortError"));
      assert.equal(await last, "n");
      assert.equal(await waiting, "after them");
    });
  }

  test("in one breath with a holder and one that waits: the one has lost, the other waits on", async () => {
    await using locks = new LockManager(memory());
    const order: string[] = [];
    const holder = locks.request("n", () => new Promise<void>(() => {}));
    const waiter = locks.request("n", () => order.push("waiter"));
    await locks.request("n", { steal: true }, () => order.push("thief"));
    await assert.rejects(holder, isDomException("AbortError"));
    await waiter;
    assert.deepEqual(order, ["thief", "waiter"]);
  });

  test("of a store that is away: every one of them is told", async () => {
    const store = new FaultyBackend(memory());
    await using locks = new LockManager(store, { retryFor: 0 });
    store.rule = () => "refuse";
    const asked = [{}, { steal: true }, { steal: true }].map((options) => locks.request("n", options, never));
    for (const one of asked) await assert.rejects(one, { name: "BackendError" });
  });

  test("of a manager that is closed meanwhile: nobody runs", async () => {
    const locks = new LockManager(memory());
    const asked = [{}, { steal: true }, { steal: true }].map((options) => locks.request("n", options, never));
    const refused = asked.map((one) => assert.rejects(one, { name: "ManagerClosedError" }));
    await locks.close();
    await Promise.all(refused);
  });

  test("leaves those who wait waiting", async () => {
    await using locks = new LockManager(memory());
    const victim = await hold(locks, "n");
    victim.done.catch(() => {});
    const order: string[] = [];
    const waiting = ["first", "second"].map(async (name, at) => {
      await pending(locks, "n", at);
      await locks.request("n", () => order.push(name));
    });
    await pending(locks, "n", 2);
    const thief = await hold(locks, "n", { steal: true });
    await pending(locks, "n", 2);
    assert.deepEqual(order, []);
    thief.release();
    await Promise.all(waiting);
    assert.deepEqual(order.sort(), ["first", "second"]);
  });
});

describe("what the specification does not have", () => {
  test("limit, ttl, renew, metadata and atLeast go with a request as with an acquisition", async () => {
    await using locks = new LockManager(memory());
    const options = { limit: 2, ttl: 60_000, renew: false, metadata: { host: "a" } };
    await locks.request("n", options, async (lock) => {
      assert.deepEqual([lock?.limit, lock?.ttl, lock?.metadata], [2, 60_000, { host: "a" }]);
      await locks.request("n", { ...options, ifAvailable: true }, (other) => assert.ok(other));
      await locks.request(
        "n",
        { ...options, limit: 1, ifAvailable: true },
        (other) => assert.equal(other, null),
      );
    });
    await locks.request("n", { atLeast: 60_000 }, () => {});
    assert.equal((await locks.query()).held.length, 1);
  });

  test("is checked as that of an acquisition", async () => {
    await using locks = new LockManager(memory());
    const bad: readonly [Anything, string][] = [
      [{ mode: "shared", limit: 2 }, "TypeError"],
      [{ limit: 0 }, "RangeError"],
      [{ limit: "2" }, "TypeError"],
      [{ ttl: 1 }, "RangeError"],
      [{ ttl: "1s" }, "TypeError"],
      [{ renew: "no" }, "TypeError"],
      [{ metadata: 1n }, "TypeError"],
      [{ atLeast: -1 }, "RangeError"],
    ];
    for (const [options, name] of bad) {
      await assert.rejects(locks.request("n", options, never), { name }, Object.keys(options).join());
    }
    assert.deepEqual(await locks.query(), { held: [], pending: [] });
  });
});

describe("close()", () => {
  // Goes red if: the callback runs whatever has become of the lock since the grant.
  test("that takes the lock between the grant and the callback: it does not run", async () => {
    for (const options of [{}, { steal: true }, { ifAvailable: true }, { mode: "shared" }] as const) {
      for (const soon of [(close: () => void) => close(), queueMicrotask]) {
        const locks = new LockManager(memory());
        let closed: Promise<void> | undefined;
        locks.addEventListener("acquired", () => soon(() => void (closed = locks.close())));
        await assert.rejects(locks.request("n", options, never), { name: "ManagerClosedError" });
        await closed;
      }
    }
  });

  test("while the callback runs: the lock's signal tells it, and its result is the result", async () => {
    const locks = new LockManager(memory());
    const { lock, release, done } = await hold(locks, "n");
    await locks.close();
    assert.equal(lock.held, false);
    release("value");
    assert.equal(await done, "value");
  });
});

describe("signal", () => {
  test("that has aborted before: the reason, and nothing runs", async () => {
    await using locks = new LockManager(memory());
    await assert.rejects(
      locks.request("n", { signal: AbortSignal.abort() }, never),
      isDomException("AbortError"),
    );
    const reason = "my reason";
    await assert.rejects(
      locks.request("n", { signal: AbortSignal.abort(reason) }, never),
      (e) => e === reason,
    );
  });

  test("that aborts right after the call wins, although the lock was free", async () => {
    await using locks = new LockManager(memory());
    const giving = new AbortController();
    const request = locks.request("n", { signal: giving.signal }, never);
    giving.abort();
    await assert.rejects(request, isDomException("AbortError"));
    assert.equal(await locks.request("n", () => "next"), "next");
  });

  test("that aborts while waiting: the request is gone, and the next one moves up", async () => {
    await using locks = new LockManager(memory());
    const first = await hold(locks, "n");
    const giving = new AbortController();
    const request = locks.request("n", { signal: giving.signal }, never);
    await pending(locks, "n", 1);
    const next = locks.request("n", () => "next");
    await pending(locks, "n", 2);
    giving.abort();
    await assert.rejects(request, isDomException("AbortError"));
    first.release();
    assert.equal(await next, "next");
  });

  test("with a time limit: its TimeoutError", async () => {
    await using locks = new LockManager(memory());
    const first = await hold(locks, "n");
    const signal = AbortSignal.timeout(5);
    await assert.rejects(locks.request("n", { signal }, never), isDomException("TimeoutError"));
    first.release();
    await first.done;
  });

  test("that aborts once the lock is granted, or released, is too late", async () => {
    await using locks = new LockManager(memory());
    const giving = new AbortController();
    const result = await locks.request("n", { signal: giving.signal }, async (lock) => {
      giving.abort();
      await Promise.resolve();
      assert.ok(lock.held && !lock.signal.aborted);
      return "ok";
    });
    assert.equal(result, "ok");
  });
});

describe("query", () => {
  // Goes red if: it asks the store before what was asked for earlier has got there.
  test("counts what was requested before it in the same turn, held or pending", async () => {
    const store = memory();
    await using locks = new LockManager(store);
    await using other = new LockManager(store);
    for (const manager of [locks, other]) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const asked = [
        manager.request("n", () => promise),
        manager.request("n", { mode: "shared" }, () => {}),
        manager.request("n", () => {}),
        manager.request("m", { mode: "shared" }, () => promise),
      ];
      const { held, pending } = await manager.query();
      assert.deepEqual(held.map(({ name, mode }) => [name, mode]).sort(), [["m", "shared"], [
        "n",
        "exclusive",
      ]]);
      assert.deepEqual(pending.map(({ name, mode }) => [name, mode]), [["n", "shared"], ["n", "exclusive"]]);
      resolve();
      await Promise.all(asked);
    }
  });

  test("does not count what was aborted before it, waiting or on its way", async () => {
    await using locks = new LockManager(memory());
    const first = await hold(locks, "n");
    const giving = new AbortController();
    const asked = assert.rejects(locks.request("n", { signal: giving.signal }, never));
    await pending(locks, "n", 1);
    giving.abort();
    assert.deepEqual((await locks.query()).pending, []);
    await asked;
    const onItsWay = new AbortController();
    const gone = assert.rejects(locks.request("n", { signal: onItsWay.signal }, never));
    onItsWay.abort();
    assert.deepEqual((await locks.query()).pending, []);
    await gone;
    first.release();
    await first.done;
  });

  test("within a callback: the lock is held, those behind it are pending, a deadlock can be seen", async () => {
    const store = memory();
    await using a = new LockManager(store);
    await using b = new LockManager(store);
    const giving = new AbortController();
    const { signal } = giving;
    const one = await hold(a, "one");
    const two = await hold(b, "two");
    const stuck = [a.request("two", { signal }, never), b.request("one", { signal }, never)];
    const refused = stuck.map((each) => assert.rejects(each));
    await pending(b, "one", 1);
    const state = await a.query();
    const client = (list: "held" | "pending", name: string) =>
      state[list].filter((lock) => lock.name === name).map(({ clientId }) => clientId);
    assert.deepEqual(client("held", "one"), client("pending", "two"));
    assert.deepEqual(client("held", "two"), client("pending", "one"));
    giving.abort();
    await Promise.all(refused);
    for (const { release, done } of [one, two]) {
      release();
      await done;
    }
  });

  test("of a store that is away says so, whatever is under way", async () => {
    const store = new FaultyBackend(memory());
    await using locks = new LockManager(store, { retryFor: 0 });
    store.rule = () => "refuse";
    const asked = assert.rejects(locks.request("n", never), { name: "BackendError" });
    await assert.rejects(locks.query(), { name: "BackendError" });
    await asked;
  });

  test("nothing there", async () => {
    await using locks = new LockManager(memory());
    assert.deepEqual(await locks.query(), { held: [], pending: [] });
  });

  test("who holds and who waits, in order, with name, mode and client", async () => {
    const store = memory();
    await using locks = new LockManager(store);
    await using other = new LockManager(store);
    await using stranger = new LockManager(store, { prefix: "elsewhere" });
    const held = await hold(locks, "n", { mode: "shared" });
    const foreign = await hold(stranger, "n");
    const modes = ["exclusive", "shared", "exclusive"] as const;
    const waiting: Promise<unknown>[] = [];
    for (const [at, mode] of modes.entries()) {
      waiting.push(other.request("n", { mode }, () => {}));
      await pending(locks, "n", at + 1);
    }
    const seen = await locks.query();
    assert.deepEqual(seen.held.map(({ name, mode }) => [name, mode]), [["n", "shared"]]);
    assert.deepEqual(seen.pending.map(({ mode }) => mode), modes);
    const clients = new Set(seen.pending.map(({ clientId }) => clientId));
    assert.equal(clients.size, 1);
    assert.ok(!clients.has(seen.held[0]!.clientId));
    held.release();
    foreign.release();
    await Promise.all([held.done, foreign.done, ...waiting]);
    assert.deepEqual(await locks.query(), { held: [], pending: [] });
  });
});

// Goes red if: the result of the callback is awaited before a loss is looked at.
test("a lost lock rejects with a LockLostError, whatever the callback is doing", async () => {
  const store = memory();
  await using locks = new LockManager(store, { ttl: 300 });
  const { lock, done, release } = await hold(locks, "n");
  const rejected = assert.rejects(done, (error) => error instanceof LockLostError && error.key === "n");
  const lease = await store.lease(request(), CALL);
  const [entry] = await store.list("holdfast/n", CALL);
  await lease.release(claim(entry!), ENTERED);
  await rejected;
  assert.equal(lock.held, false);
  release();
});

// Goes red if: only the abort event is waited for, which cannot come while the event loop is blocked.
test("a callback that blocked the event loop past the ttl rejects too, although it has returned", async () => {
  await using locks = new LockManager(memory(), { ttl: 50 });
  const blocked = locks.request("n", (lock) => {
    for (const end = performance.now() + 100; performance.now() < end;);
    return lock.token;
  });
  await assert.rejects(blocked, LockLostError);
});
