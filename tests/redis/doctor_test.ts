/** What `holdfast doctor` finds in Redis that is really set up so. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { judged, RULES } from "../../backends/redis/doctor/rules.ts";
import { assertFound, examined, PASSWORD, unsafeTopics } from "../doctor.ts";
import { ServerClock } from "../servers/clock.ts";
import { until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { RedisCluster, RedisSentinels, RedisServer } from "../servers/redis.ts";
import { RULES as ACL } from "./acl.ts";

const SLOW = { timeout: 120_000 };

const server = await RedisServer.start();
after(() => server[Symbol.asyncDispose]());

test("a server that keeps what it is told is safe, and nothing stays of the lock that was tried", async () => {
  await using durable = await RedisServer.start({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
  const findings = await examined(durable.url);
  assert.deepEqual(unsafeTopics(findings), []);
  for (const topic of ["memory", "persistence", "failover", "clock", "round trip", "lock"]) {
    assertFound(findings, topic, "good");
  }
  await until(async () => (await durable.cli("keys", "*")).trim() === "", () => "a key stays");
});

test("a server that evicts keys with a ttl makes locks unsafe", async () => {
  await using small = await RedisServer.start({
    args: ["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"],
  });
  const findings = await examined(small.url);
  assert.deepEqual(unsafeTopics(findings), ["memory"]);
  assertFound(findings, "memory", "unsafe", /volatile-lru.*noeviction/);
  await small.cli("config", "set", "maxmemory", "0");
  assertFound(await examined(small.url), "memory", "note", /once maxmemory is set/);
  await small.cli("config", "set", "maxmemory-policy", "noeviction");
  await small.cli("config", "set", "maxmemory", "100mb");
  assertFound(await examined(small.url), "memory", "good");
});

test("what a restart or a crash forgets is said", async () => {
  assertFound(await examined(server.url), "persistence", "note", /restart forgets locks.*appendonly yes/);
  await using logged = await RedisServer.start({ args: ["--appendonly", "yes"] });
  assertFound(await examined(logged.url), "persistence", "note", /appendfsync everysec/);
});

test("a replica gives no locks, and its master may lose some", async () => {
  await using replica = await RedisServer.start({ args: ["--replicaof", server.host, `${server.port}`] });
  await server.replicated();
  assert.deepEqual(unsafeTopics(await examined(replica.url)), ["role", "lock"]);
  const findings = await examined(server.url);
  assert.deepEqual(unsafeTopics(findings), []);
  assertFound(findings, "failover", "note", /Replicas: 1\..*Set min-replicas-to-write 1/);
  await server.cli("config", "set", "min-replicas-to-write", "1");
  assertFound(await examined(server.url), "failover", "note", /\. min-replicas-to-write keeps/);
  await server.cli("config", "set", "min-replicas-to-write", "0");
});

test(
  "a right that is missing is named with its grant, and what may not be seen is not guessed",
  SLOW,
  async () => {
    const url = `redis://app:${PASSWORD}@${server.host}:${server.port}`;
    const user = (...rules: string[]) =>
      server.cli("acl", "setuser", "app", "reset", "on", `>${PASSWORD}`, ...rules);
    await user(...ACL.base);
    const smallest = await examined(url);
    assert.deepEqual(unsafeTopics(smallest), []);
    assertFound(smallest, "server", "note", /^Cannot be seen: .*grant \+info/);
    assertFound(smallest, "lock", "good");
    await user(...ACL.base, "+info");
    assert.equal((await examined(url)).some(({ says }) => /grant \+info/.test(says)), false);
    for (const right of ["evalsha", "subscribe", "zadd"]) {
      await user(...ACL.base, `-${right}`);
      const findings = await examined(url);
      assert.deepEqual(unsafeTopics(findings), ["lock"], right);
      assertFound(
        findings,
        "lock",
        "unsafe",
        right === "zadd" ? /ACL|permission/ : new RegExp(`grant \\+${right}`),
      );
    }
    await user(...ACL.base, "resetkeys", "resetchannels", "~other/*", "&other/*", "&holdfast:*");
    assertFound(await examined(url), "lock", "unsafe", /permission/);
    assertFound(await examined(url, { prefix: "other" }), "lock", "good");
  },
);

test("a password that is not taken is a finding, which does not repeat it", async () => {
  const findings = await examined(`redis://nobody:${PASSWORD}@${server.host}:${server.port}`);
  assert.deepEqual(unsafeTopics(findings), ["access"]);
  assertFound(findings, "access", "unsafe", /WRONGPASS/);
});

test("a server that is away, or says nothing, is an error: nothing is known of it", SLOW, async () => {
  await assert.rejects(examined(`redis://app:${PASSWORD}@127.0.0.1:1`), { name: "BackendError" });
  await using silent = await RedisServer.start();
  silent.pause();
  await assert.rejects(examined(`${silent.url}?connectTimeout=500`, { timeout: 500 }), {
    name: "BackendError",
  });
});

test("a clock that is an hour ahead is told", async () => {
  const clock = await ServerClock.create();
  clock.step(3_600_000);
  await using ahead = await RedisServer.start({ env: clock.env });
  const findings = await examined(ahead.url);
  assertFound(findings, "clock", "note", /It is (1 h|3[56]\d\d s) ahead of this machine/);
  assert.deepEqual(unsafeTopics(findings), []);
  assertFound(await examined(server.url), "clock", "good");
});

test(
  "a way there and back that takes longer than a third of the ttl leaves no time for a renewal",
  SLOW,
  async () => {
    await using proxy = await Proxy.start(server);
    proxy.delay(200);
    const findings = await examined(`redis://127.0.0.1:${proxy.port}`, { ttl: 1_000 });
    assertFound(findings, "round trip", "unsafe", /no renewal fits into a ttl of 1 s/);
  },
);

test("a ttl that is out of range is refused", async () => {
  const findings = await examined(server.url, { ttl: 50 });
  assertFound(findings, "ttl", "unsafe", /50 ms is refused.*100 ms to 24 h/);
});

test("Sentinels: their number, and whether they are enough", SLOW, async () => {
  await using set = await RedisSentinels.start();
  const hosts = set.sentinels.map(({ host, port }) => `${host}:${port}`);
  const url = `redis+sentinel://${hosts.join()}/${set.name}`;
  const findings = await examined(url);
  assert.deepEqual(unsafeTopics(findings), []);
  assertFound(findings, "sentinels", "good", /There are 3, and 2 have to agree/);
  assertFound(findings, "failover", "note", /Replicas: 1/);
  await set.impatient();
  await set.sentinels[1]!.kill();
  await set.sentinels[2]!.kill();
  await until(
    async () => /NOQUORUM/.test(await set.ask("sentinel", "ckquorum", set.name)),
    () => "a quorum stays",
  );
  // One of several times: a Sentinel that is alone has a third of a second to answer.
  let fewer = await examined(url).catch(() => undefined);
  for (let left = 5; fewer === undefined && left > 0; left--) {
    fewer = await examined(url).catch(() => undefined);
  }
  assert.ok(fewer, "the Sentinel that is left does not tell the master");
  assertFound(fewer, "sentinels", "note", /Too few of them/);
  assertFound(fewer, "sentinels", "note", new RegExp(`Cannot connect to Redis at ${hosts[1]}`));
});

test("a Cluster: all its masters, and slots that nobody serves", SLOW, async () => {
  await using cluster = await RedisCluster.start();
  const url = cluster.url.replace("redis:", "redis+cluster:");
  const [first, second] = cluster.servers;
  await second!.cli("config", "set", "maxmemory", "100mb");
  await second!.cli("config", "set", "maxmemory-policy", "allkeys-lru");
  const findings = await examined(url);
  assert.deepEqual(unsafeTopics(findings), ["memory"]);
  assertFound(findings, "memory", "unsafe", new RegExp(`^127.0.0.1:${second!.port}: It evicts`));
  assertFound(findings, "cluster", "good", /Masters: 3, which serve 16384 slots/);
  assertFound(await examined(first!.url), "cluster", "unsafe", /write redis\+cluster:/);
  // By default no slot would be served then; and that, each node says after its own time.
  for (const one of cluster.servers) await one.cli("config", "set", "cluster-require-full-coverage", "no");
  await first!.cli("cluster", "delslots", "0");
  assertFound(await examined(url), "cluster", "unsafe", /16383 of 16384 slots/);
});

test("versions that no server here has", () => {
  const about = (info: Record<string, string>) => judged({ info, appendfsync: undefined, ahead: 0 }, RULES);
  assertFound(about({ redis_version: "6.0.16" }), "version", "unsafe", /6\.2 or later/);
  assertFound(about({ redis_version: "7.0.15" }), "version", "note", /Redis 7\.0\.15: its makers/);
  assertFound(about({ redis_version: "8.2.1" }), "version", "good", /Redis 8\.2\.1/);
  assertFound(about({ redis_version: "6.3.4", mvcc_depth: "0" }), "version", "good", /KeyDB 6\.3\.4/);
  assertFound(
    about({ redis_version: "7.2.4", valkey_version: "8.1.0" }),
    "version",
    "good",
    /Valkey 8\.1\.0/,
  );
  assertFound(
    about({ redis_version: "7.4.0", dragonfly_version: "df-v1.27.1" }),
    "version",
    "note",
    /Dragonfly/,
  );
});
