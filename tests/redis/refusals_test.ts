/** What waiting does not mend fails at once, and says what to do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Cluster, Redis } from "ioredis";
import { redis, type RedisServerOptions, type RedisTarget } from "../../backends/redis.ts";
import { redlock } from "../../backends/redlock.ts";
import { redisError } from "../../backends/redis/client/errors.ts";
import type { BackendError, QuorumError } from "../../internal/errors.ts";
import { LockManager } from "../../mod.ts";
import { until } from "../servers/process.ts";
import { RedisCluster, RedisSentinels, RedisServer } from "../servers/redis.ts";
import { next } from "../support.ts";
import { refusal, refused, shown } from "./refusal.ts";

const SLOW = { timeout: 60_000 };
const SECRET = "pa55-word";

test("a Cluster that refuses", SLOW, async () => {
  await using cluster = await RedisCluster.start();
  const [one, two, three] = cluster.servers;
  const at = cluster.servers.map(({ host, port }) => ({ host, port }));
  for (const { cli } of cluster.servers.map((server) => ({ cli: server.cli.bind(server) }))) {
    await cli("acl", "setuser", "app", "on", `>${SECRET}`, "~*", "&*", "+@all");
    await cli("acl", "setuser", "slotless", "on", `>${SECRET}`, "~*", "&*", "+@all", "-cluster|slots");
    await cli("acl", "setuser", "stateless", "on", `>${SECRET}`, "~*", "&*", "+@all", "-cluster|info");
    await cli("acl", "setuser", "deaf", "on", `>${SECRET}`, "~*", "&holdfast:no", "+@all");
  }
  await refused({ cluster: at, username: "app", password: `not-${SECRET}` }, /WRONGPASS.*`password`/);
  await refused({ cluster: [`redis://app:${SECRET}x@${one!.host}:${one!.port}`] }, /WRONGPASS.*`password`/);
  await refused({ cluster: at, username: "slotless", password: SECRET }, /NOPERM.*grant \+cluster\|slots/);
  await refused({ cluster: at, username: "stateless", password: SECRET }, /NOPERM.*grant \+cluster\|info/);
  await refused({ cluster: at, username: "deaf", password: SECRET }, /NOPERM.*smallest rule/);

  // Nodes that are away, or whose names are not known, are no reason to wait for what another has refused;
  // nor to refuse.
  await works({ cluster: ["redis://no.such.name.invalid", one!.url] });
  await two!.kill();
  await refused({ cluster: at, username: "app", password: `not-${SECRET}` }, /WRONGPASS/);
  await three!.kill();
  await one!.kill();
  const away = await refusal({ cluster: at });
  assert.equal(away.retryable, true);
  assert.match(away.message, /ECONNREFUSED|refused/);
});

test("a server that is no Cluster, or no Sentinel", async () => {
  await using server = await RedisServer.start();
  const { host, port } = server;
  await refused({ cluster: [server.url] }, /cluster support disabled.*by itself/);
  await refused({ sentinels: [{ host, port }], name: "m" }, /unknown command/);
});

test("Sentinels that refuse", SLOW, async () => {
  await using servers = await RedisSentinels.start();
  const sentinels = servers.sentinels.map(({ host, port }) => ({ host, port }));
  const at: RedisServerOptions = { sentinels, name: servers.name };
  await refused({ ...at, name: "nobody" }, /No such master.*`name`/);
  await refused(
    { ...at, sentinelUsername: "app", sentinelPassword: SECRET },
    /WRONGPASS.*`sentinelPassword`/,
  );
  await refused({ ...at, password: SECRET, username: "app" }, /WRONGPASS.*`password`/);
  await refused(`redis://127.0.0.1:${sentinels[0]!.port}`, /unknown command.*no Sentinel/);
  await sentinelsAsk(sentinels, "acl", "setuser", "default", "resetpass", `>${SECRET}`);
  await refused(at, /NOAUTH.*`sentinelPassword`/);
  await works({ ...at, sentinelPassword: SECRET });

  await servers.sentinels[0]!.kill();
  await works({ ...at, sentinelPassword: SECRET });
  await refused({ ...at, sentinelPassword: `not-${SECRET}` }, /WRONGPASS/);
  await servers.sentinels[1]!.kill();
  await works({ ...at, sentinelPassword: SECRET });
  await servers.sentinels[2]!.kill();
  const away = await refusal({ ...at, sentinelPassword: SECRET });
  assert.equal(away.retryable, true);
  assert.match(away.message, /no Sentinel tells the master "holdfast".*(ECONNREFUSED|refused)/);
});

async function sentinelsAsk(sentinels: readonly { port: number }[], ...command: string[]): Promise<void> {
  for (const { port } of sentinels) {
    const client = new Redis(port);
    await client.call(...command as [string]);
    client.disconnect();
  }
}

/** At a first attempt: one of several, since it takes no longer than a third of a second at a Sentinel. */
async function works(target: RedisTarget): Promise<void> {
  for (let left = 5;; left--) {
    try {
      await using locks = new LockManager(redis(target), { retryFor: 0 });
      await using _lock = await locks.acquire("k");
      return;
    } catch (error) {
      if (left === 0 || !(error as BackendError).retryable) throw error;
    }
  }
}

