/** Spans, as OpenTelemetry's own SDK is given them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { context, propagation, ROOT_CONTEXT, SpanStatusCode, trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { memory } from "../../backends/memory.ts";
import { LockManager, type LockManagerOptions } from "../../mod.ts";
import { instrument, type InstrumentOptions } from "../../otel.ts";
import { ROOT } from "../runner/packages.ts";
import { next, over } from "../support.ts";
import { settle, TTL, world } from "../virtual.ts";
import { everything } from "./everything.ts";
import { Sdk } from "./sdk.ts";

/** A manager over memory, instrumented. */
function observed(options: InstrumentOptions = {}, manager: LockManagerOptions = {}) {
  const sdk = new Sdk();
  const store = memory();
  const locks = new LockManager(store, manager);
  const telemetry = instrument(locks, { tracer: sdk.tracer, meter: sdk.meter, ...options });
  return { sdk, store, locks, telemetry };
}

/** One by virtual time, with a network that does as it is told. */
function faulty(options: LockManagerOptions = {}) {
  const sdk = new Sdk();
  const all = world(options);
  instrument(all.locks, { tracer: sdk.tracer, meter: sdk.meter });
  return { sdk, ...all };
}

/** The attributes whose values do not depend on time. */
function told({ attributes }: ReadableSpan): Record<string, unknown> {
  const { "lock.waited": _, ...rest } = attributes;
  return rest;
}

const ONE = { "lock.backend": "memory", "lock.mode": "exclusive" };

