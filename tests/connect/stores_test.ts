/** Each store, through the URL of a real one, beside a backend that was told the same in options. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import client from "postgres";
import { consul } from "../../backends/consul.ts";
import { etcd } from "../../backends/etcd.ts";
import { guarded, postgres } from "../../backends/postgres.ts";
import { redis } from "../../backends/redis.ts";
import { redlock } from "../../backends/redlock.ts";
import { sqlite } from "../../backends/sqlite.ts";
import { zookeeper } from "../../backends/zookeeper.ts";
import { connect } from "../../connect.ts";
import { type Backend, LockManager } from "../../mod.ts";
import { Nodes } from "../redlock/nodes.ts";
import { chosenStores } from "../runner/files.ts";
import type { Certificates } from "../servers/certificates.ts";
import { ConsulServer } from "../servers/consul.ts";
import { EtcdServer } from "../servers/etcd.ts";
import { PostgresServer } from "../servers/postgres.ts";
import { RedisCluster, RedisSentinels, RedisServer } from "../servers/redis.ts";
import { ZooKeeperServer } from "../servers/zookeeper.ts";

/** A password with all in it that means something in a URL. */
const PASSWORD = "p@ss/w:rd?#%2B+&=";

const SECRET = encodeURIComponent(PASSWORD);

/** Through both, locks are the same: one waits for the other, in the same place. */
async function same(url: string, told: Backend): Promise<void> {
  await using locks = connect(url);
  await using others = new LockManager(told);
  const lock = await locks.acquire("k", { metadata: { by: "url" } });
  assert.equal(await others.tryAcquire("k"), undefined);
  const seen = await others.inspect("k");
  assert.deepEqual(seen?.holders.map(({ id, metadata }) => ({ id, metadata })), [
    { id: lock.id, metadata: { by: "url" } },
  ]);
  const next = others.acquire("k");
  assert.equal(await lock.release(), true);
  await using after = await next;
  assert.ok(after.token > lock.token);
  assert.equal((await locks.inspect("k"))?.holders[0]?.id, after.id);
}

function files(
  { ca, cert, key }: Certificates,
): { query: string; pems: Record<"ca" | "cert" | "key", string> } {
  const paths = { ca, cert, key };
  const [query, pems] = [new URLSearchParams(paths).toString(), { ...paths }];
  for (const [name, path] of Object.entries(paths)) pems[name as "ca"] = readFileSync(path, "utf8");
  return { query, pems };
}

function on(store: string, name: string, run: () => Promise<void>): void {
  const skip = !chosenStores().includes(store) && `${store} is not among BACKENDS`;
  test(`${store}: ${name}`, { skip, timeout: 120_000 }, run);
}

on("sqlite", "a file, absolute and relative, and the default one", async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast connect%-"));
  const [before, here] = [process.env.HOLDFAST_DB, process.cwd()];
  try {
    const path = join(folder, "a b?#.db");
    await same(pathToFileURL(path).href.replace("file:", "sqlite:"), sqlite(path));
    process.env.HOLDFAST_DB = join(folder, "default.db");
    await same("sqlite:", sqlite(process.env.HOLDFAST_DB));
    process.chdir(folder);
    await using locks = connect("sqlite:relative.db");
    process.chdir(here);
    await using others = new LockManager(sqlite(join(folder, "relative.db")));
    await using _ = await locks.acquire("k");
    assert.equal(await others.tryAcquire("k"), undefined);
  } finally {
    process.chdir(here);
    if (before === undefined) delete process.env.HOLDFAST_DB;
    else process.env.HOLDFAST_DB = before;
    rmSync(folder, { recursive: true });
  }
});

on("redis", "TLS with certificates in files, a user, a database", async () => {
  await using server = await RedisServer.start({ tls: true });
  await server.cli("acl", "setuser", "app", "on", `>${PASSWORD}`, "~*", "&*", "+@all");
  const { query, pems } = files(server.certificates!);
  const url =
    `rediss://app:${SECRET}@${server.host}:${server.port}/3?${query}&connectTimeout=20000&rememberFor=60000`;
  const { host, port } = server;
  await same(url, redis({ host, port, username: "app", password: PASSWORD, db: 3, tls: pems }));
});

