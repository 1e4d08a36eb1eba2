/** The conformance suite itself: that it can fail, and that nobody leaves cases out unnoticed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { memory } from "../backends/memory.ts";
import { use } from "../internal/users.ts";
import type { Backend, Lease } from "../mod.ts";
import { type Case, conformance, ConformanceError, type Harness, sideBySide } from "./conformance/mod.ts";

const harness: Harness = { name: "memory", open: () => memory() };

/** Runs the cases of one group and returns the names of those that fail. */
async function failing(harness: Harness, group: string): Promise<string[]> {
  const cases = conformance(harness).filter((one) => one.group === group);
  const results = await Promise.allSettled(cases.map(({ run }) => run()));
  return cases.filter((_, at) => results[at]!.status === "rejected").map(({ name }) => name);
}

/** Memory, with some calls of its leases replaced. */
function broken(replace: (lease: Lease) => Partial<Lease>): Harness {
  const store = memory();
  use(store); // for as long as the process lives
  const { lease } = store;
  const backend: Backend = Object.assign(store, {
    lease: async (...args: Parameters<typeof lease>): Promise<Lease> => {
      const real = await lease.apply(store, args);
      const calls: Lease = {
        ttl: real.ttl,
        attempt: (...args) => real.attempt(...args),
        changed: (...args) => real.changed(...args),
        release: (...args) => real.release(...args),
        renew: (...args) => real.renew(...args),
        close: (...args) => real.close(...args),
      };
      return { ...calls, ...replace(real) };
    },
  });
  return { name: "broken", open: () => backend };
}

test("a skip that names no case, or gives no reason, is refused", () => {
  assert.throws(() => conformance({ ...harness, skip: { "exclusion: no such case": "because" } }), {
    name: "TypeError",
    message: /exclusion: no such case/,
  });
  const [{ group, name }] = conformance(harness) as [Case, ...Case[]];
  assert.throws(() => conformance({ ...harness, skip: { [`${group}: ${name}`]: " " } }), TypeError);
  const skipped = conformance({ ...harness, skip: { [`${group}: ${name}`]: "because" } })
    .filter(({ skip }) => skip !== undefined);
  assert.deepEqual(skipped.map((one) => [one.group, one.name, one.skip]), [[group, name, "because"]]);
});

test("every case has a name of its own", () => {
  const names = conformance({ ...harness, revoke: () => Promise.resolve() })
    .map(({ group, name }) => `${group}: ${name}`);
  assert.equal(new Set(names).size, names.length);
});

test("a backend that grants to everybody is found out", async () => {
  let token = 0n;
  const harness = broken(() => ({ attempt: () => Promise.resolve({ state: "granted", token: ++token }) }));
  const failed = await failing(harness, "exclusion");
  assert.ok(failed.includes("a held lock is refused to everybody else, the same manager included"));
  assert.ok(failed.includes("of many who want it, one at a time has it"));
});

test("a backend whose tokens do not rise is found out", async () => {
  const harness = broken((real) => ({
    attempt: async (...args) => {
      const outcome = await real.attempt(...args);
      return outcome.state === "granted" ? { ...outcome, token: 1n } : outcome;
    },
  }));
  assert.ok(
    (await failing(harness, "token order")).includes("each grant has a greater token than those before it"),
  );
});

test("cases that run side by side run once each, and each has its own result", async () => {
  const runs: string[] = [];
  const last = Promise.withResolvers<void>();
  const results: Record<string, () => Promise<void>> = {
    a: () => last.promise, // so that it ends only if `b` lets `d` run
    b: () => Promise.reject(new ConformanceError("no")),
    c: () => Promise.resolve(),
    d: () => Promise.resolve(last.resolve()),
  };
  const cases = Object.entries(results).map(([name, run]): Case => ({
    group: "g",
    name,
    skip: name === "c" ? "because" : undefined,
    run: () => (runs.push(name), run()),
  }));
  const [a, b, , d] = sideBySide(cases, 2);
  const first = a!.run();
  assert.deepEqual(runs, ["a", "b"]);
  await first;
  await assert.rejects(b!.run(), { name: "ConformanceError", message: "no" });
  await d!.run();
  assert.deepEqual(runs, ["a", "b", "d"]);
});
