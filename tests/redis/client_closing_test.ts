/** Once locks are closed, only the client that was handed in is left. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, test } from "node:test";
import { type Case, sideBySide } from "../conformance/mod.ts";
import { RedisCluster, RedisSentinels, RedisServer } from "../servers/redis.ts";
import { script } from "../servers/script.ts";
import { kinds } from "./clients/kinds.ts";

/** Milliseconds after which a process that should end by itself surely does not. */
const LINGER = 60_000;

const [server, cluster, sentinels] = await Promise.all([
  RedisServer.start(),
  RedisCluster.start(),
  RedisSentinels.start({ sentinels: 1 }),
]);
const places = { server, Cluster: cluster.servers[0]!, Sentinels: sentinels.sentinels[0]! };

after(async () => {
  for (const one of [server, cluster, sentinels]) await one[Symbol.asyncDispose]();
});

const cases = kinds.map(({ name, to }): Case => {
  const { host, port } = places[to];
  return { group: "closing", name, skip: undefined, run: () => ends(name, JSON.stringify({ host, port })) };
});
for (const { name, run } of sideBySide(cases, 3)) {
  test(`a process ends once its locks and its client are closed, whenever that is: ${name}`, run);
}

async function ends(name: string, place: string): Promise<void> {
  const file = new URL("./clients/closing.ts", import.meta.url);
  const child = spawn(...script(file, [name, place]), { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => said += text);
  }
  const late = setTimeout(() => child.kill("SIGKILL"), LINGER);
  const end = await new Promise((resolve) => child.on("close", (code, signal) => resolve(signal ?? code)));
  clearTimeout(late);
  assert.equal(end, 0, `SIGKILL says that it did not end by itself; it said: ${said}`);
  assert.match(said, /^closed$/m);
}
