/** The fence in Redis: check and write are one script, through every client, in a Cluster too. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { Redis as Upstash } from "@upstash/redis";
import { Redis } from "ioredis";
import { Cluster } from "ioredis-5";
import { type RedisFence, redisFence, StaleTokenError } from "../../fence.ts";
import { writesLate } from "../fence/late.ts";
import { refusesSmaller, tellsApart } from "../fence/rule.ts";
import { HOST } from "../servers/process.ts";
import { RedisCluster, RedisSentinels } from "../servers/redis.ts";
import { kinds } from "./clients/kinds.ts";

const SLOW = { timeout: 120_000 };

const [cluster, sentinels] = await Promise.all([
  RedisCluster.start(),
  RedisSentinels.start({ sentinels: 1 }),
]);
const server = sentinels.servers[0]!;
const places = { server, Cluster: cluster.servers[1]!, Sentinels: sentinels.sentinels[0]! };
const raw = new Redis(server.url);
const inCluster = new Cluster([cluster.url]);
const pipelining = [
  new Redis(server.url, { enableAutoPipelining: true }),
  new Cluster([cluster.url], { enableAutoPipelining: true }),
];
after(async () => {
  for (const client of [raw, inCluster, ...pipelining]) client.disconnect();
  await cluster[Symbol.asyncDispose]();
  await sentinels[Symbol.asyncDispose]();
});

const GET = { script: "return redis.call('GET', KEYS[1])" };

/** All that a fence does, on the keys of a lock. */
async function guards(fence: RedisFence, key: string): Promise<void> {
  const keys = [`{${key}}:a`, `{${key}}:b`] as const;
  const get = (at: 0 | 1) => fence.write(key, 9n, { ...GET, keys: [keys[at]] });
  await fence.check(key, 6n);
  await fence.write(key, 7n, [["SET", keys[0], "one"], ["RPUSH", keys[1], "x", 2, "three words\n"]]);
  await assert.rejects(fence.write(key, 6n, [["SET", keys[0], "late"]]), new StaleTokenError(key, 6n, 7n));
  const script = "return { KEYS[2], ARGV[1], #KEYS, #ARGV, redis.call('LRANGE', KEYS[2], 0, -1) }";
  const said = await fence.write(key, 8n, { script, keys, args: ["1", 2] });
  const [name, one, ...rest] = said as unknown[];
  assert.ok(String(name).endsWith(keys[1]));
  assert.deepEqual([String(one), ...rest.map(String)], ["1", "2", "2", "x,2,three words\n"]);
  await assert.rejects(fence.write(key, 7n, { script: "redis.call('DEL', KEYS[1])", keys }), { seen: 8n });
  assert.equal(await get(0), "one");
  assert.equal(await fence.write(key, 9n, { script: "return false" }) ?? null, null);
  await assert.rejects(fence.check(key, 8n), new StaleTokenError(key, 8n, 9n));
}

for (const kind of kinds) {
  test(`${kind.name}: the write is made with the check, or not at all`, SLOW, async () => {
    const { host, port } = places[kind.to];
    const { client, end } = await kind.connect({ host, port }, kind.prefixes ? "tenant:" : undefined);
    try {
      const fence = redisFence(client as never);
      for (const key of ["a", "b", "c"]) await guards(fence, `${kind.name.replaceAll(/\W/g, "_")}-${key}`);
    } finally {
      await end();
    }
  });
}

test("ioredis that makes pipelines by itself", SLOW, async () => {
  for (const client of pipelining) {
    const fence = redisFence(client);
    await Promise.all(["a", "b", "c", "d"].map((key) => guards(fence, `pipelines-${key}`)));
  }
});

test("Upstash, whose REST interface stands before a real server", SLOW, async () => {
  const rest = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    const answers = await Promise.all(
      (JSON.parse(body) as [string, ...string[]][]).map(([command, ...args]) =>
        raw.call(command, ...args).then((result) => ({ result }), ({ message }) => ({ error: message }))
      ),
    );
    response.end(JSON.stringify(answers)); // the client sends all as pipelines
  }).listen(0, HOST);
  await once(rest, "listening");
  const url = `http://${HOST}:${(rest.address() as AddressInfo).port}`;
  try {
    await guards(redisFence(new Upstash({ url, token: "t", responseEncoding: false })), "upstash");
  } finally {
    rest.closeAllConnections();
    rest.close();
  }
});

