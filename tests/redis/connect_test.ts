/** The ways to a Redis, and what is said when one is closed. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Redis } from "ioredis";
import { redis, type RedisTarget } from "../../backends/redis.ts";
import type { BackendError } from "../../internal/errors.ts";
import { LockManager } from "../../mod.ts";
import { until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { RedisCluster, RedisSentinels, RedisServer } from "../servers/redis.ts";
import { RULES } from "./acl.ts";
import { next } from "../support.ts";
import { uses as passes } from "./clients/uses.ts";
import { refusal, shown } from "./refusal.ts";

const PASSWORD = "pa55-word";

/** The smallest rule that suffices, as the module doc has it. */
const ACL = ["app", "on", `>${PASSWORD}`, ...RULES.base];

type Found = (error: null, address: string) => void;

/** Everything that is done with locks. */
function uses(target: RedisTarget): Promise<void> {
  return passes(target, target, "k");
}

test("an ACL user with the smallest rule can do everything", async () => {
  await using server = await RedisServer.start({ args: ["--user", ...ACL] });
  await uses({ port: server.port, username: "app", password: PASSWORD });
  await uses(`redis://app:${PASSWORD}@127.0.0.1:${server.port}/0`);
  await uses({ port: server.port, username: "app", password: PASSWORD, protocol: 2 });
  await server.cli("acl", "setuser", "app", ...RULES.db);
  await uses(`redis://app:${PASSWORD}@127.0.0.1:${server.port}/3`);
});

/** Goes red if: a node is asked for more, of which ioredis prints that it was refused. */
test("in a Cluster and by Sentinel too, and nothing is printed", { timeout: 60_000 }, async () => {
  const { warn, error } = console;
  const printed: unknown[] = [];
  console.warn = console.error = (...said) => printed.push(said);
  try {
    await using cluster = await RedisCluster.start();
    for (const server of cluster.servers) {
      await server.cli("acl", "setuser", ...ACL, ...RULES.cluster);
    }
    await uses({ cluster: [cluster.url.replace("//", `//app:${PASSWORD}@`)] });
    await using servers = await RedisSentinels.start();
    await (await servers.master()).cli("acl", "setuser", ...ACL, ...RULES.sentinel, ...RULES.db);
    const sentinels = servers.sentinels.map(({ host, port }) => ({ host, port }));
    for (const { port } of sentinels) {
      const client = new Redis(port);
      await client.call("acl", "setuser", "watcher", "on", ">pa55", ...RULES.watcher);
      client.disconnect();
    }
    await uses({
      ...{ sentinels, name: servers.name, sentinelUsername: "watcher", sentinelPassword: "pa55" },
      ...{ username: "app", password: PASSWORD, db: 3 },
    });
  } finally {
    Object.assign(console, { warn, error });
  }
  assert.deepEqual(printed, []);
});

test("a server or proxy that speaks RESP2 only gets a second connection for messages", async () => {
  await using server = await RedisServer.start();
  await uses({ port: server.port, protocol: 2 });
});

test("a Cluster behind address translation", async () => {
  await using cluster = await RedisCluster.start();
  const proxies = await Promise.all(cluster.servers.map((server) => Proxy.start(server)));
  const at = proxies.map(({ host, port }) => ({ host, port }));
  const natMap = Object.fromEntries(cluster.servers.map(({ host, port }, n) => [`${host}:${port}`, at[n]!]));
  await uses({ cluster: at, natMap });
  await using locks = new LockManager(redis({ cluster: at, natMap }));
  await using _lock = await locks.acquire("k");
  // Until the servers have seen the end of those that were closed.
  await until(async () => {
    const clients = await Promise.all(
      cluster.servers.map((server) => server.cli("client", "list", "type", "normal")),
    );
    const connected = clients.map((list) => list.trim().split("\n").length - 1).reduce((a, b) => a + b);
    return proxies.flatMap(({ connections }) => connections).length >= connected;
  }, () => "not all by the proxies");
  for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
});

test("a wrong password is refused for good, and shown nowhere", async () => {
  await using server = await RedisServer.start({
    args: ["--user", ...ACL, "--user", "default", "off"],
  });
  const error = await refusal(`redis://app:not-${PASSWORD}@127.0.0.1:${server.port}`);
  assert.match(error.message, /Cannot .*WRONGPASS.*check `username` and `password`/);
  assert.equal(error.retryable, false);
  assert.doesNotMatch(shown(error), new RegExp(PASSWORD));
  const none = await refusal(server.url);
  assert.match(none.message, /NOAUTH.*`username`/);
  assert.equal(none.retryable, false);
});

