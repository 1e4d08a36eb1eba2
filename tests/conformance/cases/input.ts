import { equal, rejects } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** What is refused before anything is sent; each with what its message must name. */
export const input: Group = group("bad input", {
  // Goes red if: a check comes after the first call to the store, or throws instead of rejecting.
  async "is a rejected promise that names the option, and sends nothing"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({}, faulty);
    const { minTtl, maxTtl, semaphore } = scene.traits;
    const cyclic: Record<string, unknown> = {};
    cyclic["self"] = cyclic;
    const options: [unknown, string, string][] = [
      [{ ttl: minTtl - 1 }, "RangeError", "ttl"],
      [{ ttl: Math.min(maxTtl, 86_400_000) + 1 }, "RangeError", "ttl"],
      [{ ttl: 0 }, "RangeError", "ttl"],
      [{ ttl: -1 }, "RangeError", "ttl"],
      [{ ttl: NaN }, "RangeError", "ttl"],
      [{ ttl: Infinity }, "RangeError", "ttl"],
      [{ ttl: "1000" }, "TypeError", "ttl"],
      [{ limit: 0 }, "RangeError", "limit"],
      [{ limit: -2 }, "RangeError", "limit"],
      [{ limit: 1.5 }, "RangeError", "limit"],
      [{ limit: "2" }, "TypeError", "limit"],
      ...(semaphore ? [] : [[{ limit: 2 }, "RangeError", "limit"] as [unknown, string, string]]),
      [{ mode: "read" }, "TypeError", "mode"],
      [{ mode: "shared", limit: 2 }, "TypeError", "limit"],
      [{ mode: "shared", steal: true }, "TypeError", "steal"],
      [{ renew: "yes" }, "TypeError", "renew"],
      [{ steal: 1 }, "TypeError", "steal"],
      [{ signal: {} }, "TypeError", "signal"],
      [{ metadata: () => {} }, "TypeError", "metadata"],
      [{ metadata: cyclic }, "TypeError", "metadata"],
      [{ metadata: 1n }, "TypeError", "metadata"],
      [{ metadata: "x".repeat(4_096) }, "RangeError", "metadata"],
      [{ timeout: 5 }, "TypeError", "timeout"],
      ["exclusive", "TypeError", "options"],
    ];
    for (const [bad, name, says] of options) {
      const what = `options ${
        typeof bad === "object" ? Object.entries(bad!).map(([key, value]) => `${key} ${String(value)}`) : bad
      }`;
      // deno-lint-ignore no-explicit-any
      await rejects(a.acquire("k", bad as any), { name, says }, `acquire, ${what}`);
      // deno-lint-ignore no-explicit-any
      await rejects(a.tryAcquire("k", bad as any), { name, says }, `tryAcquire, ${what}`);
    }
    const keys: [unknown, string, string][] = [
      ["", "RangeError", "key"],
      ["x".repeat(513), "RangeError", "512"],
      [[], "RangeError", "key"],
      [["k", ""], "RangeError", "key"],
      [42, "TypeError", "key"],
      [undefined, "TypeError", "key"],
      [["k", null], "TypeError", "key"],
    ];
    for (const [bad, name, says] of keys) {
      const what = `key ${String(bad).slice(0, 20)}`;
      // deno-lint-ignore no-explicit-any
      await rejects(a.acquire(bad as any), { name, says }, `acquire, ${what}`);
      // deno-lint-ignore no-explicit-any
      await rejects(a.tryAcquire(bad as any), { name, says }, `tryAcquire, ${what}`);
      if (Array.isArray(bad)) continue;
      // deno-lint-ignore no-explicit-any
      await rejects(a.inspect(bad as any), { name, says }, `inspect, ${what}`);
    }
    equal(faulty.seen, [], "calls to the store");
  },

  async "the bounds themselves are accepted"(scene: Scene) {
    const a = await scene.manager();
    const { minTtl, maxTtl } = scene.traits;
    for (const ttl of [minTtl, Math.min(maxTtl, 86_400_000)]) {
      const lock = await a.acquire(`k${ttl}`, { ttl, limit: 1, renew: false });
      equal(lock.ttl, ttl, "the ttl");
      await lock.release();
    }
  },
});