test("tokens are compared as the numbers they are, whatever their size", SLOW, async () => {
  await refusesSmaller(redisFence(raw), "sizes");
});

test("keys that look alike are not one, wherever their hash tags are", SLOW, async () => {
  const tagged = [
    "{a}",
    "{a",
    "a}",
    "a}{b}",
    "{}",
    "{}{a}",
    "x{a}",
    "x{a}}",
    "{{a}}",
    "%7Ba%7D",
    "{\ud800}",
    "{\udfff}",
  ];
  await tellsApart(redisFence(inCluster), tagged);
});

test(
  "in a Cluster, what has the hash tag of the key is written, what is in another slot is not",
  SLOW,
  async () => {
    const fence = redisFence(inCluster);
    for (
      const [key, tag] of [["user:{42}", "42"], ["user:43", "user:43"], ["users/44", "users%2F44"]] as const
    ) {
      await fence.write(key, 1n, [["SET", `name:{${tag}}`, "Ada"]]);
      assert.equal(await inCluster.get(`name:{${tag}}`), "Ada");
      await assert.rejects(fence.write(key, 2n, [["SET", "name:{else}", "Ada"]]), /slot/i);
      await fence.check(key, 1n);
    }
  },
);

test("a crowd of writes at once: what is there is of the greatest", SLOW, async () => {
  const fence = redisFence(raw);
  const tokens = Array.from({ length: 60 }, (_, at) => BigInt((at * 37) % 60));
  let passed = 0;
  await Promise.all(
    tokens.map((token) =>
      fence.write("crowd", token, [["RPUSH", "{crowd}:list", String(token)]])
        .then(() => passed++, (error) => assert.equal(error.code, "stale"))
    ),
  );
  const list = (await raw.lrange("{crowd}:list", 0, -1)).map(Number);
  assert.equal(list.length, passed);
  assert.deepEqual(list, list.toSorted((a, b) => a - b));
  assert.equal(list.at(-1), 59);
});

test("what fails in the write is the server's own error, and the token was seen", SLOW, async () => {
  const fence = redisFence(raw);
  await fence.write("fails", 5n, [["SET", "{fails}:text", "x"]]);
  await assert.rejects(fence.write("fails", 6n, [["INCR", "{fails}:text"]]), /not an integer/);
  await assert.rejects(fence.write("fails", 7n, { script: "not Lua" }), /compil/i);
  await assert.rejects(fence.check("fails", 5n), { seen: 6n });
  await raw.set("holdfast-fence:{odd}:odd", "seven");
  await assert.rejects(fence.check("odd", 1n), (error) => !(error instanceof StaleTokenError));
});

test("what is no client is refused", () => {
  for (const wrong of [undefined, {}, "redis://localhost"]) {
    assert.throws(() => redisFence(wrong as never), { name: "TypeError", message: /client of ioredis/ });
  }
});

test("what is no work is refused, and the token is not seen", SLOW, async () => {
  const fence = redisFence(raw);
  const commands = [["SET"], ["SET", 5], [5, "k"], ["SET", "k", {}], "SET k", null].map((one) => [one]);
  const scripts = [{ script: 5 }, { script: "return 1", keys: "k" }, { script: "return 1", args: [{}] }];
  for (const work of [undefined, null, {}, "SET k 5", ["SET", "k", "5"], ...commands, ...scripts]) {
    await assert.rejects(fence.write("none", 9n, work as never), {
      name: "TypeError",
      message: /^Expected the work to be commands with their key, such as \[\["SET", "balance", "5"\]\]/,
    });
  }
  await fence.check("none", 1n);
});

test("a holder that was stopped past its ttl writes late", SLOW, async () => {
  await writesLate({ kind: "redis", at: server.url });
});

test("a holder that was stopped past its ttl writes late, in a Cluster", SLOW, async () => {
  await writesLate({ kind: "cluster", at: cluster.url }, "account:{of the lock}");
});
