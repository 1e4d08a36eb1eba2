import { redis } from "../../backends/redis.ts";
import { redlock } from "../../backends/redlock.ts";
import type { Backend } from "../../internal/backend.ts";
import type { Harness } from "../conformance/mod.ts";
import { admit } from "../redlock/nodes.ts";
import { RedisServer } from "../servers/redis.ts";
import { partition } from "./partition.ts";
import { revoke } from "./redis.ts";

const OPTIONS = { maxTtl: 300_000 };

/** Five nodes. */
export async function harness(): Promise<Harness> {
  const servers = await Promise.all(Array.from({ length: 5 }, () => RedisServer.start()));
  await Promise.all(servers.map(admit));
  const open = (): Backend => redlock(servers.map(({ url }) => redis(url)), OPTIONS);
  return {
    name: "redlock",
    open,
    revoke: (key) => revoke(open(), key),
    partition: () => partition(servers, (...ports) => redlock(ports.map((port) => ({ port })), OPTIONS)),
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    },
  };
}
