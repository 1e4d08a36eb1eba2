/** What goes wrong between a client and Consul, and what becomes of the locks. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import Consul from "consul";
import { consul } from "../../backends/consul.ts";
import { ConsulApi } from "../../backends/consul/client/api.ts";
import { ConsulHttp } from "../../backends/consul/client/http.ts";
import type { Pair } from "../../backends/consul/client/kv.ts";
import { settings } from "../../backends/consul/address.ts";
import { LockManager } from "../../mod.ts";
import { ConsulServer } from "../servers/consul.ts";
import { HOST, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { tap } from "./tap.ts";
import { call, claim as claimed, over, request, waiter } from "../support.ts";

const isEnter = (request: string): boolean => request.includes('"check-index"');
const isRelease = (request: string): boolean => request.includes('"check-session"');
const isWaiting = (request: string): boolean => request.startsWith("GET ") && request.includes("index=");

const claim = (key: string) => claimed({ key: `holdfast/${key}` });

describe("faults between a client and Consul", () => {
  let server: ConsulServer;
  before(async () => void (server = await ConsulServer.start()));
  after(async () => await server[Symbol.asyncDispose]());

  const proxied = () => Proxy.start({ port: server.port });
  const through = ({ port }: Proxy) => consul({ host: HOST, port });
  const keys = async (key: string): Promise<string[]> =>
    await server.api("GET", `kv/holdfast/${key}/?keys`).catch(() => []) as string[];

  test("a session destroyed by an operator ends its locks at once, and the next one takes over", async () => {
    await using a = new LockManager(consul(server.url), { ttl: 300_000 });
    await using b = new LockManager(consul(server.url), { ttl: 300_000 });
    const lock = await a.acquire("destroyed");
    const { lock: next } = await waiter(b, "destroyed");
    const contender = (await server.api("GET", "kv/holdfast/destroyed/?recurse") as Pair[])
      .find(({ CreateIndex }) => BigInt(CreateIndex) === lock.token);
    await server.api("PUT", `session/destroy/${contender!.Session}`);
    assert.equal((await over(lock)).why, "revoked"); // long before the next renewal
    assert((await next!).token > lock.token);
    assert.equal(lock.held, false);
    assert.equal(await a.tryAcquire("destroyed"), undefined);
    await (await a.acquire("another")).release(); // under a new session
  });

  // Deno's node:http and fetch, and Bun's fetch, send a request again when a reused connection ends.
  for (const whose of ["our own", "a client's"]) {
    test(`a request whose connection, ${whose}, ends under it is not sent again behind our back`, async () => {
      await using proxy = await proxied();
      const at = { host: HOST, port: proxy.port };
      const client = new Consul(at);
      const calls = new ConsulHttp(settings(whose === "our own" ? at : client, {}));
      const api = new ConsulApi(calls);
      await api.names("warm", call()); // so that the connection is a reused one
      const requests = tap(proxy);
      const lost = proxy.loseReply({ request: (text) => text.startsWith("PUT ") });
      const key = `sent-once/${crypto.randomUUID()}`;
      await assert.rejects(api.transact([{ Verb: "delete", Key: key }], call()));
      await lost;
      await sleep(300);
      assert.equal(requests.filter(({ method }) => method === "PUT").length, 1);
      calls.close();
      client.destroy();
    });
  }

  test("an acquire whose reply is lost is granted, once", async () => {
    await using proxy = await proxied();
    await using locks = new LockManager(through(proxy));
    await (await locks.acquire("warm")).release();
    const lost = proxy.loseReply({ request: isEnter });
    const lock = await locks.acquire("reply");
    await lost;
    assert.equal((await keys("reply")).length, 1);
    assert.equal(await lock.release(), true);
    assert.deepEqual(await keys("reply"), []);
  });

  test("a release whose reply is lost has released", async () => {
    await using proxy = await proxied();
    await using locks = new LockManager(through(proxy));
    const lock = await locks.acquire("release");
    const lost = proxy.loseReply({ request: isRelease });
    const first = await lock.release().catch((error) => error);
    await lost;
    assert.deepEqual(await keys("release"), []);
    if (first !== true) assert.equal(await lock.release(), true, `after ${first}`);
    await (await locks.acquire("release")).release();
  });

  // Goes red if: enters do not compare the fence, or the withdrawal of an unanswered one does not raise it.
  test("an acquire that arrives after it was given up does not enter", async () => {
    await using proxy = await proxied();
    const backend = through(proxy);
    const lease = await backend.lease(request(), call());
    const kept = claim("kept");
    assert.equal((await lease.attempt(kept, call())).state, "granted");
    const late = claim("late");
    const requests = tap(proxy);
    let holding = true;
    proxy.cut("up", () => holding);
    const giveUp = new AbortController();
    const attempt = lease.attempt(late, { ...call(), signal: giveUp.signal });
    attempt.catch(() => {});
    await until(() => Promise.resolve(requests.some(({ text }) => isEnter(text))), () => "no enter was sent");
    giveUp.abort(new Error("enough"));
    await assert.rejects(attempt);
    holding = false; // what comes now gets through, what was sent before does not
    assert.equal(await lease.release(late, call()), false);
    proxy.heal(); // now it arrives
    await sleep(300);
    assert.deepEqual(await keys("late"), []);
    assert.equal((await keys("kept")).length, 1, "the session lives on");
    const next = claim("late");
    assert.equal((await lease.attempt(next, call())).state, "granted", "enters of later claims pass");
    await lease.close(call());
    await backend[Symbol.asyncDispose]();
  });

  for (
    const [what, linger] of [["and the connection ends", 50], ["and the connection hangs", 10_000]] as const
  ) {
    test(`the body of a reply breaks off ${what}`, async () => {
      await using proxy = await proxied();
      await using locks = new LockManager(through(proxy));
      await (await locks.acquire("warm")).release();
      void proxy.loseReply({ request: isEnter, keep: 150, linger });
      const lock = await locks.acquire("truncated");
      assert.equal((await locks.inspect("truncated"))?.holders.length, 1);
      void proxy.loseReply({ request: isRelease, keep: 60, linger });
      if (await lock.release().catch(() => "unknown") === "unknown") assert.equal(await lock.release(), true);
      assert.deepEqual(await keys("truncated"), []);
    });
  }

  // Goes red if: the next question goes on from the index at which the waiter read the queue.
  test("a claim that somebody writes to keeps those behind it waiting, not asking", async () => {
    await using proxy = await proxied();
    await using a = new LockManager(consul(server.url));
    await using b = new LockManager(through(proxy), { ttl: 300_000 }); // no renewal comes in between
    const lock = await a.acquire("written");
    const { lock: next } = await waiter(b, "written");
    await until(async () => proxy.connections.length > 1, () => "the waiter does not listen");
    const requests = tap(proxy);
    const name = (await keys("written")).find((name) => name.includes(lock.id));
    await server.api("PUT", `kv/${name}?flags=1`, "written to");
    await until(async () => requests.length > 0, () => "the waiter hears nothing");
    await sleep(1_000);
    assert(requests.length <= 4, `${requests.length} requests`);
    await lock.release();
    await (await next!).release();
  });

  test("a waiter whose question is cut off asks again", async () => {
    await using proxy = await proxied();
    await using a = new LockManager(consul(server.url));
    await using b = new LockManager(through(proxy));
    const lock = await a.acquire("question");
    const { lock: next } = await waiter(b, "question");
    await until(async () => proxy.connections.length > 1, () => "the waiter does not listen");
    const errors: unknown[] = [];
    b.addEventListener("error", ({ error }) => errors.push(error));
    const requests = tap(proxy);
    proxy.reset();
    await until(
      async () => requests.some(({ text }) => isWaiting(text)),
      () => "the waiter does not ask again",
    );
    assert(errors.length > 0, "nobody was told");
    await lock.release();
    await (await next!).release();
  });

  test("a waiter whose question goes unanswered in silence asks again within a ttl", async () => {
    await using proxy = await proxied();
    await using a = new LockManager(consul(server.url));
    await using b = new LockManager(through(proxy));
    const lock = await a.acquire("silence");
    const { lock: next } = await waiter(b, "silence");
    await until(async () => proxy.connections.length > 1, () => "the waiter does not listen");
    const old = new Set(proxy.connections);
    proxy.cut("down", (connection) => old.has(connection));
    await lock.release();
    await (await next!).release();
  });
});
