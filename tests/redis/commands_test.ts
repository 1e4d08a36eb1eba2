/** What is asked of a server: only what Redis 6.2 has, and with it Valkey and KeyDB. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { scripts } from "../../backends/redis/scripts/scripts.ts";
import { GREET } from "../../backends/redlock/client/memory.ts";
import * as votes from "../../backends/redlock/scripts.ts";
import { RedisServer } from "../servers/redis.ts";

const SENT = ["eval", "evalsha", "time", "scan", "subscribe", "unsubscribe", "info"];

test("every command has been there since Redis 6.2", async () => {
  await using server = await RedisServer.start();
  const single = Object.values(scripts(1));
  const voting = Object.values({ GREET, ...votes }).filter((value) =>
    typeof value === "object" && "source" in value
  );
  const all = [...single, ...voting];
  const called = all.flatMap(({ source }) => [...source.matchAll(/redis\.p?call\('(\w+)'/g)]);
  const commands = new Set([...SENT, ...called.map(([, name]) => name!.toLowerCase())]);
  assert.ok(commands.has("zmscore"));
  commands.delete("spublish"); // in a Cluster that has it, which is asked first
  for (const command of commands) {
    const [, since] = /since\n(\d+\.\d+)/.exec(await server.cli("command", "docs", command))!;
    assert.ok(Number(since) <= 6.2, `${command} since ${since}`);
  }
});
