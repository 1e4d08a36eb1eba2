/** Many readers of one key: the same rule, and no operation dearer for it. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { redlock } from "../../backends/redlock.ts";
import type { Claim, Lease } from "../../internal/backend.ts";
import { LockManager } from "../../mod.ts";
import { Random } from "../simulation/random.ts";
import { CALL, claim, entered, open } from "../support.ts";
import { Nodes } from "./nodes.ts";

const SLOW = { timeout: 120_000 };
const OPTIONS = { maxTtl: 60_000 };
/** Time enough for whatever a busy machine does meanwhile. */
const PATIENT = { ...CALL, timeout: 60_000 };
const nodes = await Nodes.start(1);
after(() => nodes[Symbol.asyncDispose]());

// Red if: a writer that has got the vote leaves the mark of a crowd behind, or no reader sets it anew.
test("whoever comes and goes: readers together, a writer alone, tokens that rise", SLOW, async () => {
  await using backend = redlock(nodes.urls, OPTIONS);
  const { lease } = await open(backend, 60_000);
  for (let seed = 1; seed <= 6; seed++) await game(lease, seed);

  async function game(lease: Lease, seed: number): Promise<void> {
    const random = new Random(`readers ${seed}`);
    const below = (n: number) => random.whole(0, n - 1);
    const key = `holdfast/game${seed}`;
    let stolen = false;
    const crowd = [3, 12, 40][seed % 3]!; // so many are there before more of them go than come
    let holders: Claim[] = [];
    let last = 0n;
    for (let step = 0, grows = true; step < 100; step++) {
      if (holders.length >= crowd) grows = false;
      if (holders.length === 0) grows = true;
      const dice = below(20);
      const writers = holders.some(({ limit }) => limit === 1);
      if (dice < (grows ? 13 : 5) || holders.length === 0) {
        const limit = below(8) === 0 ? 1 : Infinity;
        const steal = limit === 1 && below(10) === 0;
        const one = claim({
          key,
          limit,
          steal,
          wait: false,
          metadata: dice % 2 ? `{"n":${step}}` : undefined,
        });
        const outcome = await lease.attempt(one, PATIENT);
        const free = steal || holders.length === 0 || limit === Infinity && !writers;
        assert.equal(outcome.state, free ? "granted" : "contended", `seed ${seed}, step ${step}`);
        if (outcome.state !== "granted") continue;
        assert.ok(outcome.token > last, `seed ${seed}, step ${step}`);
        last = outcome.token;
        if (steal) {
          // Who was robbed learns of it by the renewal at the latest, and does not come back.
          for (const [, { state }] of await lease.renew(holders, PATIENT)) assert.equal(state, "gone");
          holders = [];
          stolen = true;
        }
        holders.push(one);
      } else if (dice < 18) {
        const [one] = holders.splice(below(holders.length), 1) as [Claim];
        assert.equal(await lease.release(one, entered(PATIENT)), true, `seed ${seed}, step ${step}`);
      } else {
        const outcomes = await lease.renew(holders, PATIENT);
        assert.deepEqual(holders.map(({ id }) => outcomes.get(id)?.state), holders.map(() => "granted"));
      }
      const seen = await backend.list(key, PATIENT);
      const facts = (all: readonly { id: string; metadata: string | undefined }[]) =>
        all.map(({ id, metadata }) => `${id} ${metadata}`).sort();
      assert.deepEqual(facts(seen), facts(holders), `seed ${seed}, step ${step}`);
    }
    for (const one of holders) await lease.release(one, entered(PATIENT));
    if (stolen) return; // of whom tombstones stay for the ttl
    const left = await nodes.servers[0]!.cli("hkeys", `holdfast/{game${seed}}:votes`);
    assert.ok(["#", ""].includes(left.trim()), `seed ${seed}: ${left}`);
  }
});

// Red if: a reader's vote, its renewal, its end or a writer's refusal reads all votes of the key.
test("no script reads all votes because of one, however many readers there are", SLOW, async () => {
  const [server] = nodes.servers;
  const MANY = 300;
  await using a = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: 60_000 });
  await using b = new LockManager(redlock(nodes.urls, OPTIONS));
  await (await a.acquire("warm")).release();
  const readings = async () =>
    Number(/cmdstat_hgetall:calls=(\d+)/.exec(await server!.cli("info", "commandstats"))?.[1] ?? 0);
  const before = await readings();
  const all = await Promise.all(Array.from({ length: MANY }, () => a.acquire("k", { mode: "shared" })));
  await Promise.all(all.map((lock) => lock.renew()));
  for (let n = 0; n < 100; n++) assert.equal(await b.tryAcquire("k"), undefined);
  await Promise.all(all.map((lock) => lock.release()));
  await using _ = await b.acquire("k");
  // The first two, the last of them, and one every ten seconds.
  const spent = await readings() - before;

  assert.ok(spent < 60, `all votes were read ${spent} times`);
});
