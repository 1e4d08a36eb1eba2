/** How one gets to Consul: addresses, locators, clients. */
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import Consul from "consul";
import { consul } from "../../backends/consul.ts";
import { LockManager } from "../../mod.ts";
import { ConsulServer } from "../servers/consul.ts";
import { freePort, HOST } from "../servers/process.ts";
import { Meddler } from "./meddler.ts";
import { refusal, works } from "./works.ts";

describe("connecting to Consul", () => {
  let server: ConsulServer;
  before(async () => void (server = await ConsulServer.start()));
  after(async () => await server[Symbol.asyncDispose]());

  test("by a URL, by host and port, by options", async () => {
    const { url, host, port } = server;
    for (const target of [url, `${url}/`, `${host}:${port}`, { host, port }]) {
      await using locks = new LockManager(consul(target), { prefix: String(target) });
      await works(locks);
    }
  });

  test("wherever the locator says, asked again when that agent has failed", async () => {
    const dead = `${HOST}:${await freePort()}`;
    const answers = [() => Promise.reject(new Error("no such service")), () => Promise.resolve(dead)];
    let asked = 0;
    const { host, port } = server;
    const locator = () => (answers[asked++] ?? (() => Promise.resolve({ host, port })))();
    await using locks = new LockManager(consul(locator), { ttl: 60_000, retryFor: 60_000 });
    const errors: string[] = [];
    locks.addEventListener("error", ({ error }) => errors.push(String(error)));
    await (await locks.acquire("k")).release(); // the dead one costs nothing but another question
    for (let time = 0; time < 10; time++) await (await locks.acquire("k")).release();
    // It is asked once more whenever the agent stands still; of more than twenty requests, each would.
    assert(asked >= 3 && asked < 10, `asked ${asked} times`);
    assert.equal(errors.length, 1);
    assert.match(errors[0]!, /the locator failed: no such service/);
  });

  test("over a client of the package handed in, which stays open", async () => {
    const { host, port } = server;
    const client = new Consul({ host, port });
    const locks = new LockManager(consul(client));
    await works(locks);
    await locks.close();
    assert.equal(await client.status.leader(), server.peer);
    client.destroy();
  });

  test("over the connections of such a client, where it brings its own", async () => {
    const { host, port } = server;
    const agent = new http.Agent({ keepAlive: true });
    let sockets = 0;
    const connect = agent.createConnection;
    agent.createConnection = (...args) => {
      sockets++;
      return connect.apply(agent, args);
    };
    const client = new Consul({ host, port, agent });
    {
      await using locks = new LockManager(consul(client));
      await (await locks.acquire("k")).release();
    }
    assert(sockets > 0, "no connection was made through the agent");
    client.destroy();
  });

  // Goes red if: questions that stand open are in line with the rest.
  test("over such a client that has room for one connection", async () => {
    const { host, port } = server;
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const client = new Consul({ host, port, agent });
    {
      await using others = new LockManager(consul(server.url), { prefix: "room" });
      await using locks = new LockManager(consul(client), { prefix: "room", retryFor: 0 });
      const theirs = await others.acquire("theirs");
      const lock = await locks.acquire("k");
      const waiting = new Promise((resolve) => locks.addEventListener("waiting", resolve, { once: true }));
      const next = locks.acquire("theirs");
      await waiting;
      await lock.renew();
      assert.equal(await lock.release(), true);
      await theirs.release();
      await (await next).release();
    }
    client.destroy();
  });

  test("below a path of the KV store that others do not share", async () => {
    await using above = new LockManager(consul(server.url));
    await using below = new LockManager(consul(server.url, { prefix: "team-a/locks" }));
    const [first, second] = [await above.acquire("k"), await below.acquire("k")];
    const keys = await server.api("GET", "kv/team-a/?keys") as string[];
    assert(keys.length > 0 && keys.every((key) => key.startsWith("team-a/locks/holdfast/")), `${keys}`);
    assert.deepEqual((await below.inspect("k"))?.holders.map(({ id }) => id), [second.id]);
    assert.deepEqual((await above.query()).held.map(({ name }) => name), ["k"]);
    await first.release();
    await using other = new LockManager(consul(server.url, { prefix: "team-b/" }));
    await works(other);
  });

  test("in the datacenter named, and in no other", async () => {
    await using locks = new LockManager(consul(server.url, { datacenter: "dc1" }), { prefix: "dc" });
    await works(locks);
    const { message } = await refusal(consul(server.url, { datacenter: "atlantis" }));
    assert.match(message, /No path to datacenter/);
  });

  test("under a node of the catalog, where the agent's own may leave", async () => {
    await server.api("PUT", "catalog/register", { Node: "locks", Address: "192.0.2.1" });
    await using locks = new LockManager(consul(server.url, { node: "locks" }), { prefix: "node" });
    await using _lock = await locks.acquire("k");
    assert.equal((await server.api("GET", "session/node/locks") as unknown[]).length, 1);
  });

  test("nothing is sent before the first call", async () => {
    await using _locks = new LockManager(consul(() => Promise.reject(new Error("asked too early"))));
  });

  test("a server that is not there, or is not Consul, is named in the error", async () => {
    const port = await freePort();
    assert.match(
      (await refusal(consul({ port }))).message,
      new RegExp(`agent at ${HOST}:${port}.*running there`),
    );
    const other = http.createServer((_request, response) => void response.end("<html>hello</html>"));
    await new Promise<void>((resolve) => other.listen(port, HOST, resolve));
    assert.match((await refusal(consul({ port }))).message, /is there a Consul agent at this address\?/);
    other.closeAllConnections();
    other.close();
  });

  // Goes red if: one of the two ways to read a reply keeps whatever comes.
  test("a reply that is too large is refused, over a client handed in too", async () => {
    await using endless = await Meddler.start(server, {
      instead: () => ({ status: 200, text: "x".repeat(1 << 21) }),
    });
    const { hostname: host, port } = new URL(endless.url);
    const client = new Consul({ host, port: Number(port) });
    for (const target of [endless.url, client]) {
      assert.match((await refusal(consul(target))).message, /the reply has more than 1048576 bytes/);
    }
    client.destroy();
  });

  test("what is no address, client or option is refused at once, without showing a secret", () => {
    const bad: unknown[][] = [
      ["ftp://user:secret@127.0.0.1"],
      ["http://user:secret@:x"],
      [{ host: 1 }],
      [{ hosts: "127.0.0.1" }],
      [null],
      [42],
      ["http://127.0.0.1", { token: ["secret"] }],
      ["http://user:100%@127.0.0.1"],
      ["http://127.0.0.1:0"],
      ["http://127.0.0.1:65536"],
      ["http://127.0.0.1", { secure: true, token: "secret" }], // would go over the wire in the clear
      ["http://127.0.0.1", { port: 1 }],
      [""],
      [new URL("http://127.0.0.1")],
      [[]],
      [["http://127.0.0.1"]],
      [{ host: "" }],
      [{ host: "127.0.0.1/" }],
      [{ host: "a\r\nb" }],
      [{ port: 0 }],
      [{ port: 65_536 }],
      [{ port: 8500.5 }],
      [{ port: NaN }],
      [{ port: "8500" }],
      [{ ca: [1] }],
      [{ token: "secret\r\nX-Other: 1" }],
      [{}, []],
      [{}, null],
      [{ prefix: "/locks" }],
      [{ prefix: "a//b" }],
      [{ prefix: "../other" }],
    ];
    for (const [target, options] of bad) {
      assert.throws(() => consul(target as string, options as undefined), (error: Error) => {
        assert(
          error instanceof TypeError || error instanceof RangeError,
          `${JSON.stringify(target)}: ${error}`,
        );
        assert.match(error.message, /^(Expected|Unknown)/);
        assert.doesNotMatch(error.message, /secret|user:/);
        return true;
      }, JSON.stringify(target));
    }
  });

  // Goes red if: the answer that never comes is waited for by every later request.
  test("a locator that hangs is asked again", async () => {
    let asked = 0;
    const locator = () => asked++ === 0 ? new Promise<string>(() => {}) : Promise.resolve(server.url);
    await using locks = new LockManager(consul(locator), { ttl: 60_000, retryFor: 60_000 });
    for (let time = 0; time < 10; time++) await (await locks.acquire("k")).release();
    // And once more whenever the agent stands still; of more than twenty requests, each would.
    assert(asked >= 2 && asked < 10, `asked ${asked} times`);
  });

  test("a locator that finds no address says so", async () => {
    for (const found of [undefined, null, 42, { port: "secret" }, "ftp://user:secret@127.0.0.1"]) {
      const { message } = await refusal(consul(() => Promise.resolve(found as string)));
      assert.match(message, /the locator failed: Expected/);
      assert.doesNotMatch(message, /secret/);
    }
  });

  test("a ttl below Consul's minimum of ten seconds is a RangeError that says so", async () => {
    await using locks = new LockManager(consul(server.url));
    await assert.rejects(locks.acquire("k", { ttl: 9_999 }), {
      name: "RangeError",
      message: /"ttl".*10000 to 86400000 milliseconds on consul.*9999/,
    });
    await (await locks.acquire("k", { ttl: 10_000 })).release();
  });
});
