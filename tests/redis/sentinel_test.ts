/** What is left at the Sentinels of connections that came to an end. */
import { after, before, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { redis } from "../../backends/redis.ts";
import { openServer } from "../../backends/redis/server_link.ts";
import { LockManager } from "../../mod.ts";
import { until } from "../servers/process.ts";
import { RedisSentinels } from "../servers/redis.ts";

let servers: RedisSentinels;

before(async () => {
  servers = await RedisSentinels.start();
});

after(() => servers[Symbol.asyncDispose]());

function address() {
  return { sentinels: servers.sentinels.map(({ host, port }) => ({ host, port })), name: servers.name };
}

/** How many clients listen for a failover at the first Sentinel. */
async function listeners(): Promise<number> {
  const clients = await servers.ask("client", "list");
  return clients.split("\n").filter((client) => / sub=1 /.test(client)).length;
}

/** Waits until so many listen: a client takes a moment to arrive, and to go. */
async function listen(count: number): Promise<void> {
  let now = -1;
  await until(async () => (now = await listeners()) === count, () => `${now} listen, not ${count}`, 10_000);
}

test("a connection that breaks takes its ears at the Sentinels along", async () => {
  await using locks = new LockManager(redis(address()), { retryFor: 30_000 });
  const master = await servers.master();
  for (let broken = 0; broken < 4; broken++) {
    await using _lock = await locks.acquire(`k${broken}`);
    await listen(1);
    await master.cli("client", "kill", "type", "pubsub");
    await master.cli("client", "kill", "type", "normal");
  }
  await using _lock = await locks.acquire("k");
  await listen(1);
});

test("with RESP2 as well, where commands have a connection of their own", async () => {
  await using locks = new LockManager(redis({ ...address(), protocol: 2 }), { retryFor: 30_000 });
  const master = await servers.master();
  const connected = async () =>
    Number(/connected_clients:(\d+)/.exec(await master.cli("info", "clients"))![1]);
  const others = await connected();
  for (let broken = 0; broken < 4; broken++) {
    await using _lock = await locks.acquire(`k${broken}`);
    await listen(2);
    await master.cli("client", "kill", "type", "pubsub");
  }
  await using _lock = await locks.acquire("k");
  await listen(2);
  let now = 0;
  await until(async () => (now = await connected()) === others + 2, () => `${now - others} connections`);
});

test("one that is given up at any point of its opening leaves nothing", async () => {
  await listen(0);
  for (let turns = 0; turns < 60; turns++) {
    const abandon = new AbortController();
    const request = { channel: "holdfast:c", abandoned: abandon.signal, message() {}, down() {} };
    const opening = openServer(address(), request).then((link) => link.close(), () => {});
    for (let passed = 0; passed < turns; passed++) await turn();
    abandon.abort(new Error("given up"));
    await opening;
  }
  await listen(0);
});
