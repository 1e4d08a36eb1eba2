import { connect } from "node:net";
import { readdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Redis } from "ioredis";
import pg from "pg";
import type { Address } from "../faults/address.ts";

/** What is still in the store after everybody has left, in words; empty if nothing is. */
export async function remains({ backend, at }: Address): Promise<string[]> {
  switch (backend) {
    case "sqlite":
      return inFile(at[0]!);
    case "redis":
    case "redlock":
      return (await Promise.all(at.map(inRedis))).flat();
    case "etcd":
      return await inEtcd(at[0]!);
    case "zookeeper":
      return await inZooKeeper(at[0]!);
    case "consul":
      return await inConsul(at[0]!);
    case "postgres":
      return await inPostgres(at[0]!);
  }
}

function inFile(path: string): string[] {
  const database = new DatabaseSync(path);
  const rows = ["claims", "watchers"].flatMap((name) => {
    const { count } = database.prepare(`SELECT count(*) AS count FROM ${name}`).get()!;
    return count === 0 ? [] : [`${count} ${name}`];
  });
  database.close();
  const own = [basename(path), `${basename(path)}-wal`, `${basename(path)}-shm`];
  const files = readdirSync(dirname(path), { recursive: true }).map(String);
  return [...rows, ...files.filter((name) => ![...own, `${basename(path)}-peers`].includes(name))];
}

/** The last token of a key stays for a day, word of a theft or withdrawal for a ttl, nothing for ever. */
async function inRedis(url: string): Promise<string[]> {
  const redis = new Redis(url);
  const left: string[] = [];
  for (const key of await redis.keys("*")) {
    const ttl = await redis.pttl(key);
    // What tells a redlock node that has lost its memory.
    if (key === "holdfast:node") continue;
    if (ttl < 0) left.push(`${key} stays for ever`);
    if (await redis.type(key) !== "hash") continue;
    for (const claim of Object.values(await redis.hgetall(key))) {
      // A claim has a token and its expiry in microseconds. Else: the last token, or word of one that is gone.
      const [token, expires] = claim.split(" ");
      if (Number(token) > 0 && Number(expires) > Date.now() * 1_000) left.push(`${key}: ${claim}`);
    }
  }
  const clients = String(await redis.client("LIST")).trim().split("\n").length;
  if (clients > 1) left.push(`${clients - 1} connections`);
  redis.disconnect();
  return left;
}

async function inEtcd(url: string): Promise<string[]> {
  const call = async (method: string, body: unknown) => {
    return await (await fetch(`${url}/v3/${method}`, { method: "POST", body: JSON.stringify(body) })).json();
  };
  const { count = 0 } = await call("kv/range", { key: btoa("\0"), range_end: btoa("\0"), count_only: true });
  const { leases = [] } = await call("lease/leases", {});
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const watchers = Number(/^etcd_debugging_mvcc_watcher_total (\d+)/m.exec(metrics)?.[1] ?? 0);
  return [[Number(count), "keys"], [leases.length, "leases"], [watchers, "watchers"]]
    .flatMap(([number, what]) => number === 0 ? [] : [`${number} ${what}`]);
}

async function inZooKeeper(address: string): Promise<string[]> {
  const [host, port] = address.split(":");
  const say = (word: string) =>
    new Promise<string>((resolve, reject) => {
      let text = "";
      const socket = connect(Number(port), host!, () => socket.end(word)).on("data", (chunk) => text += chunk)
        .on("end", () => resolve(text)).on("error", reject);
    });
  const monitor = await say("mntr");
  const read = (name: string) => Number(new RegExp(`^${name}\\s+(\\d+)`, "m").exec(monitor)?.[1]);
  const ephemerals = read("zk_ephemerals_count");
  const watches = read("zk_watch_count");
  const connections = read("zk_num_alive_connections") - 1; // ours
  return [[ephemerals, "ephemeral nodes"], [watches, "watches"], [connections, "connections"]]
    .flatMap(([number, what]) => number === 0 ? [] : [`${number} ${what}`]);
}

async function inConsul(url: string): Promise<string[]> {
  const get = async (path: string) => {
    const response = await fetch(`${url}/v1/${path}`);
    return response.status === 404 ? [] : await response.json() as unknown[];
  };
  const [keys, sessions] = [await get("kv/?keys"), await get("session/list")];
  return [...keys.map((key) => `key ${key}`), ...sessions.map(() => "a session")];
}

/** The last token of a key stays for a while, and word of a theft or a withdrawal for a ttl: nothing else. */
async function inPostgres(connectionString: string): Promise<string[]> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  const counted: Record<string, string> = {
    claims: "holdfast.claims WHERE place > 0 OR id IS NOT NULL OR crowd OR watched",
    watchers: "holdfast.watchers",
    "words that stay": "holdfast.gone WHERE until > 1000000 * (extract(epoch FROM clock_timestamp()) + 10)",
    connections: "pg_stat_activity WHERE application_name = 'holdfast'",
    "advisory locks": "pg_locks WHERE locktype = 'advisory'",
  };
  const left: string[] = [];
  for (const [what, where] of Object.entries(counted)) {
    const { rows: [{ count }] } = await client.query(`SELECT count(*) FROM ${where}`);
    if (count !== "0") left.push(`${count} ${what}`);
  }
  await client.end();
  return left;
}