describe("spans", () => {
  // Goes red if: an attribute is renamed here or there, or is not written any more.
  test("and events have the attributes of the documentation", async () => {
    const sdk = new Sdk();
    await everything(sdk);
    const spans = ["lock.acquire", "lock.hold"].flatMap((name) => sdk.spans(name));
    const all = spans.flatMap((
      span,
    ) => [span.attributes, ...span.events.map(({ attributes }) => attributes)]);
    const written = new Set(all.flatMap((attributes) => Object.keys(attributes ?? {})));
    const [table] = readFileSync(`${ROOT}/otel.ts`, "utf8").split("**Metrics**");
    const rows = [...table!.matchAll(/^ \* \| (`[^|]+`) \| .+ \|$/gm)].map(([, names]) => names!);
    const documented = rows.flatMap((names) => [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => name));
    assert.deepEqual([...written].sort(), documented.sort());
  });

  // Goes red if: the context is taken anywhere but in the call, `acquired` makes no hold.
  test("an acquisition and its hold have the caller's context as their parent", async () => {
    const { sdk, locks } = observed();
    const lock = await sdk.within("caller", () => locks.acquire("k"));
    await lock.release();
    const [caller, acquire, hold] = ["caller", "lock.acquire", "lock.hold"].map((name) => sdk.span(name));
    assert.equal(acquire!.parentSpanContext?.spanId, caller!.spanContext().spanId);
    assert.equal(hold!.parentSpanContext?.spanId, caller!.spanContext().spanId);
    assert.deepEqual(hold!.links.map(({ context }) => context.spanId), [acquire!.spanContext().spanId]);
    const token = String(lock.token);
    assert.deepEqual(told(acquire!), {
      ...ONE,
      "lock.keys": 1,
      "lock.limit": 1,
      "lock.token": token,
      "lock.outcome": "acquired",
      "lock.contended": false,
    });
    assert.deepEqual(told(hold!), { ...ONE, "lock.token": token, "lock.outcome": "released" });
    assert.equal(acquire!.status.code, SpanStatusCode.UNSET);
    assert.equal(hold!.status.code, SpanStatusCode.UNSET);
    await locks.close();
  });

  test("whichever method asks, it is the caller who is the parent", async () => {
    const { sdk, locks } = observed();
    const shutdown = new AbortController();
    const calls: Record<string, () => Promise<unknown>> = {
      acquire: async () => (await locks.acquire("k")).release(),
      tryAcquire: async () => (await locks.tryAcquire("k"))!.release(),
      request: () => locks.request("k", () => {}),
      ifAvailable: () => locks.request("k", { ifAvailable: true }, () => {}),
      steal: () => locks.request("k", { steal: true }, () => {}),
      campaign: () => locks.campaign("k", { signal: shutdown.signal }, () => shutdown.abort()),
    };
    for (const [name, call] of Object.entries(calls)) await sdk.within(name, call);
    await locks.close();
    const callers = new Map(
      Object.keys(calls).map((name) => [sdk.span(name).spanContext().spanId, name] as const),
    );
    for (const kind of ["lock.acquire", "lock.hold"]) {
      const parents = sdk.spans(kind).map((span) => callers.get(span.parentSpanContext?.spanId ?? ""));
      assert.deepEqual(parents, Object.keys(calls), kind);
    }
  });

  // Goes red if: `waiting` is not told.
  test("who has to wait is said to have, and for how long", async () => {
    const { sdk, locks } = observed();
    const first = await locks.acquire("k");
    const waiting = next(locks, "waiting");
    const second = locks.acquire("k", { mode: "shared" });
    await waiting;
    await first.release();
    await (await second).release();
    const [, waited] = sdk.spans("lock.acquire");
    assert.equal(waited!.attributes["lock.contended"], true);
    assert.equal(waited!.attributes["lock.mode"], "shared");
    assert.ok(!("lock.limit" in waited!.attributes));
    assert.ok(waited!.attributes["lock.waited"] as number > 0);
    await locks.close();
  });

  test("who is refused is no error", async () => {
    const { sdk, locks } = observed();
    await using _ = await locks.acquire("k");
    assert.equal(await locks.tryAcquire("k"), undefined);
    const refused = sdk.spans("lock.acquire")[1]!;
    assert.deepEqual([refused.attributes["lock.outcome"], refused.attributes["lock.contended"]], [
      "refused",
      true,
    ]);
    assert.equal(refused.status.code, SpanStatusCode.UNSET);
    assert.ok(!("lock.token" in refused.attributes));
    assert.equal(sdk.spans("lock.hold").length, 0);
  });

  test("who gives up, at once or later, is aborted with the kind of its reason", async () => {
    const { sdk, locks } = observed();
    await using _ = await locks.acquire("k");
    const waiting = next(locks, "waiting");
    const abort = new AbortController();
    const reason = new DOMException("enough", "TimeoutError");
    const given = locks.acquire("k", { signal: abort.signal });
    await waiting;
    abort.abort(reason);
    await assert.rejects(given, reason);
    await assert.rejects(locks.acquire("k", { signal: AbortSignal.abort("why") }), (why) => why === "why");
    const [later, atOnce] = sdk.spans("lock.acquire").slice(1);
    const said = [later!, atOnce!].map(({ attributes, status }) => [
      attributes["lock.outcome"],
      attributes["error.type"],
      attributes["lock.contended"],
      status,
    ]);
    assert.deepEqual(said, [
      ["aborted", "TimeoutError", true, { code: SpanStatusCode.ERROR, message: "enough" }],
      ["aborted", "_OTHER", false, { code: SpanStatusCode.ERROR, message: "why" }],
    ]);
  });

  test("several keys are one acquisition and one hold", async () => {
    const { sdk, locks } = observed({ name: (key) => key.toUpperCase() });
    const lock = await locks.acquire(["b", "a"]);
    await lock.release();
    const { attributes } = sdk.span("lock.acquire");
    assert.deepEqual([attributes["lock.keys"], attributes["lock.name"]], [2, "B"]);
    assert.equal(sdk.span("lock.hold").attributes["lock.name"], "B");
  });

  test("a key is not an attribute unless it is asked for, and may have no name", async () => {
    const { sdk, locks } = observed();
    await (await locks.acquire("customer:42", { limit: 3 })).release();
    for (const name of ["lock.acquire", "lock.hold"]) {
      assert.ok(!JSON.stringify(sdk.span(name).attributes).includes("customer"), name);
    }
    assert.equal(sdk.span("lock.acquire").attributes["lock.limit"], 3);
    const named = observed({ name: (key) => /^job:/.test(key) ? "job" : undefined });
    await (await named.locks.acquire("job:7")).release();
    await (await named.locks.acquire("other")).release();
    assert.deepEqual(named.sdk.spans("lock.hold").map(({ attributes }) => attributes["lock.name"]), [
      "job",
      undefined,
    ]);
  });

  // Goes red if: `failed` is not told, a rejection ends no span.
  test("an acquisition's failed calls are events, and its failure an error", async () => {
    const { sdk, clock, store, locks } = faulty({ retryFor: 100 });
    store.rule = () => "refuse";
    const failed = assert.rejects(locks.acquire("k"), { code: "backend" });
    await clock.pass(1_000);
    await failed;
    const span = sdk.span("lock.acquire");
    assert.ok(span.events.length > 1);
    for (const { name, attributes } of span.events) {
      assert.equal(name, "lock.store.error");
      assert.equal(attributes!["error.type"], "backend");
      assert.match(String(attributes!["exception.message"]), /^Cannot /);
    }
    assert.deepEqual(told(span), {
      ...ONE,
      "lock.keys": 1,
      "lock.limit": 1,
      "lock.outcome": "failed",
      "lock.contended": false,
      "error.type": "backend",
    });
    assert.equal(span.status.code, SpanStatusCode.ERROR);
  });

  // Goes red if: errors of a lock are not heard, a loss is not.
  test("a renewal that fails is an event of the hold, and a loss its end", async () => {
    const { sdk, clock, store, locks } = faulty();
    const lock = await locks.acquire("k");
    store.rule = (verb) => verb === "renew" ? "refuse" : "pass";
    const lost = over(lock);
    await clock.pass(TTL);
    assert.equal((await lost).why, "expired");
    const { events, status, attributes } = sdk.span("lock.hold");
    assert.ok(events.length > 0);
    for (const { name, attributes } of events) {
      assert.deepEqual([name, attributes!["error.type"]], ["lock.renew", "backend"]);
    }
    assert.deepEqual([attributes["lock.outcome"], attributes["lock.loss.reason"]], ["lost", "expired"]);
    assert.deepEqual(status, { code: SpanStatusCode.ERROR, message: "expired" });
  });

  test("a lock that is stolen says so", async () => {
    const { sdk, locks } = observed();
    const victim = await locks.acquire("k");
    const lost = over(victim);
    const thief = await locks.acquire("k", { steal: true });
    await lost;
    assert.equal(sdk.span("lock.hold").attributes["lock.loss.reason"], "stolen");
    await thief.release();
  });

  // Goes red if: a release that fails is no event of the lock.
  for (const way of ["release", "dispose"] as const) {
    test(`a hold whose release cannot be confirmed has ended all the same (${way})`, async () => {
      const { sdk, clock, store, locks } = faulty({ retryFor: 0 });
      const lock = await locks.acquire("k");
      store.rule = (verb) => verb === "release" ? "refuse" : "pass";
      if (way === "release") await assert.rejects(lock.release(), { code: "backend" });
      else await lock[Symbol.asyncDispose]();
      const { attributes, status, events } = sdk.span("lock.hold");
      assert.deepEqual([attributes["lock.outcome"], attributes["error.type"]], ["unconfirmed", "backend"]);
      assert.equal(status.code, SpanStatusCode.ERROR);
      assert.deepEqual(events, []);
      store.rule = () => "pass";
      assert.equal(await lock.release(), true);
      await clock.pass(1);
      assert.equal(sdk.spans("lock.hold").length, 1);
    });
  }

  test("a manager that is closed ends what is open", async () => {
    const { sdk, locks } = observed();
    await locks.acquire("k");
    const waiting = next(locks, "waiting");
    const waiter = assert.rejects(locks.acquire("k"), { code: "closed" });
    await waiting;
    await Promise.all([locks.close(), waiter]);
    await assert.rejects(locks.acquire("k"), { code: "closed" });
    const ends = sdk.spans("lock.acquire").map(({ attributes }) => [
      attributes["lock.outcome"],
      attributes["error.type"],
    ]);
    assert.deepEqual(ends, [["acquired", undefined], ["failed", "closed"], ["failed", "closed"]]);
    assert.equal(sdk.span("lock.hold").attributes["lock.outcome"], "released");
  });
});