test("a missing permission is refused for good, and named", async () => {
  await using server = await RedisServer.start({
    args: ["--user", ...ACL.filter((word) => word !== "+pexpire")],
  });
  const error = await refusal({ port: server.port, username: "app", password: PASSWORD });
  assert.match(error.message, /Cannot .*(can't run this command|NOPERM|no permissions to run)/);
  assert.match(error.message, /smallest rule/);
  assert.equal(error.retryable, false);
});

test("TLS, with a certificate that is checked", async () => {
  await using server = await RedisServer.start({ tls: true });
  const ca = readFileSync(server.certificates!.ca, "utf8");
  await uses({ host: "127.0.0.1", port: server.port, tls: { ca } });
  const error = await refusal(server.url);
  assert.match(error.message, /certificate|UnknownIssuer/i);
});

/** Names only, as managed Clusters have them; the nodes call each other 127.0.0.1. */
test("a Cluster with TLS by its name", { timeout: 60_000 }, async () => {
  await using cluster = await RedisCluster.start({ tls: "DNS:localhost" });
  const ca = readFileSync(cluster.servers[0]!.certificates!.ca, "utf8");
  const ports = cluster.servers.map(({ port }) => port);
  const byName = ports.map((port) => ({ host: "localhost", port }));
  await uses({ cluster: [`rediss://localhost:${ports[0]}`], tls: { ca } });
  await uses({ cluster: byName, tls: { ca } });
  const dnsLookup = (_name: string, found: Found) => found(null, "127.0.0.1");
  await uses({ cluster: byName, tls: { ca }, dnsLookup });
  const byAddress = ports.map((port) => ({ host: "127.0.0.1", port }));
  await uses({ cluster: byAddress, tls: { ca, servername: "localhost" } });
  await uses({ cluster: byAddress.map((node) => ({ ...node, servername: "localhost" })), tls: { ca } });
  const natMap = (address: string) => ({ host: "localhost", port: Number(address.split(":")[1]) });
  await uses({ cluster: [byName[0]!], tls: { ca }, natMap });
  const tunnel = Object.fromEntries(
    byAddress.map((node) => [`127.0.0.1:${node.port}`, { ...node, servername: "localhost" }]),
  );
  await uses({ cluster: [{ ...byAddress[0]!, servername: "localhost" }], tls: { ca }, natMap: tunnel });
  // Goes red if: whatever certificate is trusted that the authority has signed.
  for (
    const wrong of [
      { cluster: byAddress, tls: { ca } },
      { cluster: byName, tls: { ca, servername: "elsewhere" } },
      { cluster: byName.map((node) => ({ ...node, servername: "elsewhere" })), tls: { ca } },
      { cluster: byName, tls: {} },
      { cluster: [{ ...byName[0]!, host: "elsewhere.example" }], tls: { ca }, dnsLookup },
    ]
  ) {
    const error = await refusal(wrong);
    assert.match(error.message, /certificate.*`tls.servername`/);
    assert.equal(error.retryable, false);
  }
});

/** By address, as before: the certificates need not be for the name that leads to the first node. */
test("a Cluster with TLS by addresses", { timeout: 60_000 }, async () => {
  await using cluster = await RedisCluster.start({ tls: "IP:127.0.0.1,DNS:node.example" });
  const { port, certificates } = cluster.servers[0]!;
  const ca = readFileSync(certificates!.ca, "utf8");
  await uses({ cluster: [`rediss://127.0.0.1:${port}`], tls: { ca } });
  const dnsLookup = (_name: string, found: Found) => found(null, "127.0.0.1");
  await uses({ cluster: [{ host: "elsewhere.example", port }], tls: { ca }, dnsLookup });
  await uses({ cluster: [{ host: "node.example", port }], tls: { ca }, dnsLookup });
});

test("a socket, and a Valkey's URL", async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-socket-"));
  const path = join(folder, "redis.sock");
  await using server = await RedisServer.start({ args: ["--unixsocket", path] });
  await uses(`unix://${path}?db=3`);
  assert.match(await server.cli("-n", "3", "dbsize"), /^1/);
  assert.match(await server.cli("dbsize"), /^0/);
  await uses({ path });
  await uses(`valkey://127.0.0.1:${server.port}/4`);
  await uses(`redis://localhost:${server.port}?family=4&protocol=2`);
  rmSync(folder, { recursive: true });
});

test("a locator is asked at every connection, and led to the server of the day", async () => {
  await using first = await RedisServer.start();
  await using second = await RedisServer.start();
  let current = first;
  let asked = 0;
  await using locks = new LockManager(redis(() => {
    asked++;
    return Promise.resolve(current.url);
  }));
  const lock = await locks.acquire("k", { ttl: 1_000 });
  const lost = next(lock, "lost");
  current = second;
  await first.kill();
  await lost;
  await using again = await locks.acquire("k");
  assert.ok(again.held);
  assert.match(await second.cli("exists", "holdfast/{k}"), /1/);
  assert.ok(asked >= 2);
});

test("nothing connects before the first call", async () => {
  await using locks = new LockManager(redis("redis://127.0.0.1:1"), { retryFor: 0 });
  const error = await locks.tryAcquire("k").catch((error: Error) => error) as BackendError;
  assert.match(error.message, /ECONNREFUSED|refused/i);
});
