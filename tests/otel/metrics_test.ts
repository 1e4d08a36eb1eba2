/** Metrics, as OpenTelemetry's own SDK collects them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { metrics } from "@opentelemetry/api";
import { DataPointType } from "@opentelemetry/sdk-metrics";
import { memory } from "../../backends/memory.ts";
import { LockManager } from "../../mod.ts";
import { instrument, type InstrumentOptions } from "../../otel.ts";
import { ROOT } from "../runner/packages.ts";
import { next, over } from "../support.ts";
import { TTL, world } from "../virtual.ts";
import { everything } from "./everything.ts";
import { type Point, Sdk } from "./sdk.ts";

/** Values by the attributes that tell points of one manager apart. */
function values(points: readonly Point[]): Record<string, number> {
  return Object.fromEntries(points.map(({ attributes, value }) => {
    const { "lock.backend": _, "lock.mode": __, ...rest } = attributes;
    return [Object.values(rest).join(" "), value];
  }));
}

describe("metrics", () => {
  // Goes red if: a metric is not written, or the documentation has another name, unit or attribute for it.
  test("are those of the documentation, with its units and attributes", async () => {
    const sdk = new Sdk();
    await everything(sdk);
    const source = readFileSync(`${ROOT}/otel.ts`, "utf8");
    const rows = source.matchAll(/^ \* \| `(lock\.[a-z.]+)` \| (s|1|\{[a-z]+\}) \| (.+) \|$/gm);
    const documented = [...rows].map(([, name, unit, about]) => [
      name,
      unit,
      [...about!.matchAll(/`((?:lock|error)\.[a-z]+(?:\.[a-z]+)?)`/g)].map(([, attribute]) => attribute)
        .sort(),
    ]);
    const written = (await sdk.metrics()).map(({ descriptor: { name, unit, description }, dataPoints }) => {
      assert.match(description, /^[A-Z].+[^.]$/);
      const attributes = new Set(dataPoints.flatMap(({ attributes }) => Object.keys(attributes)));
      for (const common of ["lock.backend", "lock.mode", "lock.name"]) {
        assert.ok(attributes.delete(common), `${name}: ${common}`);
      }
      return [name, unit, [...attributes].sort()];
    });
    assert.deepEqual(written.sort(), documented.sort());
  });

  // Goes red if: something is counted twice, or not at all.
  test("count each grant, refusal, loss and failure once", async () => {
    const sdk = new Sdk();
    const { clock, store, locks } = world({ retryFor: 0 });
    using _ = instrument(locks, sdk);
    const first = await locks.acquire("k");
    await locks.tryAcquire("k");
    await locks.request("k", { ifAvailable: true }, () => {});
    const lost = over(first);
    const thief = await locks.acquire("k", { steal: true });
    await lost;
    store.rule = (verb) => verb === "release" ? "refuse" : "pass";
    await assert.rejects(thief.release());
    store.rule = (verb) => verb === "attempt" ? "refuse" : "pass";
    await assert.rejects(locks.acquire("other"));
    store.rule = () => "pass";
    const gone = await locks.acquire("gone");
    store.rule = (verb) => verb === "renew" ? "refuse" : "pass";
    const failed = next(gone, "error");
    await clock.pass(TTL / 2);
    await failed;
    store.rule = () => "pass";
    const failures = await sdk.value("lock.renewal.failures");
    await clock.pass(TTL / 2);
    assert.equal(await gone.release(), true);
    assert.equal(await sdk.value("lock.grants"), 3);
    assert.equal(await sdk.value("lock.refusals"), 2);
    assert.deepEqual(values(await sdk.points("lock.losses")), { expired: 0, revoked: 0, stolen: 1 });
    assert.ok(failures! > 0);
    assert.equal(await sdk.value("lock.renewal.failures"), failures);
    assert.deepEqual(values(await sdk.points("lock.store.errors")), { acquire: 1, release: 1 });
    assert.deepEqual(values(await sdk.points("lock.wait.duration")), {
      acquired: 3,
      refused: 2,
      "failed backend": 1,
    });
    assert.deepEqual(values(await sdk.points("lock.hold.duration")), {
      released: 1,
      lost: 1,
      unconfirmed: 1,
    });
  });

  // Goes red if: a counter begins with what it counts first.
  test("count from 0, so that the first loss is an increase", async () => {
    const sdk = new Sdk();
    await using locks = new LockManager(memory());
    using _ = instrument(locks, sdk);
    await (await locks.acquire("k")).release();
    for (const name of ["lock.losses", "lock.renewal.failures", "lock.store.errors", "lock.refusals"]) {
      const points = await sdk.points(name);
      assert.ok(points.length > 0 && points.every(({ value }) => value === 0), name);
    }
  });

  test("measure holds in seconds", async () => {
    const sdk = new Sdk();
    const { clock, locks } = world();
    using _ = instrument(locks, sdk);
    const lock = await locks.acquire("k");
    await clock.pass(90_000);
    await lock.release();
    const [hold] = (await sdk.metrics()).filter(({ descriptor }) => descriptor.name === "lock.hold.duration");
    const { sum } = hold!.dataPoints[0]!.value as { sum: number };
    assert.equal(Math.round(sum), 90);
    const [seconds] = sdk.span("lock.hold").duration;
    assert.ok(Math.abs(seconds - 90) <= 1, `${seconds} s`);
  });

  test("are of the kinds that add up, or do not", async () => {
    const sdk = new Sdk();
    await everything(sdk);
    const all = new Map((await sdk.metrics()).map((metric) => [metric.descriptor.name, metric]));
    for (const sum of ["lock.held", "lock.waiting"]) {
      const metric = all.get(sum)!;
      assert.ok(metric.dataPointType === DataPointType.SUM && !metric.isMonotonic, sum);
    }
    for (const extreme of ["lock.remaining", "lock.wait.longest"]) {
      assert.equal(all.get(extreme)!.dataPointType, DataPointType.GAUGE, extreme);
    }
  });
});

