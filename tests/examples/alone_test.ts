/** Each recipe ends by itself when it is run alone, and prints what it says. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { chosenStores } from "../runner/files.ts";
import { ConsulServer } from "../servers/consul.ts";
import { EtcdServer } from "../servers/etcd.ts";
import { PostgresServer } from "../servers/postgres.ts";
import { ROOT } from "../runner/packages.ts";
import { dataFolder } from "../servers/reaper.ts";
import { RedisServer } from "../servers/redis.ts";
import { script } from "../servers/script.ts";
import type { Server } from "../servers/server.ts";
import { ZooKeeperServer } from "../servers/zookeeper.ts";
import { promised, recipes, start } from "./recipe.ts";

/** Every recipe, and the store that it is run on. A new one is run once it stands here. */
const STORES: Readonly<Record<string, string>> = {
  at_most_n: "sqlite",
  cron_once: "sqlite",
  fence_consul: "consul",
  fence_etcd: "etcd",
  fence_http: "sqlite",
  fence_postgres: "postgres",
  fence_redis: "redis",
  fence_sqlite: "sqlite",
  fence_zookeeper: "zookeeper",
  init_once: "sqlite",
  leader: "sqlite",
  long_job: "sqlite",
  migrate: "postgres",
  otel: "sqlite",
  worker_per_entity: "sqlite",
};

/** What is started for a store; the embedded default needs nothing. */
const SERVERS: Readonly<Record<string, () => Promise<Server>>> = {
  consul: () => ConsulServer.start(),
  etcd: () => EtcdServer.start(),
  postgres: () => PostgresServer.start({ args: ["-c", "fsync=off"] }),
  redis: () => RedisServer.start(),
  zookeeper: () => ZooKeeperServer.start(),
};

const started = new Map<string, Promise<Server>>();
after(async () => {
  for (const server of started.values()) await (await server)[Symbol.asyncDispose]();
});

test("every recipe is run", () => {
  assert.deepEqual(recipes(), Object.keys(STORES).sort());
});

for (const [name, store] of Object.entries(STORES)) {
  if (!chosenStores().includes(store)) continue;
  test(`${name} prints what it says, and ends by itself`, async () => {
    const folder = dataFolder(name);
    await using recipe = start(name, {
      folder,
      env: { HOLDFAST_DB: `${folder}/locks.db`, ...await address(store) },
    });
    assert.equal(await recipe.ended, 0);
    assert.deepEqual(recipe.lines, promised(name));
  });
}

for (const [name, store] of Object.entries(STORES)) {
  if (store === "sqlite" || !chosenStores().includes(store)) continue;
  test(`${name} says which URLs it takes, and goes no further with another`, () => {
    const [binary, words] = script(pathToFileURL(`${ROOT}/examples/${name}.ts`));
    const env = { ...process.env, HOLDFAST_STORE: "valkey://127.0.0.1:1" };
    const { status, stdout, stderr } = spawnSync(binary, words, { encoding: "utf8", env, timeout: 60_000 });
    assert.equal(status, 1, stdout);
    assert.match(stderr, RegExp(`This program takes ${store}://`));
  });
}

/** The variable that names the store, where that is not the default one. */
async function address(store: string): Promise<Record<string, string>> {
  const launch = SERVERS[store];
  if (launch === undefined) return {};
  if (!started.has(store)) started.set(store, launch());
  const { host, port } = await started.get(store)!;
  const user = store === "postgres" ? "postgres@" : "";
  return { HOLDFAST_STORE: `${store}://${user}${host}:${port}` };
}