on("redis", "by Sentinels, of which one is away", async () => {
  await using servers = await RedisSentinels.start();
  const sentinels = servers.sentinels.map(({ host, port }) => ({ host, port }));
  const hosts = ["127.0.0.1:1", ...sentinels.map(({ host, port }) => `${host}:${port}`)].join();
  await same(`redis+sentinel://${hosts}/${servers.name}/2`, redis({ sentinels, name: servers.name, db: 2 }));
});

on("redis", "a Cluster, by some of its nodes", async () => {
  await using cluster = await RedisCluster.start({ tls: "IP:127.0.0.1" });
  const [one, two] = cluster.servers;
  const { query, pems } = files(one!.certificates!);
  const url = `valkeys+cluster://${one!.host}:${one!.port},${two!.host}:${two!.port}?${query}`;
  await same(url, redis({ cluster: [cluster.url], tls: pems }));
});

on("redlock", "three nodes", async () => {
  await using nodes = await Nodes.start(3);
  await same(`redlock://${nodes.places.join()}?maxTtl=60000`, redlock(nodes.urls, { maxTtl: 60_000 }));
});

on("etcd", "TLS with an authority in a file, of several members one that is away", async () => {
  await using server = await EtcdServer.start({ tls: true });
  const { query, pems } = files(server.certificates!);
  const url = `etcds://127.0.0.1:1,${server.host}:${server.port}?${query}`;
  await same(url, etcd({ hosts: server.url, tls: pems }));
});

on("zookeeper", "a chroot, a user, the tickTime of its servers", async () => {
  await using server = await ZooKeeperServer.start({ tickTime: 500 });
  const { address } = server;
  const url = `zookeeper://app:${SECRET}@${address}/deep/er%20one?tickTime=500`;
  const user = { username: "app", password: PASSWORD };
  await same(url, zookeeper({ address, chroot: "/deep/er one", tickTime: 500, ...user }));
});

on("consul", "HTTPS with an authority in a file, a token, a prefix", async () => {
  await using server = await ConsulServer.start({ tls: true, acl: true });
  const { certificates, host, tlsPort, token } = server;
  const { query } = files(certificates!);
  const url = `consuls://${host}:${tlsPort}?${query}&token=${token}&prefix=team-a&dc=dc1`;
  await same(url, consul(server.url, { token, prefix: "team-a" }));
});

on(
  "postgres",
  "TLS as libpq has it, a schema, an address to listen at; and guarded() takes its locks",
  async () => {
    await using server = await PostgresServer.start({ tls: true });
    const { host, port, certificates } = server;
    await server.sql(`CREATE ROLE app SUPERUSER LOGIN PASSWORD '${PASSWORD}'`);
    const tls = new URLSearchParams({ sslmode: "verify-full", sslrootcert: certificates!.ca });
    const at = `app:${SECRET}@${host}:${port}/postgres?${tls}`;
    const url = `postgres://app:${SECRET}@127.0.0.1:1,${host}:${port}/postgres?${tls}&schema=team_a&listen=${
      encodeURIComponent(`postgres://${at}`)
    }`;
    await same(url, postgres(`postgresql://${at}`, { schema: "team_a" }));
    await using locks = connect(url);
    await using lock = await locks.acquire("g");
    const sql = client(`postgres://${host}:${port}/postgres`, {
      user: "app",
      password: PASSWORD,
      ssl: { ca: readFileSync(certificates!.ca, "utf8") },
    });
    try {
      const rows = await guarded(sql, lock, (tx) => tx`SELECT 1 AS one`, { schema: "team_a" });
      assert.equal(rows[0]?.one, 1);
    } finally {
      await sql.end();
    }
  },
);
