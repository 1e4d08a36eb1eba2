/** What goes wrong inside a cluster of three, and what becomes of the locks. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { etcd } from "../../backends/etcd.ts";
import { EtcdClient } from "../../backends/etcd/client/client.ts";
import type { EtcdQueued } from "../../backends/etcd/entries.ts";
import { EtcdQueues } from "../../backends/etcd/queues.ts";
import { QueueLease } from "../../backends/shared/queue_lease.ts";
import { readTarget } from "../../backends/etcd/address.ts";
import { LockManager } from "../../mod.ts";
import { EtcdCluster, type EtcdServer } from "../servers/etcd.ts";
import { until } from "../servers/process.ts";
import { call, claim, enter, request, waiter } from "../support.ts";

describe("faults inside an etcd cluster", () => {
  const others = (cluster: EtcdCluster, server: EtcdServer) =>
    cluster.servers.filter((other) => other !== server).map(({ url }) => url);

  test("the leader is killed: holders hold, waiters get their turn, tokens rise", async () => {
    await using cluster = await EtcdCluster.start({ partitions: true });
    const options = { ttl: 60_000, retryFor: 60_000 };
    await using one = new LockManager(etcd(cluster.urls), options);
    await using two = new LockManager(etcd(cluster.urls), options);
    const lock = await one.acquire("killed");
    const { lock: waiting } = await waiter(two, "killed");
    const leader = await cluster.leader();
    await leader.kill();
    await cluster.leader(leader);
    // It may fail once, if it meets the change.
    await until(
      () => lock.renew().then(() => true, () => false),
      () => "no renewal since the leader's death",
    );
    assert.equal(await lock.release(), true);
    const successor = await waiting;
    assert.ok(successor.token > lock.token);
    assert.equal(await successor.release(), true);
  });

  test("a leader paused, deposed and continued extends no lease that the cluster does not", async () => {
    await using cluster = await EtcdCluster.start({ partitions: true });
    const refusals: string[] = [];
    // Whether it learns of its successor first is up to chance.
    for (let round = 0; round < 2 || (round < 6 && !/leader has changed/.test(refusals.join())); round++) {
      const leader = await cluster.leader();
      const port = new EtcdClient(readTarget(leader.url));
      const witness = new EtcdClient(readTarget(others(cluster, leader)));
      const granted = await port.call("leaseGrant", { TTL: 5 }, call());
      const lease = new QueueLease<EtcdQueued>(
        request(5_000),
        (ears) => new EtcdQueues(port, request(5_000), granted, ears),
      );
      const held = claim({ key: `holdfast/deposed ${round}` });
      await enter(lease, held);

      leader.pause();
      await cluster.leader(leader);
      await sleep(1_000);
      const sent = performance.now();
      const renewed = lease.renew([held], call(8_000)).then(
        (outcomes) => outcomes.get(held.id)?.state === "granted",
        ({ message }) => {
          refusals.push(message);
          return false;
        },
      );
      await sleep(100);
      leader.resume();
      // If it is acknowledged, the cluster must keep the lock for a ttl from the send on.
      const deadline = await renewed ? sent + 5_000 * 0.99 : undefined;
      let gone = Infinity;
      await until(async () => {
        const seen = await witness.call("leaseTimeToLive", { ID: granted.ID }, call()).catch(() => {});
        if (seen === undefined || Number(seen.TTL) > 0) return false;
        gone = performance.now();
        return true;
      }, () => "the lease never ended");
      assert.ok(
        deadline === undefined || gone >= deadline,
        `gone ${deadline! - gone} ms before the deadline`,
      );
      port.close();
      witness.close();
    }
    assert.match(refusals.join(), /its leader has changed/, "no keep-alive met a deposed leader");
  });

  test("the member of a holder is cut off from the majority: lost by the deadline, then handed on", async () => {
    await using cluster = await EtcdCluster.start({ partitions: true });
    const server = cluster.servers[0]!;
    await using lonely = new LockManager(etcd(server.url), { ttl: 8_000 });
    await using majority = new LockManager(etcd(others(cluster, server)), { ttl: 30_000, retryFor: 60_000 });
    const lock = await lonely.acquire("cut off");
    const { lock: waiting } = await waiter(majority, "cut off");
    cluster.isolate(server);
    const successor = await waiting;
    assert.ok(lock.signal.aborted, "two holders");
    assert.equal((lock.signal.reason as { why?: string }).why, "expired");
    assert.equal(await successor.release(), true);
  });

  test("the member of a waiter is cut off from the majority: it gets its turn all the same", async () => {
    await using cluster = await EtcdCluster.start({ partitions: true });
    const server = cluster.servers[0]!;
    const options = { ttl: 12_000, retryFor: 60_000 };
    await using majority = new LockManager(etcd(others(cluster, server)), options);
    const lock = await majority.acquire("waiting");
    // Whichever member it begins with: one of three such waiters is at the one that is cut off.
    await using one = new LockManager(etcd([server.url, ...others(cluster, server)]), options);
    await using two = new LockManager(etcd(cluster.urls), options);
    await using three = new LockManager(etcd(cluster.urls.toReversed()), options);
    const waiting = [];
    for (const locks of [one, two, three]) waiting.push((await waiter(locks, "waiting")).lock);
    cluster.isolate(server);
    // It may fail once, if the leader is the one that is cut off.
    await until(() => lock.renew().then(() => true, () => false), () => "no renewal by the majority");
    assert.equal(await lock.release(), true);
    // Each as it comes: one that cannot be renewed in time loses its place, and is served after the others.
    await Promise.all(waiting.map(async (next) => assert.equal(await (await next).release(), true)));
  });
});
