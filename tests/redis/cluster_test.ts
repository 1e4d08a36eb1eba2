/** What a holder and a waiter see when the master fails and another takes over. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { redis, type RedisTarget } from "../../backends/redis.ts";
import { type Lock, LockManager } from "../../mod.ts";
import { RedisCluster, RedisSentinels, type RedisServer } from "../servers/redis.ts";
import { next, waiter } from "../support.ts";

const SLOW = { timeout: 90_000 };

/** Renews until that works. */
async function renewed(lock: Lock): Promise<void> {
  for (;;) {
    try {
      return await lock.renew();
    } catch (error) {
      lock.signal.throwIfAborted();
      assert.match(String(error), /Cannot/);
      await sleep(50);
    }
  }
}

/** A lock and a waiter live through the failover of their master. */
async function survives(target: RedisTarget, fail: () => Promise<void>): Promise<void> {
  await using a = new LockManager(redis(target), { ttl: 40_000, retryFor: 30_000 });
  await using b = new LockManager(redis(target), { ttl: 40_000, retryFor: 30_000 });
  const lock = await a.acquire("k");
  const { lock: waiting } = await waiter(b, "k");
  await fail();
  await renewed(lock);
  assert.ok(lock.held);
  assert.equal(await a.tryAcquire("k"), undefined);
  assert.equal(await lock.release(), true);
  await using handed = await waiting;
  assert.ok(handed.token > lock.token);
}

function bySentinel(servers: RedisSentinels): RedisTarget {
  return { sentinels: servers.sentinels.map(({ host, port }) => ({ host, port })), name: servers.name };
}

test("Sentinel: the lock and the waiter survive the failover of the master", SLOW, async () => {
  await using servers = await RedisSentinels.start();
  await survives(bySentinel(servers), async () => {
    const master = await servers.master();
    await master.replicated();
    await master.kill();
    await servers.promoted(master);
  });
});

test("Sentinel: a master that hangs is left for its successor", SLOW, async () => {
  await using servers = await RedisSentinels.start();
  await survives(bySentinel(servers), async () => {
    const master = await servers.master();
    await master.replicated();
    master.pause();
    await servers.promoted(master);
  });
});

test(
  "Sentinel: after a failover that lost the lock its holder learns of it, and tokens rise",
  SLOW,
  async () => {
    await using servers = await RedisSentinels.start();
    await using a = new LockManager(redis(bySentinel(servers)), { ttl: 6_000, retryFor: 30_000 });
    await using b = new LockManager(redis(bySentinel(servers)), { ttl: 6_000, retryFor: 30_000 });
    const warm = await a.acquire("warm");
    const master = await servers.master();
    await cutOffReplicas(master);
    const lock = await a.acquire("k");
    const lost = next<Event & { reason: { why: string } }>(lock, "lost");
    await master.kill();
    await servers.promoted(master);
    const successor = await b.acquire("k");
    assert.ok(successor.token > lock.token);
    await lost; // by its next renewal
    assert.ok(lock.signal.aborted);
    assert.ok(successor.held);
    await successor.release();
    await warm.release();
  },
);

/** Nothing that is written to the master from now on reaches a replica. */
async function cutOffReplicas(master: RedisServer): Promise<void> {
  await master.cli("config", "set", "requirepass", "for-new-connections");
  await master.cli("-a", "for-new-connections", "client", "kill", "type", "replica");
}

test("Cluster: the lock and the waiter survive the failover of their master", SLOW, async () => {
  await using cluster = await RedisCluster.start({ replicas: 1 });
  const nodes = cluster.servers.map(({ host, port }) => ({ host, port }));
  await survives({ cluster: nodes }, async () => {
    const master = await cluster.master("holdfast/{k}");
    await master.replicated();
    await master.kill();
    await cluster.promoted("holdfast/{k}", master);
  });
});

test("Cluster: a master that hangs is left for its successor", SLOW, async () => {
  await using cluster = await RedisCluster.start({ replicas: 1 });
  const nodes = cluster.servers.map(({ host, port }) => ({ host, port }));
  await survives({ cluster: nodes }, async () => {
    const master = await cluster.master("holdfast/{k}");
    await master.replicated();
    const [other] = cluster.servers.filter((server) => server !== master);
    await cluster.impatient();
    master.pause();
    // Until the others know it as failed and without slots.
    const gone = new RegExp(`:${master.port}@\\S+ \\S*fail\\S* \\S+ \\S+ \\S+ \\S+ \\S+\\s*$`, "m");
    while (!gone.test(await other!.cli("cluster", "nodes"))) await sleep(100);
  });
});

test("Cluster: a slot that moves takes its locks along", SLOW, async () => {
  await using cluster = await RedisCluster.start();
  await survives({ cluster: [cluster.url] }, async () => {
    const from = await cluster.master("holdfast/{k}");
    const to = cluster.servers.find((server) => server !== from)!;
    const slot = (await from.cli("cluster", "keyslot", "holdfast/{k}")).trim();
    const id = async (server: RedisServer) => (await server.cli("cluster", "myid")).trim();
    await to.cli("cluster", "setslot", slot, "importing", await id(from));
    await from.cli("cluster", "setslot", slot, "migrating", await id(to));
    await from.cli("migrate", to.host, `${to.port}`, "", "0", "5000", "keys", "holdfast/{k}");
    await using midway = new LockManager(redis({ cluster: [cluster.url] }));
    assert.equal(await midway.tryAcquire("k"), undefined, "asked in the middle of it");
    for (const server of cluster.servers) await server.cli("cluster", "setslot", slot, "node", await id(to));
  });
});
