import { createClient } from "redis";
import { lock } from "simple-redis-mutex";
import type { Open } from "../subject.ts";

export const open: Open = async (address, ttl) => {
  const client = createClient({ url: address });
  await client.connect();
  return {
    // deno-lint-ignore no-explicit-any -- it was made for an older node-redis
    acquire: (key) => lock(client as any, key, { timeout: ttl }),
    close: () => client.close(),
  };
};
