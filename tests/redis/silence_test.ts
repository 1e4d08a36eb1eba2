/** A connection over which messages no longer come, and nothing says so. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { redis } from "../../backends/redis.ts";
import { Connection } from "../../backends/redis/client/connection.ts";
import { type RedisTarget, route } from "../../backends/redis/address.ts";
import { script } from "../../backends/redis/client/script.ts";
import { redlock } from "../../backends/redlock.ts";
import { LockManager } from "../../mod.ts";
import { Nodes } from "../redlock/nodes.ts";
import { until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { RedisCluster, RedisServer } from "../servers/redis.ts";
import { CALL, next } from "../support.ts";

const patient = { timeout: 60_000 };

/** A process that listens to `key`, and connects again whenever it is told that it is deaf. */
class Listening implements AsyncDisposable {
  readonly connection: Connection;
  /** How often it was told so. */
  deaf = 0;
  readonly #key: string;
  readonly #heard = new Set<string>();
  #open = true;

  constructor(target: RedisTarget, key: string) {
    this.connection = new Connection(route(target), {
      message: () => {},
      down: () => {},
      awaits: () => false,
    }, 200);
    this.#key = key;
  }

  /** As the core does it: a call that has taken too long is followed by another. */
  async listen(): Promise<void> {
    const listener = {
      heard: (text: string) => void this.#heard.add(text),
      deaf: () => {
        this.deaf++;
        void this.listen();
      },
    };
    for (let listens = false; this.#open && !listens;) {
      const signal = AbortSignal.timeout(1_000);
      const listening = this.connection.listen(() => this.#key, listener, { signal, timeout: 1_000 });
      listens = await Promise.race([listening, next(signal, "abort")]).then(
        () => !signal.aborted,
        () => false,
      );
      if (!listens) await sleep(50);
    }
  }

  /** Resolves once it hears what is said to that key. */
  async hears(from: RedisServer): Promise<void> {
    let said = 0;
    await until(async () => {
      await from.cli("publish", this.#key, `${said++}`);
      return this.#heard.size > 0;
    }, () => "nothing is heard");
    this.#heard.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#open = false;
    this.connection.close();
  }
}

for (const protocol of [3, 2] as const) {
  // Red if: nothing is sent to oneself; with RESP2 also if the server is asked by the connection for commands.
  test(
    `RESP${protocol}: a connection for messages that swallows everything is replaced`,
    patient,
    async () => {
      await using server = await RedisServer.start();
      await using proxy = await Proxy.start(server);
      await using process = new Listening({ port: proxy.port, protocol }, "k");
      await process.listen();
      await process.hears(server);
      const before = process.deaf;
      const messages = proxy.connections[0]; // which is opened first
      proxy.cut("both", (connection) => connection === messages);
      await until(() => Promise.resolve(process.deaf > before), () => "nothing was noticed");
      await process.hears(server);
    },
  );
}

test("a Cluster: a connection for messages that swallows everything is replaced", patient, async () => {
  await using cluster = await RedisCluster.start();
  const proxies = await Promise.all(cluster.servers.map((server) => Proxy.start(server)));
  const natMap = Object.fromEntries(cluster.servers.map(({ host, port }, n) => [
    `${host}:${port}`,
    { host, port: proxies[n]!.port },
  ]));
  await using process = new Listening({ cluster: [`redis://127.0.0.1:${proxies[0]!.port}`], natMap }, "k");
  await process.listen();
  await process.hears(cluster.servers[0]!);
  const before = process.deaf;
  const old = new Set(proxies.flatMap(({ connections }) => connections));
  for (const proxy of proxies) proxy.cut("both", (connection) => old.has(connection));
  await until(() => Promise.resolve(process.deaf > before), () => "nothing was noticed");
  await process.hears(cluster.servers[0]!);
  await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
});

// Red if: it is the node itself that is asked whether it is there. It answers.
test("a Cluster: a node that has left it carries no messages any more", patient, async () => {
  await using cluster = await RedisCluster.start();
  const [first] = cluster.servers;
  await using process = new Listening({ cluster: cluster.servers.map(({ url }) => url) }, "k");
  await process.listen();
  await process.hears(first!);
  const carries = async (server: RedisServer) =>
    (await server.cli("pubsub", "channels", process.connection.channel)).includes("holdfast");
  let carrying: boolean[] = [];
  await until(async () => {
    carrying = await Promise.all(cluster.servers.map(carries));
    return carrying.includes(true);
  }, () => "nobody carries messages");
  const left = cluster.servers[carrying.indexOf(true)]!;
  const rest = cluster.servers.filter((server) => server !== left);
  const before = process.deaf;
  await leave(left, rest);
  await until(() => Promise.resolve(process.deaf > before), () => "nothing was noticed");
  await process.hears(rest[0]!);
  await until(async () => !await carries(left), () => "the node that has left still carries messages");
});

/** An operator takes a node out of a Cluster, and gives its slots to another. */
async function leave(node: RedisServer, rest: readonly RedisServer[]): Promise<void> {
  const id = (await node.cli("cluster", "myid")).trim();
  const own = (await node.cli("cluster", "nodes")).split("\n").find((line) => line.includes("myself"))!;
  const [from, to] = own.trim().split(" ")[8]!.split("-");
  await node.cli("cluster", "reset", "soft");
  for (const other of rest) await other.cli("cluster", "forget", id);
  await rest[0]!.cli("cluster", "addslotsrange", from!, to!);
  for (const other of rest) {
    await until(async () => {
      const info = await other.cli("cluster", "info");
      return info.includes("cluster_state:ok") && info.includes("cluster_slots_assigned:16384");
    }, () => "the Cluster does not settle");
  }
}

test("nothing is sent where nobody waits for a message, nor once all have been heard", patient, async () => {
  await using server = await RedisServer.start();
  await using process = new Listening(server.url, "k");
  const { connection } = process;
  const published = async () =>
    Number(/cmdstat_publish:calls=(\d+)/.exec(await server.cli("info", "commandstats"))?.[1] ?? 0);
  await connection.run(script("return 1"), [1, "k"], CALL);
  await sleep(1_000);
  assert.equal(await published(), 0);
  const listening = await connection.listen(() => "k", { heard() {}, deaf() {} }, CALL);
  await until(async () => await published() > 0, () => "nothing is said");
  await listening[Symbol.asyncDispose]();
  await sleep(300); // what was on its way
  const before = await published();
  await sleep(1_000);
  assert.equal(await published(), before);
});

// Red if: a permission that is missing counts as silence.
test("who may not publish is not taken for deaf", patient, async () => {
  await using server = await RedisServer.start({
    args: ["--user", ..."listener on >secret ~* &* +evalsha +eval +time +subscribe +unsubscribe".split(" ")],
  });
  await using process = new Listening(server.url.replace("//", "//listener:secret@"), "k");
  await process.listen();
  // A busy server may be late with one answer: who counts each as silence is told so all the time.
  let before = -1;
  for (let n = 0; n < 10 && process.deaf !== before; n++) {
    before = process.deaf;
    await sleep(1_500);
  }
  assert.equal(process.deaf, before);
  await process.hears(server);
});

test(
  "a watcher hears of the silence, and then of locks again; a waiter is handed the next lock at once",
  patient,
  async () => {
    await using server = await RedisServer.start();
    await using proxy = await Proxy.start(server);
    await using near = new LockManager(redis(server.url), { ttl: 60_000 });
    await using far = new LockManager(redis({ port: proxy.port, protocol: 2 }), { ttl: 60_000 });
    const lock = await near.acquire("k");
    const waiting = far.acquire("k");
    while ((await near.inspect("k"))?.waiters.length !== 1) await sleep(5);
    await using watch = far.watch("k");
    await watch.ready;
    const failed = next<Event & { error: Error }>(watch, "error");
    const [messages, commands] = proxy.connections;
    proxy.cut("both", (connection) => connection === messages);
    assert.match(String((await failed).error), /Cannot listen to Redis at .*: no message comes/);
    const old = new Set([messages, commands]);
    await until(async () => {
      const all = proxy.connections.filter((connection) => !old.has(connection));
      const listened = await server.cli("pubsub", "numsub", "holdfast/{k}");
      return all.length === 2 && /[1-9]/.test(listened.split("\n")[1]!);
    }, () => "it does not connect again");
    const heard = next(watch, "unlocked");
    const since = performance.now();
    await lock.release();
    await using handed = await waiting;
    await heard;
    assert.ok(performance.now() - since < 10_000, "a renewal, which brings the same news, comes after 20 s");
    assert.ok(handed.token > lock.token);
  },
);

test("Redlock: a watcher hears of a node's silence, and then of locks again", patient, async () => {
  await using nodes = await Nodes.start(3);
  const proxies = await Promise.all(nodes.servers.map((server) => Proxy.start(server)));
  await using near = new LockManager(redlock(nodes.urls));
  await using far = new LockManager(redlock(proxies.map(({ port }) => ({ port }))));
  await using watch = far.watch("k");
  await watch.ready;
  const failed = next(watch, "error");
  const old = new Set(proxies.flatMap(({ connections }) => connections));
  for (const proxy of proxies) proxy.cut("both", (connection) => old.has(connection));
  await failed;
  const heard = next(watch, "locked");
  await until(async () => {
    const listened = nodes.servers.map((server) => server.cli("pubsub", "numsub", "holdfast/{k}:votes"));
    const all = (await Promise.all(listened)).filter((reply) => Number(reply.split("\n")[1]) > 0);
    const fresh = proxies.flatMap(({ connections }) => connections).filter((one) => !old.has(one));
    return all.length === 3 && fresh.length >= 3;
  }, () => "nobody listens any more");
  await using _ = await near.acquire("k");
  await heard;
  await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
});
