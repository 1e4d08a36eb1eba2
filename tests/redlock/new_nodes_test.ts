/** Nodes that nobody has used before: they may as well have forgotten everything. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { redlock } from "../../backends/redlock.ts";
import type { QuorumError } from "../../internal/errors.ts";
import { LockManager } from "../../mod.ts";
import { until } from "../servers/process.ts";
import { admit, Nodes } from "./nodes.ts";

const patient = { timeout: 60_000 };
const OPTIONS = { maxTtl: 10_000 };
/** Repeats what a busy machine is too slow for, but not for as long as a new node stays out. */
const MANAGER = { ttl: 10_000, retryFor: 6_000 };

/** Whether it gets an answer: nobody tries again if connecting takes long. */
function reaches(locks: LockManager): Promise<boolean> {
  return locks.inspect("k").then(() => true, () => false);
}

test(
  "several who start at once on new nodes wait once, all together, and nobody is turned away",
  patient,
  async () => {
    await using nodes = await Nodes.start(5, false);
    const started = performance.now();
    const managers = Array.from({ length: 5 }, () => new LockManager(redlock(nodes.urls, OPTIONS), MANAGER));
    for (const locks of managers) await until(() => reaches(locks), () => "the nodes cannot be reached");
    let since: string[] = [];
    await until(async () => {
      since = await Promise.all(nodes.servers.map((server) => server.cli("hget", "holdfast:node", "since")));
      return since.every((time) => time.trim() !== "");
    }, () => "not all have been asked"); // a majority of them is what was waited for so far
    let inside = 0;
    let last = 0n;
    await Promise.all(managers.map(async (locks, n) => {
      const own = locks.acquire(`of ${n}`);
      await using lock = await locks.acquire("k");
      assert.equal(++inside, 1);
      assert.ok(lock.token > last);
      last = lock.token;
      assert.ok(performance.now() - started > 9_500, "nobody was let in before the time");
      inside--;
      await (await own).release();
    }));
    const now = await Promise.all(
      nodes.servers.map((server) => server.cli("hget", "holdfast:node", "since")),
    );
    assert.deepEqual(now, since, "nobody began the time anew");
    await Promise.all(managers.map((locks) => locks.close()));
  },
);

test("who does not wait is told why, by whom, and for how long", patient, async () => {
  await using nodes = await Nodes.start(3, false);
  await using locks = new LockManager(redlock(nodes.urls), { retryFor: 0 });
  await until(() => reaches(locks), () => "the nodes cannot be reached");
  const error = await locks.tryAcquire("k").then(() => undefined, (error) => error as QuorumError);
  assert.equal(error?.name, "QuorumError");
  assert.match(
    error!.message,
    /excluded \(for another [12]\d[.\d]* s\).* \(.* stays out for the longest ttl\)$/,
  );
});

test("waiting for new nodes ends with the signal", patient, async () => {
  await using nodes = await Nodes.start(3, false);
  await using locks = new LockManager(redlock(nodes.urls));
  await until(() => reaches(locks), () => "the nodes cannot be reached");
  const enough = new AbortController();
  locks.addEventListener("waiting", () => enough.abort(new Error("enough")));
  await assert.rejects(locks.acquire("k", { signal: enough.signal }), { message: "enough" });
});

test("nodes that are away are not waited for, whatever the others have forgotten", patient, async () => {
  await using nodes = await Nodes.start(3, false);
  await using locks = new LockManager(redlock(nodes.urls, OPTIONS), MANAGER);
  await nodes.servers[0]!.kill();
  await nodes.servers[1]!.kill();
  await assert.rejects(locks.acquire("k"), { name: "QuorumError" });
});

test("an operator who knows better lets them in", patient, async () => {
  await using nodes = await Nodes.start(3, false);
  await Promise.all(nodes.servers.map(admit));
  await using locks = new LockManager(redlock(nodes.urls, OPTIONS), MANAGER);
  await until(() => reaches(locks), () => "the nodes cannot be reached");
  await using lock = await locks.acquire("k");
  assert.ok(lock.held);
});