test("a server without scripts; the text of ours is not shown", async () => {
  for (const command of ["EVAL", "EVALSHA"]) {
    await using server = await RedisServer.start({ args: ["--rename-command", command, ""] });
    await refused(
      server.url,
      /unknown command .EVAL.*EVAL and EVALSHA/,
      /redis\.call|local |holdfast\/\{k\}/,
    );
  }
});

test("a server that does not know how to log in; the password is not shown", async () => {
  const args = ["--rename-command", "HELLO", "", "--rename-command", "AUTH", ""];
  await using server = await RedisServer.start({ args });
  await refused(`redis://app:${SECRET}@127.0.0.1:${server.port}`, /unknown command/);
});

test("a certificate that cannot be trusted or is missing, and no TLS to a server that wants it", async () => {
  await using server = await RedisServer.start({ tls: true });
  await refused(server.url, /certificate.*`tls.ca`/i);
  await using strict = await RedisServer.start({ tls: true, args: ["--tls-auth-clients", "yes"] });
  const bare = await refusal({ port: strict.port, tls: { rejectUnauthorized: false } });
  assert.match(bare.message, /`tls.cert`/);
  const error = await refusal(`redis://127.0.0.1:${server.port}`);
  assert.match(error.message, /rediss:/);
});

test("a Redlock node that is a Cluster, or part of one", SLOW, async () => {
  await using cluster = await RedisCluster.start();
  const { host, port } = cluster.servers[0]!;
  const client = new Cluster([{ host, port }], { lazyConnect: true });
  for (const node of [{ cluster: [{ host, port }] }, redis({ cluster: [cluster.url] }), client]) {
    assert.throws(() => redlock([node, "redis://b", "redis://c"]), {
      name: "TypeError",
      message: /Cannot use a Cluster as a Redlock node/,
    });
  }
  client.disconnect();
  // One that serves every key by itself, for now.
  await using alone = await RedisServer.start({ args: ["--cluster-enabled", "yes"] });
  await alone.cli("cluster", "addslotsrange", "0", "16383");
  await until(
    async () => (await alone.cli("cluster", "info")).includes("cluster_state:ok"),
    () => "no Cluster",
  );
  for (
    const nodes of [
      cluster.servers.map(({ url }) => url),
      [alone.url],
      [() => Promise.resolve({ cluster: [{ host, port }] })],
    ]
  ) {
    await using locks = new LockManager(redlock(nodes), { retryFor: 0 });
    const error = await locks.acquire("k").then(() => assert.fail("granted"), (error: QuorumError) => error);
    assert.equal(error.retryable, false, error.message);
    assert.match(error.message, /part of a Cluster/);
  }
});

test("Redlock nodes that refuse: for good only if no majority is left", SLOW, async () => {
  await using one = await RedisServer.start();
  await using two = await RedisServer.start();
  const wrong = (server: RedisServer) => server.url.replace("//", `//app:${SECRET}@`);
  const fails = async (nodes: string[]) => {
    await using locks = new LockManager(redlock(nodes), { retryFor: 0 });
    return await locks.acquire("k").then(() => assert.fail("granted"), (error: QuorumError) => error);
  };
  await using three = await RedisServer.start();
  const refusing = await fails([wrong(one), wrong(two), three.url]);
  assert.equal(refusing.retryable, false);
  assert.doesNotMatch(shown(refusing), new RegExp(SECRET));
  assert.equal((await fails([wrong(one), two.url, "redis://127.0.0.1:1"])).retryable, true);
});

