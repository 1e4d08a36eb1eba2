import { createHash } from "node:crypto";
import { Redis } from "ioredis";
import type { Open, Subject } from "../subject.ts";
import { addresses } from "./addresses.ts";

const DELETE = `if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0`;
const SHA = createHash("sha1").update(DELETE).digest("hex");

/** The least that a lock can do, at one server: set a key unless it is there, delete it if it is ours. */
export const open: Open = (address, ttl) => bare(addresses(address).slice(0, 1), ttl);

/** The same at several at once. No queue, no token, and nobody counts. */
export async function bare(servers: readonly string[], ttl: number): Promise<Subject> {
  const clients = servers.map((server) => new Redis(server));
  const all = (call: (client: Redis) => Promise<unknown>) =>
    clients.length === 1 ? call(clients[0]!) : Promise.all(clients.map(call));
  await all((client) => client.script("LOAD", DELETE));
  return {
    async acquire(key) {
      const id = crypto.randomUUID();
      await all((client) => client.set(key, id, "PX", ttl, "NX"));
      return () => all((client) => client.evalsha(SHA, 1, key, id));
    },
    close: () => all((client) => client.quit()),
  };
}
