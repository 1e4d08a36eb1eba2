/** A setting that the server refuses is an error: no lock is taken with another one instead. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Redis } from "ioredis";
import { redis, type RedisServerOptions } from "../../backends/redis.ts";
import { LockManager } from "../../mod.ts";
import { RedisCluster, RedisSentinels, RedisServer } from "../servers/redis.ts";
import { refusal, refused } from "./refusal.ts";

const SLOW = { timeout: 60_000 };
let server: RedisServer;

before(async () => {
  server = await RedisServer.start();
});
after(() => server[Symbol.asyncDispose]());

async function untouched(at: RedisServer): Promise<void> {
  assert.equal((await at.cli("dbsize")).trim(), "0", "no lock was taken elsewhere");
}

// Goes red if: an error before a connection is ready is not looked at (the lock is taken in database 0).
test("a database that the server does not have", async () => {
  const much = /DB index is out of range.*`databases`/;
  await refused(`${server.url}/99`, much);
  await refused({ port: server.port, db: 99 }, much);
  await refused({ port: server.port, db: 99, protocol: 2 }, much);
  await refused(() => Promise.resolve(`${server.url}?db=99`), much);
  await untouched(server);
  await using locks = new LockManager(redis(`${server.url}/15`));
  await using _lock = await locks.acquire("k");
  assert.match(await server.cli("-n", "15", "dbsize"), /^1/);
});

test("a database that the ACL user may not select", async () => {
  await server.cli("acl", "setuser", "here", "on", ">pa55", "~*", "&*", "+@all", "-select");
  await refused(`redis://here:pa55@127.0.0.1:${server.port}/3`, /NOPERM.*\+select/);
  await untouched(server);
  await using locks = new LockManager(redis(`redis://here:pa55@127.0.0.1:${server.port}`));
  await using _lock = await locks.acquire("k");
  await server.cli("flushall");
});

test("a database that a client handed in was refused", async () => {
  const client = new Redis(server.port, { db: 99 });
  client.on("error", () => {});
  try {
    await refused(client, /DB index is out of range/);
    await untouched(server);
  } finally {
    client.disconnect();
  }
});

// Goes red if: ioredis is left to print a warning and to go on without the password.
test("a password that the server has no use for", async () => {
  const warn = console.warn;
  const warnings: unknown[] = [];
  console.warn = (...said) => warnings.push(said);
  try {
    await refused({ port: server.port, password: "pa55", protocol: 2 }, /Cannot log in .*leave.*`password`/);
  } finally {
    console.warn = warn;
  }
  assert.deepEqual(warnings, []);
});

test("a database or the check of a master that Sentinels name", SLOW, async () => {
  await using servers = await RedisSentinels.start();
  const master = await servers.master();
  const at: RedisServerOptions = {
    sentinels: servers.sentinels.map(({ host, port }) => ({ host, port })),
    name: servers.name,
  };
  await refused({ ...at, db: 99 }, /DB index is out of range/);
  await refused({ ...at, db: 99, protocol: 2 }, /DB index is out of range/);
  // Goes red if: a master that will not say its role is taken at its word.
  await master.cli("acl", "setuser", "quiet", "on", ">pa55", "~*", "&*", "+@all", "-info");
  await refused({ ...at, username: "quiet", password: "pa55" }, /whether it is the master.*\+info/);
  // Goes red if: TLS is only spoken to single servers.
  await refusal({ ...at, tls: {} });
  await untouched(master);
});

test("a node of a Cluster that another let in", SLOW, async () => {
  await using cluster = await RedisCluster.start();
  const [strict, ...others] = cluster.servers;
  for (const node of others) await node.cli("acl", "setuser", "app", "on", ">pa55", "~*", "&*", "+@all");
  const url = `redis://app:pa55@${others[0]!.host}:${others[0]!.port}`;
  const key = await keyAt(cluster, strict!);
  const elsewhere = await keyAt(cluster, others[1]!);
  await using locks = new LockManager(redis({ cluster: [url] })); // what is final is not repeated
  // Messages come by any master, so by this one as well: then the Cluster is refused as a whole.
  const held = await locks.acquire(elsewhere).catch((error) => error);
  assert.ok(held.held || held.retryable === false, held.message);
  await assert.rejects(locks.acquire(key), { retryable: false, message: /WRONGPASS/ });
  await untouched(strict!);
  await refused(
    { cluster: [cluster.url], password: "pa55", protocol: 2 },
    /Cannot log in .*leave.*`password`/,
  );
});

/** A key that this node serves. */
async function keyAt(cluster: RedisCluster, node: RedisServer): Promise<string> {
  for (let n = 0;; n++) if (await cluster.master(`holdfast/{k${n}}`) === node) return `k${n}`;
}
