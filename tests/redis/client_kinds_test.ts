/** Every client that may be handed in does all that there is to do, and with all others. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Redis as Redis6 } from "ioredis";
import Redis4 from "ioredis-4";
import { Cluster } from "ioredis-5";
import { redis } from "../../backends/redis.ts";
import { LockManager } from "../../mod.ts";
import { until } from "../servers/process.ts";
import { RedisCluster, RedisSentinels, type RedisServer } from "../servers/redis.ts";
import { type Handed, type Kind, kinds, type Place } from "./clients/kinds.ts";
import { connects, uses } from "./clients/uses.ts";

const [cluster, sentinels] = await Promise.all([
  RedisCluster.start(),
  RedisSentinels.start({ sentinels: 1 }),
]);
const server = sentinels.servers[0]!;
const places = { server, Cluster: cluster.servers[1]!, Sentinels: sentinels.sentinels[0]! };

after(async () => {
  await cluster[Symbol.asyncDispose]();
  await sentinels[Symbol.asyncDispose]();
});

/** Connects one client of each of some kinds, for as long as `use` takes. */
async function handed(
  some: readonly Kind[],
  use: (clients: Handed[]) => Promise<void>,
  keyPrefix?: string,
): Promise<void> {
  const clients = await Promise.all(some.map((kind) => {
    return kind.connect(place(places[kind.to]), kind.prefixes ? keyPrefix : undefined);
  }));
  try {
    await use(clients);
  } finally {
    for (const { end } of clients) await end();
  }
}

const PIPELINING = { enableAutoPipelining: true };

function place({ host, port }: Place): Place {
  return { host, port };
}

/** The first of these keys are on each of the Cluster's nodes. */
const KEYS = ["a", "b", "c", "d"];

for (const kind of kinds) {
  test(`two managers pass locks to each other: ${kind.name}`, async () => {
    await handed([kind], async ([one]) => {
      for (const key of KEYS) await uses(one!.client, one!.client, `${key} ${kind.name}`);
    });
    const servers = kind.to === "Cluster" ? cluster.servers : [server];
    const channels = async () =>
      (await Promise.all(servers.map((one) => one.cli("pubsub", "channels")))).join("");
    await until(async () => !/holdfast/.test(await channels()), () => "a connection of ours is left");
  });
}

test("no command went to a node that does not serve its key", async () => {
  for (const one of cluster.servers) {
    assert.doesNotMatch(await one.cli("info", "errorstats"), /MOVED|CROSSSLOT/);
  }
});

for (const to of ["server", "Cluster"] as const) {
  const prefixed = kinds.filter((kind) => kind.prefixes && (kind.to === "Cluster") === (to === "Cluster"));
  const here = to === "server" ? [server] : cluster.servers;

  test(`clients of every kind with the same keyPrefix exclude each other: ${to}`, async () => {
    await handed(
      prefixed,
      (clients) => exclude(clients.map(({ client }) => redis(client)), "same"),
      "tenant:",
    );
    await found(here, /^tenant:holdfast\/\{same\}$/m);
  });

  test(`clients of every kind without a keyPrefix exclude each other: ${to}`, async () => {
    const all = kinds.filter((kind) => (kind.to === "Cluster") === (to === "Cluster"));
    await handed(all, (clients) => exclude(clients.map(({ client }) => redis(client)), "none"));
    await found(here, /^holdfast\/\{none\}$/m);
  });

  test(`clients with different keyPrefixes have nothing to do with each other: ${to}`, async () => {
    for (const kind of prefixed) {
      await handed([kind], ([one]) =>
        handed([kind], async ([two]) => {
          await using ours = new LockManager(redis(one!.client), { retryFor: 0 });
          await using theirs = new LockManager(redis(two!.client), { retryFor: 0 });
          for (const locks of [ours, theirs]) await connects(locks);
          await using lock = await ours.tryAcquire(kind.name);
          await using other = await theirs.tryAcquire(kind.name);
          assert.ok(lock && other, kind.name);
          assert.equal((await ours.query()).held?.length, 1, kind.name);
        }, "two:"), "one:");
    }
  });
}

/** Each holds the lock in turn, and all others see that. */
async function exclude(backends: readonly ReturnType<typeof redis>[], key: string): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const managers = backends.map((backend) => stack.use(new LockManager(backend, { retryFor: 0 })));
  for (const locks of managers) await connects(locks);
  for (const holder of managers) {
    await using lock = await holder.tryAcquire(key);
    assert.ok(lock);
    for (const other of managers) {
      assert.equal(await other.tryAcquire(key), undefined);
      assert.deepEqual((await other.query()).held?.map(({ name }) => name), [key]);
    }
  }
}

async function found(servers: readonly RedisServer[], key: RegExp): Promise<void> {
  assert.match((await Promise.all(servers.map((one) => one.cli("keys", "*")))).join("\n"), key);
}

for (const kind of kinds.filter(({ to }) => to === "Cluster")) {
  test(`a slot that moves to another node is followed: ${kind.name}`, async () => {
    const key = `moves:${kind.name.replace(/\W+/g, "-")}`; // plain, so that it is called so in Redis
    const from = await cluster.master(`{${key}}`);
    const to = cluster.servers.find((one) => one !== from)!;
    const slot = (await from.cli("cluster", "keyslot", `{${key}}`)).trim();
    const id = async (one: RedisServer) => (await one.cli("cluster", "myid")).trim();
    await handed([kind], async ([one]) => {
      await using locks = new LockManager(redis(one!.client));
      await (await locks.acquire("known")).release(); // it knows the slots from now on
      await to.cli("cluster", "setslot", slot, "importing", await id(from));
      await from.cli("cluster", "setslot", slot, "migrating", await id(to));
      assert.equal(await (await locks.acquire(key)).release(), true, "ASK");
      assert.match(await to.cli("cluster", "countkeysinslot", slot), /1/);
      for (const server of [to, ...cluster.servers]) {
        await server.cli("cluster", "setslot", slot, "node", await id(to));
      }
      assert.equal(await (await locks.acquire(key)).release(), true, "MOVED");
    });
  });
}

test("a client that makes pipelines by itself puts no two nodes into one, and leaves nothing out", async () => {
  const { host, port } = cluster.servers[0]!;
  for (
    const client of [
      new Cluster([{ host, port }], PIPELINING),
      new Redis4({ ...place(server), ...PIPELINING }),
    ]
  ) {
    try {
      await using locks = new LockManager(redis(client));
      const held = await Promise.all(Array.from({ length: 20 }, (_, n) => locks.acquire(`piped ${n}`)));
      assert.deepEqual(await Promise.all(held.map((lock) => lock.release())), held.map(() => true));
    } finally {
      client.disconnect();
    }
  }
});

test("a client that wants the replies of RESP3", async () => {
  const client = new Redis6({ ...place(server), protocol: 3, replyMapping: "resp3", stringNumbers: true });
  try {
    await uses(client, client, "resp3");
  } finally {
    client.disconnect();
  }
});