test("a locator that returns nonsense", async () => {
  const client = { duplicate() {} };
  for (
    const nonsense of [undefined, null, "", "localhost:6379", 5, {}, [], client, `redis://:${SECRET}%@h`]
  ) {
    if (nonsense !== null && typeof nonsense === "object" && Object.keys(nonsense).length === 0) continue;
    await refused(() => Promise.resolve(nonsense as string), /Cannot .*what the locator .* returned: Cannot/);
  }
  const away = await refusal(() => Promise.reject(new Error("no registry")));
  assert.equal(away.retryable, true);
  assert.match(away.message, /no registry/);
});

test("what servers of all versions say", () => {
  const final: [string, RegExp][] = [
    // Redis 6.2
    ["NOPERM this user has no permissions to run the 'eval' command or its subcommand", /grant \+eval;/],
    ["NOPERM this user has no permissions to access one of the keys used as arguments", /smallest rule/],
    ["NOPERM this user has no permissions to access one of the channels used as arguments", /smallest rule/],
    [
      "ERR Error running script (call to f_0): @user_script:1: @user_script: 1: The user executing the script " +
      "can't access at least one of the keys mentioned in the command arguments",
      /smallest rule/,
    ],
    ["ERR unknown command `EVALSHA`, with args beginning with: `0`, `1`, ", /EVAL and EVALSHA/],
    ["ERR Error running script: @user_script: 3: Unknown Redis command called from script", /Redis 6.2/],
    ["ERR invalid DB index", /`databases`/],
    // Redis 7.0
    ["NOPERM this user has no permissions to run the 'cluster|slots' command", /grant \+cluster\|slots;/],
    ["ERR The user executing the script can't run this command or subcommand script: 0", /smallest rule/],
    ["ERR Unknown Redis command called from script script: 0, on @user_script:3.", /Redis 6.2/],
    // Redis 7.2, 8; Valkey
    ["NOPERM User app has no permissions to run the 'select' command", /grant \+select;/],
    ["NOPERM No permissions to access a key", /smallest rule/],
    ["NOPERM No permissions to access a channel", /smallest rule/],
    [
      "ERR ACL failure in script: User app has no permissions to run the 'zadd' command script: 0, " +
      "on @user_script:3.",
      /grant \+zadd;/,
    ],
    ["NOPERM ACL failure in script: No permissions to access a key", /smallest rule/],
    // All
    ["WRONGPASS invalid username-password pair or user is disabled.", /`password`/],
    ["ERR invalid password", /`password`/],
    ["NOAUTH Authentication required.", /`username`/],
    ["DENIED Redis is running in protected mode because protected mode is enabled", /password/],
    ["ERR SELECT is not allowed in cluster mode", /Cluster has only 0/],
    ["ERR DB index is out of range", /`databases`/],
  ];
  for (const [said, hint] of final) {
    const error = redisError("ask", new Error(said));
    assert.equal(error.retryable, false, said);
    assert.match(error.message, hint);
  }
  for (
    const said of [
      "TRYAGAIN Multiple keys request during rehashing of slot",
      "CLUSTERDOWN The cluster is down",
      "LOADING Redis is loading the dataset in memory",
      "ERR max number of clients reached",
      "READONLY You can't write against a read only replica.",
      "Connection is closed.",
    ]
  ) assert.equal(redisError("ask", new Error(said)).retryable, true, said);
});

test("a watch that the server refuses ends with the reason", async () => {
  await using server = await RedisServer.start();
  await server.cli("acl", "setuser", "app", "on", `>${SECRET}`, "~*", "&holdfast:*", "+@all");
  await using locks = new LockManager(
    redis({ host: server.host, port: server.port, username: "app", password: SECRET }),
  );
  await using watch = locks.watch("k");
  const error = next(watch, "error");
  await assert.rejects(watch.ready, /NOPERM/);
  await error;
});