describe("instrument()", () => {
  // Goes red if: the observer stays, open spans are not ended.
  test("is over once it is disposed of: what is open ends, and the locks go on", async () => {
    const { sdk, locks, telemetry } = observed();
    const held = await locks.acquire("k");
    const waiting = next(locks, "waiting");
    const waiter = locks.acquire("k");
    await waiting;
    telemetry[Symbol.dispose]();
    telemetry[Symbol.dispose]();
    const ends = ["lock.acquire", "lock.hold"].map((name) =>
      sdk.spans(name).map(({ attributes }) => attributes["lock.outcome"])
    );
    assert.deepEqual(ends, [["acquired", undefined], [undefined]]);
    assert.equal(await held.release(), true);
    assert.equal(await (await waiter).release(), true);
    await (await locks.acquire("k")).release();
    assert.equal(sdk.spans("lock.acquire").length + sdk.spans("lock.hold").length, 3);
  });

  test("refuses a manager that is instrumented already, until that is disposed of", async () => {
    const { sdk, locks, telemetry } = observed();
    assert.throws(() => instrument(locks), { name: "TypeError", message: /instrumented already/ });
    telemetry[Symbol.dispose]();
    const again = instrument(locks, { tracer: sdk.tracer });
    telemetry[Symbol.dispose](); // which is over, and ends no other
    await (await locks.acquire("k")).release();
    assert.equal(sdk.spans("lock.hold").length, 1);
    again[Symbol.dispose]();
  });

  test("takes a closed manager, of which it tells no more than that", async () => {
    const locks = new LockManager(memory());
    await locks.close();
    const sdk = new Sdk();
    using _ = instrument(locks, { tracer: sdk.tracer });
    await assert.rejects(locks.acquire("k"), { code: "closed" });
    assert.equal(sdk.span("lock.acquire").attributes["error.type"], "closed");
  });

  test("refuses what is no manager, and options that cannot be", () => {
    const locks = new LockManager(memory());
    const bad = (manager: unknown, options: unknown, message: RegExp) =>
      assert.throws(() => instrument(manager as LockManager, options as InstrumentOptions), {
        name: "TypeError",
        message,
      });
    for (const other of [undefined, null, "k", {}, memory()]) bad(other, {}, /^Expected a LockManager/);
    bad(
      locks,
      { tracers: 1 },
      /^Unknown option "tracers" of instrument.*: expected tracer, meter, name, prop/,
    );
    bad(locks, { tracer: "t" }, /"tracer" of instrument to be object, got string/);
    bad(locks, { name: "n" }, /"name" of instrument to be function, got string/);
    bad(locks, { propagate: 1 }, /"propagate" of instrument to be boolean, got number/);
    bad(locks, "options", /options of instrument to be an object, got string/);
  });

  // Goes red if: a fault of telemetry is not kept from the lock.
  test("never disturbs a lock: neither a name that throws nor a tracer that does", async () => {
    const broken = () => {
      throw new Error("broken");
    };
    const sdk = new Sdk();
    const noSpan = Object.assign(Object.create(sdk.tracer), { startSpan: broken });
    const badSpan = Object.assign(Object.create(sdk.tracer), {
      startSpan: (...args: Parameters<typeof sdk.tracer.startSpan>) =>
        Object.assign(sdk.tracer.startSpan(...args), {
          setAttribute: broken,
          setAttributes: broken,
          addEvent: broken,
          addLinks: broken,
          end: broken,
        }),
    });
    for (const options of [{ name: broken }, { tracer: noSpan }, { tracer: badSpan }]) {
      const store = memory();
      await using locks = new LockManager(store);
      using _ = instrument(locks, { ...sdk, propagate: true, ...options });
      const lock = await locks.acquire("k");
      assert.equal(await locks.tryAcquire("k"), undefined);
      const waiting = next(locks, "waiting");
      const abort = new AbortController();
      const waiter = locks.acquire("k", { signal: abort.signal });
      await waiting;
      abort.abort(new Error("mine"));
      await assert.rejects(waiter, { message: "mine" });
      const thief = await locks.acquire("k", { steal: true });
      assert.equal(await lock.release(), false);
      assert.equal(await thief.release(), true);
    }
  });

  test("writes to the global providers if it is given no others", async () => {
    const sdk = new Sdk();
    trace.setGlobalTracerProvider({ getTracer: () => sdk.tracer });
    try {
      const locks = new LockManager(memory());
      using _ = instrument(locks);
      await (await locks.acquire("k")).release();
      assert.equal(sdk.span("lock.hold").attributes["lock.outcome"], "released");
    } finally {
      trace.disable();
    }
  });
});

