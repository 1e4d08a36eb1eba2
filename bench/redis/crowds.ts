/** What an operation costs, against how many are in the queue. */
import { redis } from "../../backends/redis.ts";
import { LockManager } from "../../mod.ts";
import { CALL, claim, open } from "../../tests/support.ts";
import type { RedisServer } from "../../tests/servers/redis.ts";
import { type Figure, median } from "../figures.ts";

const KINDS = {
  "exclusive claims": { mode: "exclusive", limit: 1 },
  "readers": { limit: Infinity },
  "permits": { mode: "exclusive", limit: 20_000 },
} as const;

/** How many are in the queue. The first is what the others are measured against. */
const SIZES = [10, 100, 1_000, 10_000] as const;
const ROUNDS = 1_000;
const WAITERS = 5_000;
const PATIENT = { ...CALL, timeout: 60_000 };

/** Entering, asking in vain, renewing and leaving, in queues of all sizes by turns. */
export async function crowds({ url }: RedisServer): Promise<Figure[]> {
  await using backend = redis(url);
  const { lease } = await open(backend, 600_000);
  const figures: Figure[] = [];
  for (const [kind, asked] of Object.entries(KINDS)) {
    const keys = SIZES.map((size) => `holdfast/${size}-${kind.replace(" ", "-")}`);
    for (const [n, key] of keys.entries()) {
      const all = Array.from({ length: SIZES[n]! }, () => claim({ key, ...asked }));
      await Promise.all(all.map((one) => lease.attempt(one, PATIENT)));
    }
    const times: number[][] = SIZES.map(() => []);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [n, key] of keys.entries()) {
        const one = claim({ key, ...asked });
        const since = performance.now();
        await lease.attempt(one, PATIENT);
        await lease.attempt(claim({ key, wait: false }), PATIENT);
        await lease.renew([one], PATIENT);
        await lease.release(one, PATIENT);
        times[n]!.push(performance.now() - since);
      }
    }
    const [few, ...more] = times.map((each) => median(each));
    figures.push(...more.map((cost, n): Figure => ({
      what: `redis: enter, try, renew, leave among ${SIZES[n + 1]} ${kind}, against among ${SIZES[0]}`,
      value: cost / few!,
      unit: "x",
      bound: { most: 2 },
    })));
  }
  return figures;
}

/** As many as nobody should have, who want one lock at once. */
export async function rush({ url }: RedisServer): Promise<Figure[]> {
  let failed = 0;
  const logger = { debug() {}, warn: (text: string) => void (text.includes("its own manager") || failed++) };
  await using locks = new LockManager(redis(url), { logger });
  const since = performance.now();
  await Promise.all(Array.from({ length: WAITERS }, async () => {
    try {
      await (await locks.acquire("rush")).release();
    } catch {
      failed++;
    }
  }));
  const took = performance.now() - since;
  return [
    {
      what: `redis: ${WAITERS} at once on one key, failed calls`,
      value: failed,
      unit: "calls",
      bound: { most: 0 },
    },
    { what: `redis: ${WAITERS} at once on one key, all served after`, value: took, unit: "ms" },
  ];
}
