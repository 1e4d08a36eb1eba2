/** Sentinels that are silent; and what is left, at the servers and the Sentinels, of connections that came to an end. */
import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { redis, type RedisTarget } from "../../backends/redis.ts";
import { openServer } from "../../backends/redis/client/server_link.ts";
import { LockManager } from "../../mod.ts";
import { HOST, until } from "../servers/process.ts";
import { RedisSentinels, type RedisServer } from "../servers/redis.ts";

let servers: RedisSentinels;
let master: RedisServer;

before(async () => {
  servers = await RedisSentinels.start();
  master = await servers.master();
});

after(() => servers[Symbol.asyncDispose]());

function address() {
  return { sentinels: servers.sentinels.map(({ host, port }) => ({ host, port })), name: servers.name };
}

// Red if: a list is asked from its beginning each time, or a silent Sentinel may take as long as a call.
test("past Sentinels that are silent", async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => void sockets.add(socket.on("error", () => {})));
  await new Promise<void>((listening) => silent.listen(0, HOST, listening));
  const { port } = silent.address() as { port: number };
  const { name, sentinels } = address();
  const list = [{ host: HOST, port }, { host: "localhost", port }, sentinels[0]!];
  await using locks = new LockManager(redis({ name, sentinels: list }));
  const lock = await locks.acquire("k");
  assert.equal(await lock.release(), true);
  for (const socket of sockets) socket.destroy();
  silent.close();
});

/** Our connections to the master. Sentinels have names, the replica a flag, and redis-cli is asking just now. */
async function connections(): Promise<string[]> {
  const clients = (await master.cli("client", "list")).trim().split("\n");
  return clients.filter((client) => / name= /.test(client) && !/ flags=S | cmd=client/.test(client))
    .map((client) => /^id=(\d+)/.exec(client)![1]!);
}

/** How many clients listen for a failover at the first Sentinel. */
async function ears(): Promise<number> {
  return (await servers.ask("client", "list")).split("\n").filter((client) => / sub=1 /.test(client)).length;
}

/** Waits until there are so many of both: a client takes a moment to arrive, and to go. */
async function left(wanted: { connections: number; ears: number }): Promise<void> {
  let now = "";
  await until(async () => {
    const [one, other] = [(await connections()).length, await ears()];
    now = `${one} connections and ${other} ears`;
    return one === wanted.connections && other === wanted.ears;
  }, () => `${now}, not ${wanted.connections} and ${wanted.ears}`);
}

/** Breaks the connections of a lock manager time and again. */
async function breaks(target: RedisTarget, each: { connections: number; ears: number }): Promise<void> {
  {
    await using locks = new LockManager(redis(target), { retryFor: 30_000 });
    for (let broken = 0; broken < 4; broken++) {
      await using _lock = await locks.acquire(`k${broken}`);
      await left(each);
      const [first] = await connections(); // by which messages come
      await master.cli("client", "kill", "id", first!);
    }
    await using _lock = await locks.acquire("k");
    await left(each);
  }
  await left({ connections: 0, ears: 0 });
}

// Goes red if: what ioredis has opened beside a connection is not closed when that ends by itself.
test("a connection that breaks takes its ears at the Sentinels along", () => {
  return breaks(address(), { connections: 1, ears: 1 });
});

// Goes red if: a link that is down is not closed.
test("with RESP2 as well, where commands have a connection of their own", () => {
  return breaks({ ...address(), protocol: 2 }, { connections: 2, ears: 2 });
});

// Goes red if: what ioredis has opened beside a connection is closed only if that stood.
test("one that is given up at any point of its opening leaves nothing", async () => {
  for (let turns = 0; turns < 60; turns++) {
    const abandon = new AbortController();
    const request = { channel: "holdfast:c", abandoned: abandon.signal, message() {}, down() {} };
    const opening = openServer(address(), request).then((link) => link.close(), () => {});
    for (let passed = 0; passed < turns; passed++) await turn();
    abandon.abort(new Error("given up"));
    await opening;
  }
  await left({ connections: 0, ears: 0 });
});