describe("gauges", () => {
  test("say how many are held and waited for now, and go back to 0", async () => {
    const sdk = new Sdk();
    await using locks = new LockManager(memory());
    using _ = instrument(locks, sdk);
    assert.deepEqual(await sdk.points("lock.held"), []);
    const lock = await locks.acquire("k");
    const waiting = next(locks, "waiting");
    const waiter = locks.acquire("k");
    await waiting;
    assert.deepEqual([await sdk.value("lock.held"), await sdk.value("lock.waiting")], [1, 1]);
    assert.ok((await sdk.value("lock.wait.longest"))! > 0);
    const released = lock.release(); // from the call on, whatever the store says, and when
    assert.equal(await sdk.value("lock.held"), 0);
    await released;
    await (await waiter).release();
    assert.deepEqual([await sdk.value("lock.held"), await sdk.value("lock.waiting")], [0, 0]);
    assert.equal(await sdk.value("lock.wait.longest"), 0);
    assert.equal(await sdk.value("lock.remaining"), 1);
  });

  // Goes red if: the greatest is taken for the least, locks without renewal count.
  test("tell the least of what remains of a lock that is renewed", async () => {
    const sdk = new Sdk();
    const { clock, store, locks } = world();
    using _ = instrument(locks, sdk);
    const once = await locks.acquire("once", { renew: false, ttl: 2 * TTL });
    assert.equal(await sdk.value("lock.remaining"), 1);
    const long = await locks.acquire("long", { ttl: 10 * TTL });
    const short = await locks.acquire("short");
    const fresh = (await sdk.value("lock.remaining"))!;
    assert.ok(fresh > 0.95 && fresh < 1, `${fresh}`);
    store.rule = (verb) => verb === "renew" ? "refuse" : "pass";
    await clock.pass(0.8 * TTL);
    const least = await sdk.value("lock.remaining");
    assert.equal(least, short.remaining / TTL);
    assert.ok(least! < 1 / 3);
    const lost = over(short);
    await clock.pass(TTL);
    await lost;
    assert.equal(await sdk.value("lock.remaining"), long.remaining / (10 * TTL));
    assert.equal(await sdk.value("lock.held"), [once, long].filter(({ held }) => held).length);
  });

  // Goes red if: managers have instruments of their own, of which a reader sees one.
  for (const meter of ["one meter", "the global provider"] as const) {
    test(`of two managers that write to ${meter} are of both together`, async () => {
      const sdk = new Sdk();
      // As on Deno, whose provider makes a new meter at each call.
      const provider = { getMeter: () => Object.create(sdk.meter) };
      if (meter !== "one meter") metrics.setGlobalMeterProvider(provider);
      const options: InstrumentOptions = meter === "one meter" ? sdk : { tracer: sdk.tracer };
      try {
        await using one = new LockManager(memory());
        await using two = new LockManager(memory());
        const [first, second] = [instrument(one, options), instrument(two, options)];
        const locks = [await one.acquire("k"), await two.acquire("k"), await two.acquire("l")];
        assert.equal(await sdk.value("lock.held"), 3);
        assert.equal(await sdk.value("lock.grants"), 3);
        second[Symbol.dispose]();
        assert.equal(await sdk.value("lock.held"), 1);
        first[Symbol.dispose]();
        assert.equal(await sdk.value("lock.held"), 0);
        for (const lock of locks) await lock.release();
      } finally {
        metrics.disable();
      }
    });
  }

  // Goes red if: what has ended is kept.
  test("ask no lock that is over", async () => {
    const sdk = new Sdk();
    await using locks = new LockManager(memory());
    using _ = instrument(locks, sdk);
    const released = await locks.acquire("released");
    await released.release();
    const stolen = await locks.acquire("stolen");
    const lost = over(stolen);
    await locks.acquire("stolen", { steal: true });
    await lost;
    for (const lock of [released, stolen]) {
      Object.defineProperty(lock, "remaining", { get: () => assert.fail("it is over") });
    }
    assert.equal(await sdk.value("lock.held"), 1);
  });

  test("of a manager that is closed say 0", async () => {
    const sdk = new Sdk();
    const locks = new LockManager(memory());
    using _ = instrument(locks, sdk);
    await locks.acquire("k");
    await locks.close();
    assert.equal(await sdk.value("lock.held"), 0);
  });
});
