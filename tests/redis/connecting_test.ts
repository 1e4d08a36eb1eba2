/** The ways to a Redis, and what is said when one is closed. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { redis, type RedisTarget } from "../../backends/redis.ts";
import type { BackendError } from "../../internal/errors.ts";
import { LockManager } from "../../mod.ts";
import { Proxy } from "../servers/proxy.ts";
import { RedisCluster, RedisServer } from "../servers/redis.ts";

const PASSWORD = "pa55-word";

/** The smallest rule that suffices, as the module doc has it. */
const ACL = `app on >${PASSWORD} resetkeys resetchannels ~holdfast/* &holdfast* -@all ` +
  "+eval +evalsha +time +hget +hgetall +hlen +hset +hdel +pexpire +publish +subscribe +unsubscribe +scan";

async function uses(target: RedisTarget): Promise<void> {
  const a = new LockManager(redis(target), { retryFor: 0 });
  const b = new LockManager(redis(target), { retryFor: 0 });
  const watch = b.watch("k");
  const unlocked = new Promise((resolve) => watch.addEventListener("unlocked", resolve, { once: true }));
  await watch.ready;
  const lock = await a.acquire("k", { metadata: { host: "one" } });
  const waiting = b.acquire("k");
  assert.equal((await b.query()).held?.length, 1);
  await lock.renew();
  await lock.release();
  const next = await waiting;
  assert.ok(next.token > lock.token);
  await unlocked;
  await next.release();
  await watch[Symbol.asyncDispose]();
  await a.close();
  await b.close();
}

/** Why an acquisition over this target is refused. */
async function refusal(target: RedisTarget): Promise<BackendError> {
  await using locks = new LockManager(redis(target), { retryFor: 0 });
  return await locks.acquire("k").then(
    () => assert.fail("it was not refused"),
    (error: BackendError) => error,
  );
}

/** All that an error shows when it is printed, causes included. */
function shown(error: unknown): string {
  return String(error) + JSON.stringify(error, Object.getOwnPropertyNames(error)) +
    (error instanceof Error && error.cause ? shown(error.cause) : "");
}

test("an ACL user with the smallest rule can do everything", async () => {
  await using server = await RedisServer.start({ args: ["--user", ...ACL.split(" ")] });
  await uses({ port: server.port, username: "app", password: PASSWORD });
  await uses(`redis://app:${PASSWORD}@127.0.0.1:${server.port}/0`);
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
  const clients = await Promise.all(
    cluster.servers.map((server) => server.cli("client", "list", "type", "normal")),
  );
  const connected = clients.map((list) => list.trim().split("\n").length - 1).reduce((a, b) => a + b);
  assert.equal(
    proxies.flatMap(({ connections }) => connections).length >= connected,
    true,
    "all by the proxies",
  );
  for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
});

test("a wrong password is refused for good, and shown nowhere", async () => {
  await using server = await RedisServer.start({
    args: ["--user", ...ACL.split(" "), "--user", "default", "off"],
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
  await using server = await RedisServer.start({ args: ["--user", ...ACL.replace("+hset ", "").split(" ")] });
  const error = await refusal({ port: server.port, username: "app", password: PASSWORD });
  assert.match(error.message, /Cannot .*can't run this command|NOPERM/);
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
  const lost = new Promise<Event>((resolve) => lock.addEventListener("lost", resolve, { once: true }));
  current = second;
  await first.kill();
  await lost;
  await using again = await locks.acquire("k");
  assert.ok(again.held);
  assert.match(await second.cli("exists", "holdfast/{k}"), /1/);
  assert.ok(asked >= 2);
});

test("an address that is none is a TypeError that does not repeat it", () => {
  for (
    const address of [`http://u:${PASSWORD}@h`, `redis:u:${PASSWORD}@@::`, `redis://u:${PASSWORD}@h/x`, 5]
  ) {
    assert.throws(() => redis(address as string), (error: Error) => {
      assert.ok(error instanceof TypeError);
      assert.match(error.message, /^(Cannot|Expected) /);
      assert.doesNotMatch(error.message, new RegExp(PASSWORD));
      return true;
    });
  }
});

test("options that cannot be are a TypeError that names them", () => {
  const wrong: [unknown, RegExp][] = [
    [[], /options/],
    [{ url: "redis://h" }, /Unknown option "url"/],
    [{ port: "6379" }, /"port".*number, got string/],
    [{ host: null }, /"host".*got null/],
    [{ sentinels: {} }, /"sentinels".*array, got object/],
    [{ sentinels: [5], name: "m" }, /a Sentinel .*object, got number/],
    [{ sentinels: [{ port: 1 }], name: "m" }, /a Sentinel .*"host"/],
    [{ cluster: [{ host: "h", port: "1" }] }, /"port" of a Cluster node .*number, got string/],
  ];
  for (const [options, message] of wrong) {
    assert.throws(() => redis(options as string), { name: "TypeError", message });
  }
  for (const given of [{ port: 0 }, "redis://h:0", { cluster: [{ host: "h", port: 0 }] }]) {
    assert.throws(() => redis(given), { name: "RangeError", message: /port.* 1 to 65535, got 0/ });
  }
});

test("nothing connects before the first call", async () => {
  await using locks = new LockManager(redis("redis://127.0.0.1:1"), { retryFor: 0 });
  const error = await locks.tryAcquire("k").catch((error: Error) => error) as BackendError;
  assert.match(error.message, /ECONNREFUSED|refused/i);
});
