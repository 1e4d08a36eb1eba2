/** Our own connections log in, and speak TLS, as the client that was handed in does. */
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import Redis4 from "ioredis-4";
import { Redis as Redis5 } from "ioredis-5";
import { Redis as Valkey } from "iovalkey";
import { createClient } from "redis";
import { createClient as createClient4 } from "redis-4";
import { createClientPool as createClientPool5 } from "redis-5";
import type { RedisClient } from "../../backends/redis.ts";
import { RedisServer } from "../servers/redis.ts";
import { uses } from "./clients/uses.ts";

const PASSWORD = "pa55-word";

const server = await RedisServer.start({
  tls: true,
  args: ["--user", ...`app on >${PASSWORD} ~* &* +@all`.split(" "), "--user", "default", "off"],
});
after(() => server[Symbol.asyncDispose]());

const { host, port } = server;
const ca = readFileSync(server.certificates!.ca, "utf8");
const login = { username: "app", password: PASSWORD };
const ioredis = { host, port, tls: { ca }, ...login };
/** Clients of node-redis keep what they are given, and change it. */
const socket = () => ({ host, port, tls: true as const, ca });

const clients: Record<string, () => Promise<[client: RedisClient, end: () => unknown]>> = {
  "ioredis 4": () => one(new Redis4(ioredis)),
  "ioredis 5": () => one(new Redis5(ioredis)),
  iovalkey: () => one(new Valkey(ioredis)),
  async "node-redis 4"() {
    const client = createClient4({ socket: socket(), ...login });
    await client.connect();
    return [client, () => client.disconnect()];
  },
  async "node-redis 5, a pool"() {
    const client = createClientPool5({ socket: socket(), ...login });
    await client.connect();
    return [client, () => client.destroy()];
  },
  async "node-redis 6, by a URL"() {
    const url = `rediss://app:${PASSWORD}@${host}:${port}/1`;
    const client = createClient({ url, socket: { ca, tls: true } });
    await client.connect();
    return [client, () => client.destroy()];
  },
};

for (const [name, open] of Object.entries(clients)) {
  test(name, async () => {
    const [client, end] = await open();
    try {
      await uses(client, client, name);
    } finally {
      await end();
    }
  });
}

function one(client: RedisClient & { disconnect(): void }): Promise<[RedisClient, () => unknown]> {
  return Promise.resolve([client, () => client.disconnect()]);
}
