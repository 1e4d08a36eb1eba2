/** Three members, of which one fails. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { zookeeper } from "../../backends/zookeeper.ts";
import { type Lock, LockManager } from "../../mod.ts";
import { until } from "../servers/process.ts";
import { ZooKeeperEnsemble, type ZooKeeperServer } from "../servers/zookeeper.ts";
import { over } from "../support.ts";
import { Operator } from "./operator.ts";

const tickTime = 500;
const ttl = 5_000;

describe("an ensemble of ZooKeeper", () => {
  let ensemble: ZooKeeperEnsemble;

  // A follower that is cut off from its leader goes on answering reads for syncLimit ticks.
  const config = ["syncLimit=40", "maxSessionTimeout=60000"];
  before(async () => void (ensemble = await ZooKeeperEnsemble.start({ tickTime, partitions: true, config })));
  after(async () => await ensemble[Symbol.asyncDispose]());

  const manager = (address: string, ttl: number) =>
    new LockManager(zookeeper({ address, tickTime }), { ttl, retryFor: 60_000 });
  const end = (lock: Lock) => over(lock).then(() => performance.now());
  const whole = async () => {
    await ensemble.leader();
    await until(async () => (await ensemble.followers()).length === 2, () => "the ensemble does not heal");
  };
  const nodes = async (server: ZooKeeperServer, key: string) => {
    await using operator = await Operator.connect(server.address);
    return await operator.queue(key);
  };

  for (let times = 1; times <= 3; times++) {
    test(`the follower is cut off from its leader: the signal aborts before anybody else holds (${times})`, async () => {
      await whole();
      const [follower] = await ensemble.followers();
      const others = ensemble.servers.filter((server) => server !== follower).map(({ address }) => address)
        .join();
      await using locks = manager(follower!.address, ttl);
      await using rivals = manager(others, ttl);
      await using reader = await Operator.connect(follower!.address);
      const lock = await locks.acquire(`cut${times}`);
      const next = rivals.acquire(lock.key);
      next.catch(() => {});
      await until(async () => (await reader.queue(lock.key)).length === 2, () => "nobody waits");
      try {
        const lost = end(lock);
        ensemble.isolate(follower!);
        const successor = await next;
        const granted = performance.now();
        assert.ok(lock.signal.aborted, "two holders");
        const ahead = granted - await lost;
        assert.ok(ahead > 0 && ahead < 3 * ttl, `${ahead} ms`);
        assert.ok(successor.token > lock.token);
        assert.equal((await reader.queue(lock.key)).length, 2, "the follower still shows the old queue");
      } finally {
        ensemble.heal();
      }
    });
  }

  test("the follower is cut off: a client that knows the others moves on, and keeps its lock", async () => {
    await whole();
    await using locks = manager(ensemble.address, 8_000);
    const lock = await locks.acquire("moves");
    await using reader = await Operator.connect(ensemble.address);
    const owner = await reader.owner(`/holdfast/moves/${(await reader.queue("moves"))[0]}`);
    for (const follower of await ensemble.followers()) {
      // Wherever the client is: one of the two cuts, or none, hits it.
      await whole();
      ensemble.isolate(follower);
      await new Promise((resolve) => setTimeout(resolve, 8_000));
      ensemble.heal();
      assert.equal(lock.held, true, `${lock.signal.reason}`);
    }
    await whole();
    const leader = await ensemble.leader();
    await using operator = await Operator.connect(leader.address);
    assert.equal(await operator.owner(`/holdfast/moves/${(await operator.queue("moves"))[0]}`), owner);
    assert.equal(await lock.release(), true);
  });

  test("the leader is killed: the lock is kept, the queue too, and hands over after the election", async () => {
    await whole();
    // Longer than an election takes on a busy machine.
    await using locks = manager(ensemble.address, 60_000);
    await using rivals = manager(ensemble.address, 60_000);
    const lock = await locks.acquire("leader");
    const next = rivals.acquire("leader");
    const leader = await ensemble.leader();
    await until(async () => (await nodes(leader, "leader")).length === 2, () => "nobody waits");
    await leader.kill();
    await ensemble.leader(leader);
    await until(() => lock.renew().then(() => true, () => false), () => "not renewed");
    assert.equal(lock.held, true);
    assert.equal(await lock.release(), true);
    const successor = await next;
    assert.ok(successor.token > lock.token);
    await leader.restart();
  });

  test("many acquire while leaders die: never two at once, and tokens rise", async () => {
    await whole();
    let holding = 0;
    let greatest = 0n;
    let grants = 0;
    let stop = false;
    const faults: string[] = [];
    const worker = async () => {
      await using locks = manager(ensemble.address, 4_000);
      while (!stop) {
        try {
          const lock = await locks.acquire("busy", { signal: AbortSignal.timeout(10_000) });
          if (++holding > 1) faults.push("two holders");
          if (lock.token <= greatest) faults.push(`token ${lock.token} after ${greatest}`);
          greatest = lock.token;
          grants++;
          void over(lock).then(() => holding--);
          await new Promise((resolve) => setTimeout(resolve, 20));
          await lock.release();
        } catch {
          // the store was away
        }
      }
    };
    const workers = [worker(), worker(), worker()];
    for (let times = 0; times < 2; times++) {
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      const leader = await ensemble.leader();
      await leader.kill();
      await ensemble.leader(leader);
      await leader.restart();
      await whole();
    }
    const before = grants;
    await until(() => Promise.resolve(grants > before + 20), () => "nobody gets the lock any more");
    stop = true;
    await Promise.all(workers);
    assert.deepEqual(faults, []);
  });
});
