/** A store that does not answer does not keep a manager from closing, whichever it is. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { Etcd3 } from "etcd3";
import { Redis } from "ioredis";
import pg from "pg";
import postgresjs from "postgres";
import { consul } from "../backends/consul.ts";
import { etcd } from "../backends/etcd.ts";
import { memory } from "../backends/memory.ts";
import { postgres } from "../backends/postgres.ts";
import { redis } from "../backends/redis.ts";
import { redlock } from "../backends/redlock.ts";
import { openDatabase } from "../backends/sqlite/client/database.ts";
import { zookeeper } from "../backends/zookeeper.ts";
import type { Backend } from "../internal/backend.ts";
import { LockManager } from "../mod.ts";
import { HOST } from "./servers/process.ts";
import { RedisServer } from "./servers/redis.ts";
import { Scene } from "./sqlite/scene.ts";

const patient = { timeout: 60_000 };

/** Milliseconds: the promise of `close()`, whatever the ttl. */
const BOUND = 20_000;

/** An address at which everybody is welcome, and nobody answers. */
async function silence(): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  }).listen(0, HOST);
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** Closes, while a lock is waited for and a key is watched. */
async function closes(locks: LockManager): Promise<void> {
  locks.watch("k");
  const asked = assert.rejects(locks.acquire("k"), { name: "ManagerClosedError" });
  // As long as it takes to connect to the next server, and to ask.
  await new Promise((resolve) => setTimeout(resolve, 200));
  const since = performance.now();
  await locks.close();
  assert.ok(performance.now() - since < BOUND);
  await asked;
}

const STORES: Record<string, (port: number) => Backend> = {
  "redis": (port) => redis({ port }),
  "redis with RESP2": (port) => redis({ port, protocol: 2 }),
  "redis by Sentinels": (port) => redis({ sentinels: [{ host: HOST, port }], name: "m" }),
  "redis in a Cluster": (port) => redis({ cluster: [{ host: HOST, port }] }),
  "redlock": (port) => redlock([HOST, "localhost"].map((host) => ({ host, port }))),
  "etcd": (port) => etcd(`http://${HOST}:${port}`),
  "zookeeper": (port) => zookeeper(`${HOST}:${port}`),
  "consul": (port) => consul(`http://${HOST}:${port}`),
  "postgres": (port) => postgres(`postgres://u@${HOST}:${port}/d`),
};

test("a server that never says anything, of whatever kind", patient, async () => {
  await using server = await silence();
  await Promise.all(
    Object.entries(STORES).map(([name, open]) =>
      closes(new LockManager(open(server.port))).catch((error) => {
        throw new Error(`${name}: ${error.message}`, { cause: error });
      })
    ),
  );
});

test("clients that were handed in, and have never reached their servers", patient, async () => {
  await using server = await silence();
  const one = new Redis({ port: server.port });
  const other = new Etcd3({ hosts: `http://${HOST}:${server.port}` });
  const pool = new pg.Pool({ host: HOST, port: server.port });
  const sql = postgresjs({ host: HOST, port: server.port });
  one.on("error", () => {});
  await Promise.all(
    [redis(one), etcd(other), postgres(pool), postgres(sql)].map((backend) =>
      closes(new LockManager(backend))
    ),
  );
  one.disconnect();
  other.close();
});

// Red if: what is released at the end is repeated for as long as at any other time, and with a ttl of a day.
test("redis: a server that stops while locks are held, however long their ttl", patient, async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url), { ttl: 86_400_000, retryFor: 60_000 });
  await locks.acquire("held");
  const watch = locks.watch("held");
  await watch.ready;
  server.pause();
  const since = performance.now();
  await locks.close();
  assert.ok(performance.now() - since < BOUND);
  server.resume();
});

test("sqlite: a file that another program has locked", patient, async () => {
  await using scene = new Scene();
  const locks = new LockManager(scene.backend(), { ttl: 3_000 });
  await locks.acquire("k");
  const database = openDatabase(scene.path, { readOnly: false });
  database.exec("BEGIN IMMEDIATE");
  await closes(locks);
  database.close();
});

test("memory: at once", async () => {
  const locks = new LockManager(memory());
  await locks.acquire("k");
  await closes(locks);
});
