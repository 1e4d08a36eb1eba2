/** What is written to under a lock: one text in each store, behind its fence. Two processes open it. */
import { Buffer } from "node:buffer";
import { DatabaseSync } from "node:sqlite";
import Consul from "consul";
import { Etcd3 } from "etcd3";
import { Redis } from "ioredis";
import zookeeper from "node-zookeeper-client";
import pg from "pg";
import postgres from "postgres";
import { createCluster } from "redis";
import {
  consulFence,
  etcdFence,
  FENCE_TABLE,
  fenceHeaders,
  postgresFence,
  redisFence,
  sqliteFence,
  StaleTokenError,
  zookeeperFence,
} from "../../fence.ts";

/** One of them, seen from a holder of the lock of a key. */
export interface Resource extends AsyncDisposable {
  /** Writes a text in the place of the former. */
  write(key: string, token: bigint, text: string): Promise<void>;
  /** The text. */
  read(): Promise<string | undefined>;
}

/** Where it is, in words that another process understands. */
export interface Place {
  readonly kind: keyof typeof KINDS;
  /** Path, URL, or host and port. */
  readonly at: string;
}

/** The text's name. */
const NAME = "text";

const KINDS = {
  async http(at: string): Promise<Resource> {
    return {
      async write(key, token, body) {
        const response = await fetch(at, { method: "PUT", headers: fenceHeaders({ key, token }), body });
        const said = await response.text();
        if (response.ok) return;
        const { code, seen } = JSON.parse(said);
        if (code === "stale") throw new StaleTokenError(key, token, BigInt(seen));
        throw new Error(said);
      },
      read: async () => await (await fetch(at)).text() || undefined,
      async [Symbol.asyncDispose]() {},
    };
  },

  async sqlite(at: string): Promise<Resource> {
    const db = new DatabaseSync(at);
    db.exec(`PRAGMA busy_timeout = 5000; ${FENCE_TABLE}; CREATE TABLE IF NOT EXISTS texts (text TEXT)`);
    const fence = sqliteFence(db);
    return {
      async write(key, token, text) {
        db.exec("BEGIN IMMEDIATE");
        try {
          fence.checkSync(key, token);
          db.exec("DELETE FROM texts");
          db.prepare("INSERT INTO texts VALUES (?)").run(text);
          db.exec("COMMIT");
        } catch (error) {
          db.exec("ROLLBACK");
          throw error;
        }
      },
      read: async () => db.prepare("SELECT text FROM texts").get()?.text as string | undefined,
      async [Symbol.asyncDispose]() {
        db.close();
      },
    };
  },

  async postgres(at: string): Promise<Resource> {
    const sql = postgres(at, { max: 1, onnotice() {} });
    await sql.unsafe(`${FENCE_TABLE}; CREATE TABLE IF NOT EXISTS texts (text TEXT)`);
    return {
      async write(key, token, text) {
        await sql.begin(async (tx) => {
          await postgresFence(tx).check(key, token);
          await tx`DELETE FROM texts`;
          await tx`INSERT INTO texts VALUES (${text})`;
        });
      },
      read: async () => (await sql`SELECT text FROM texts`)[0]?.text,
      [Symbol.asyncDispose]: () => sql.end(),
    };
  },

  async pg(at: string): Promise<Resource> {
    const pool = new pg.Pool({ connectionString: at, max: 1 });
    await pool.query(`${FENCE_TABLE}; CREATE TABLE IF NOT EXISTS texts (text TEXT)`);
    return {
      async write(key, token, text) {
        const client = await pool.connect();
        try {
          await client.query("BEGIN");
          await postgresFence(client).check(key, token);
          await client.query("DELETE FROM texts");
          await client.query("INSERT INTO texts VALUES ($1)", [text]);
          await client.query("COMMIT");
        } catch (error) {
          await client.query("ROLLBACK");
          throw error;
        } finally {
          client.release();
        }
      },
      read: async () => (await pool.query("SELECT text FROM texts")).rows[0]?.text,
      [Symbol.asyncDispose]: () => pool.end(),
    };
  },

  async redis(at: string): Promise<Resource> {
    const client = new Redis(at);
    const fence = redisFence(client);
    return {
      write: async (key, token, text) => void await fence.write(key, token, [["SET", NAME, text]]),
      read: async () => await client.get(NAME) ?? undefined,
      [Symbol.asyncDispose]: async () => void client.disconnect(),
    };
  },

  async cluster(at: string): Promise<Resource> {
    const client = createCluster({ rootNodes: [{ url: at }] }).on("error", () => {});
    await client.connect();
    const fence = redisFence(client);
    const script = "return redis.call('SET', KEYS[1], ARGV[1])";
    const place = "{of the lock}:text";
    return {
      async write(key, token, text) {
        await fence.write(key, token, { script, keys: [place], args: [text] });
      },
      read: async () => await client.get(place) ?? undefined,
      [Symbol.asyncDispose]: async () => client.destroy(),
    };
  },

  async etcd(at: string): Promise<Resource> {
    const client = new Etcd3({ hosts: at });
    const fence = etcdFence(client);
    return {
      async write(key, token, text) {
        const guard = await fence.guard(key, token);
        const { succeeded } = await client.if(guard.key, "Value", "==", guard.value)
          .then(client.put(NAME).value(text)).commit();
        if (!succeeded) await fence.check(key, token);
      },
      read: async () => await client.get(NAME).string() ?? undefined,
      [Symbol.asyncDispose]: async () => client.close(),
    };
  },

  async gateway(at: string): Promise<Resource> {
    const ask = async (what: string, request: object) => {
      const response = await fetch(`${at}/v3/kv/${what}`, { method: "POST", body: JSON.stringify(request) });
      if (!response.ok) throw new Error(await response.text());
      return await response.json();
    };
    const fence = etcdFence({ txn: (request: object) => ask("txn", request) });
    return {
      async write(key, token, text) {
        const { compare } = await fence.guard(key, token);
        const put = { request_put: { key: btoa(NAME), value: btoa(text) } };
        const { succeeded } = await ask("txn", { compare: [compare], success: [put] });
        if (!succeeded) await fence.check(key, token);
      },
      async read() {
        const { kvs } = await ask("range", { key: btoa(NAME) });
        return kvs && atob(kvs[0].value);
      },
      async [Symbol.asyncDispose]() {},
    };
  },

  async zookeeper(at: string): Promise<Resource> {
    const client = zookeeper.createClient(at);
    const connected = new Promise<void>((resolve) => client.once("connected", resolve));
    client.connect();
    await connected;
    await new Promise<void>((resolve, reject) =>
      client.mkdirp(`/${NAME}`, (error) => error ? reject(error) : resolve())
    );
    const fence = zookeeperFence(client);
    return {
      async write(key, token, text) {
        const { path, version } = await fence.guard(key, token);
        const failure = await new Promise((resolve) =>
          client.transaction().check(path, version).setData(`/${NAME}`, Buffer.from(text)).commit(resolve)
        );
        if (failure) await fence.check(key, token);
        if (failure) throw failure;
      },
      read: () =>
        new Promise((resolve, reject) =>
          client.getData(`/${NAME}`, (error, data) => error ? reject(error) : resolve(data?.toString()))
        ),
      [Symbol.asyncDispose]: async () => client.close(),
    };
  },

  async consul(at: string): Promise<Resource> {
    const { hostname: host, port } = new URL(at);
    const client = new Consul({ host, port: Number(port) });
    const fence = consulFence(client);
    return {
      async write(key, token, text) {
        const guard = await fence.guard(key, token);
        try {
          const write = { KV: { Verb: "set", Key: NAME, Value: btoa(text) } };
          await client.transaction.create([guard, write] as never);
        } catch (error) {
          await fence.check(key, token);
          throw error;
        }
      },
      read: async () => (await client.kv.get(NAME))?.Value ?? undefined,
      [Symbol.asyncDispose]: async () => client.destroy(),
    };
  },
};

/** Opens one. */
export function open({ kind, at }: Place): Promise<Resource> {
  return KINDS[kind](at);
}