describe("propagation", () => {
  /** The span context that the metadata of the only holder tells of. */
  async function carried(locks: LockManager): Promise<string | undefined> {
    const inspection = await locks.inspect("k");
    const context = propagation.extract(ROOT_CONTEXT, inspection!.holders[0]!.metadata ?? {});
    return trace.getSpanContext(context)?.spanId;
  }

  // Goes red if: metadata carries another span, links are not made.
  test("links who waits to the acquisition of the holder, in another process as well", async () => {
    const { sdk, store, locks } = observed({ propagate: true });
    await using other = new LockManager(store);
    const holder = await locks.acquire("k", { metadata: { host: "a" } });
    const acquired = sdk.span("lock.acquire").spanContext();
    assert.equal(await carried(other), acquired.spanId);
    assert.equal((holder.metadata as { host: string }).host, "a");

    const elsewhere = new Sdk();
    using _ = instrument(other, { tracer: elsewhere.tracer, propagate: true });
    const waiting = next(other, "waiting");
    const waiter = other.acquire(["free", "k"]);
    await waiting;
    await other.inspect("k"); // asked after the waiter's own question, and answered after it
    await settle();
    await holder.release();
    await (await waiter).release();
    const { links } = elsewhere.span("lock.acquire");
    assert.deepEqual(links.map(({ context: { traceId, spanId } }) => [traceId, spanId]), [
      [acquired.traceId, acquired.spanId],
    ]);
    assert.deepEqual(links[0]!.attributes, { "lock.link": "holder" });
  });

  test("is off unless asked for, and leaves alone what it must", async () => {
    const off = observed();
    await using plain = await off.locks.acquire("k");
    assert.equal(plain.metadata, undefined);
    const own = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
    for (const metadata of ["text", ["a", "list"], 7, null, own, { full: "x".repeat(4_080) }]) {
      const { locks } = observed({ propagate: true });
      await using lock = await locks.acquire("k", { metadata });
      assert.deepEqual(lock.metadata, metadata);
    }
    const { locks } = observed({ propagate: true });
    const full = { full: "x".repeat(4_096 - 90) };
    await using lock = await locks.acquire("k", { metadata: full });
    assert.notEqual(await carried(locks), undefined, "there was room for it");
    assert.equal((lock.metadata as typeof full).full, full.full);
  });

  test("carries no baggage, which anyone could read", async () => {
    const { locks } = observed({ propagate: true });
    const secret = propagation.createBaggage({ user: { value: "alice" } });
    const lock = await context.with(
      propagation.setBaggage(context.active(), secret),
      () => locks.acquire("k"),
    );
    assert.deepEqual(Object.keys(lock.metadata as object), ["traceparent"]);
    await lock.release();
  });

  test("asks once for a crowd that begins to wait together, and not at all if it is off", async () => {
    for (const propagate of [true, false]) {
      const sdk = new Sdk();
      const { clock, store, locks } = world();
      using _ = instrument(locks, { tracer: sdk.tracer, propagate });
      const first = await locks.acquire("k");
      const crowd = Array.from({ length: 5 }, () => locks.acquire("k"));
      await clock.pass(10);
      assert.equal(store.count("list"), propagate ? 1 : 0);
      await first.release();
      for (const one of crowd) await (await one).release();
      const linked = sdk.spans("lock.acquire").filter(({ links }) => links.length > 0);
      assert.equal(linked.length, propagate ? 5 : 0);
    }
  });

  test("without a holder that can be asked about, nobody is linked and nobody minds", async () => {
    const sdk = new Sdk();
    const { clock, store, locks } = world();
    using _ = instrument(locks, { tracer: sdk.tracer, propagate: true });
    const first = await locks.acquire("k");
    store.rule = (verb) => verb === "list" ? "refuse" : "pass";
    const second = locks.acquire("k");
    await clock.pass(10);
    assert.equal(store.count("list"), 1);
    await first.release();
    await (await second).release();
    assert.deepEqual(sdk.spans("lock.acquire").map(({ links }) => links.length), [0, 0]);
  });
});
