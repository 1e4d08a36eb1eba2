/** What looks like a client and is none that is taken is refused before anything is sent. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Redis as Upstash } from "@upstash/redis";
import { Cluster, Redis as Redis6 } from "ioredis";
import Redis4 from "ioredis-4";
import { Redis as Redis5 } from "ioredis-5";
import { Redis as Valkey } from "iovalkey";
import { createClient, createClientPool, createCluster } from "redis";
import { createClient as createClient3 } from "redis-3";
import { createClient as createClient4 } from "redis-4";
import { createClient as createClient5, createSentinel } from "redis-5";
import { redis, type RedisTarget } from "../../backends/redis.ts";
import { clientKind } from "../../backends/redis/client/kind.ts";
import { BackendError, LockManager } from "../../mod.ts";
import { RedisSentinels } from "../servers/redis.ts";

const sentinels = await RedisSentinels.start({ sentinels: 1 });
const { host, port } = sentinels.servers[0]!;
const ends: (() => unknown)[] = [() => sentinels[Symbol.asyncDispose]()];

after(async () => {
  for (const end of ends.reverse()) await end();
});

/** For as long as the tests run. */
function kept<T>(client: T, end: (client: T) => unknown): T {
  ends.push(() => end(client));
  return client;
}

function refuses(what: RegExp, given: unknown): void {
  assert.throws(() => redis(given as RedisTarget), (error: Error) => {
    assert.equal(error.name, "TypeError");
    assert.match(error.message, what);
    assert.match(error.message, /ioredis 4 to 6 or iovalkey.*node-redis\) 4 to 6.*Bun/);
    return true;
  });
}

test("what is no client at all", () => {
  const client = kept(new Redis5({ host, port }), (client) => client.disconnect());
  refuses(/a Promise \(await it first\)/, Promise.resolve(client));
  refuses(/a pipeline or transaction/, client.pipeline());
  refuses(/a pipeline or transaction/, client.multi());
  for (const type of [Redis4, Redis5, Redis6, Valkey, Cluster]) {
    // By `clientKind`, since `redis` takes a function for a locator.
    assert.throws(() => clientKind(type), {
      name: "TypeError",
      message: /the class \w+ \(make an instance of it\)/,
    });
  }
  assert.equal(clientKind(() => Promise.resolve("redis://127.0.0.1")), undefined, "a locator");
});

test("clients of other packages", () => {
  const old = kept(createClient3({ host, port }), (client) => (client as unknown as { quit(): void }).quit());
  refuses(/a client of redis 3 or older/, old);
  refuses(/a client of handy-redis/, { nodeRedis: old, get() {}, quit() {} });
  refuses(
    /without a connection by which messages come/,
    new Upstash({ url: "https://example.com", token: "secret" }),
  );
  refuses(/an instance of Map/, new Map());
});

test("node-redis: another interface to a client", async () => {
  refuses(/legacyMode/, createClient4({ legacyMode: true }));
  for (const client of [createClient4(), createClient5(), createClient()]) {
    refuses(/transaction/, client.multi());
  }
  for (const client of [createClient5(), createClient()]) refuses(/the legacy interface/, client.legacy());
  const [sentinel] = sentinels.sentinels;
  const all = createSentinel({
    name: sentinels.name,
    sentinelRootNodes: [{ host: sentinel!.host, port: sentinel!.port }],
  });
  kept(await all.connect(), (client) => client.destroy());
  refuses(/a Sentinel client lends/, await all.acquire());
});

test("one that can but listen", async () => {
  for (const Redis of [Redis4, Redis5, Valkey]) {
    const client = kept(new (Redis as typeof Redis5)({ host, port }), (client) => client.disconnect());
    await client.subscribe("c");
    refuses(/subscriber or monitor mode/, client);
  }
  for (const [protocol, fits] of [[2, false], [3, true]] as const) {
    const client = kept(new Redis6({ host, port, protocol }), (client) => client.disconnect());
    await client.subscribe("c");
    if (fits) await works(client);
    else refuses(/subscriber or monitor mode/, client);
  }
  const monitor = kept(new Redis5({ host, port }), (client) => client.disconnect());
  refuses(/subscriber or monitor mode/, kept(await monitor.monitor(), (client) => client.disconnect()));
  const socket = { host, port };
  const four = kept(createClient4({ socket: { ...socket } }), (client) => client.disconnect());
  await (await four.connect()).subscribe("c", () => {});
  refuses(/subscriber or monitor mode/, four);
  for (
    const [client, fits] of [
      [createClient5({ socket }), false],
      [createClient5({ socket, RESP: 3 }), true],
      [createClient({ socket, RESP: 2 }), false],
      [createClient({ socket }), true],
    ] as [ReturnType<typeof createClient>, boolean][]
  ) {
    kept(await client.connect(), (client) => client.destroy());
    await client.subscribe("c", () => {});
    if (fits) await works(client);
    else refuses(/subscriber or monitor mode/, client);
  }
});

test("options with which nothing could be kept", () => {
  const sentinels = [{ host, port }];
  refuses(/a client of replicas/, new Redis6({ sentinels, name: "m", role: "slave", lazyConnect: true }));
  const keyPrefix = Buffer.from("tenant:");
  for (const client of [createClient({ keyPrefix }), createClientPool({ keyPrefix })]) {
    refuses(/keyPrefix is no string/, client);
  }
});

test("a client that has not been connected is to be connected first", async () => {
  const socket = { host, port };
  const clients = [createClient4(), createClient5({ socket }), createClient({ socket })];
  for (
    const client of [...clients, createClientPool({ socket }), createCluster({ rootNodes: [{ socket }] })]
  ) {
    await using locks = new LockManager(redis(client as RedisTarget));
    await assert.rejects(locks.acquire("k"), (error: BackendError) => {
      assert.ok(error instanceof BackendError);
      assert.match(error.message, /not connected \(call its connect\(\)\)/);
      assert.equal(error.retryable, false);
      return true;
    });
  }
  const late = clients[2] as ReturnType<typeof createClient>;
  await using locks = new LockManager(redis(late));
  kept(await late.connect(), (client) => client.destroy());
  assert.equal(await (await locks.acquire("k")).release(), true);
});

async function works(target: RedisTarget): Promise<void> {
  await using locks = new LockManager(redis(target));
  assert.equal(await (await locks.acquire("k")).release(), true);
}
