/** What users of `consul-locker` have, under Holdfast's names; and its faults, not inherited. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { consul } from "../../backends/consul.ts";
import { LockManager, type LostEvent } from "../../mod.ts";
import { ConsulServer } from "../servers/consul.ts";
import { freePort, HOST, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { tap } from "./tap.ts";

describe("coming from consul-locker", () => {
  let server: ConsulServer;
  before(async () => void (server = await ConsulServer.start({ tls: true })));
  after(async () => await server[Symbol.asyncDispose]());

  const endSession = async (token: bigint, key: string): Promise<void> => {
    const pairs = await server.api("GET", `kv/${key}/?recurse`) as { Session: string; CreateIndex: number }[];
    const { Session } = pairs.find(({ CreateIndex }) => BigInt(CreateIndex) === token)!;
    await server.api("PUT", `session/destroy/${Session}`);
  };

  /** Where an agent is not listening yet, and how to let it. */
  async function absent(): Promise<
    { proxy: Proxy; locks: LockManager; appear: () => void; asked: () => number }
  > {
    const proxy = await Proxy.start({ port: server.port });
    proxy.refuse();
    const locks = new LockManager(consul({ host: HOST, port: proxy.port }), { retryFor: 20_000 });
    let failed = 0;
    locks.addEventListener("error", () => failed++);
    return { proxy, locks, appear: () => proxy.heal(), asked: () => failed };
  }

  test("a factory with host, port, secure and ca", async () => {
    const ca = readFileSync(server.certificates!.ca, "utf8");
    await using locks = new LockManager(consul({ host: HOST, port: server.tlsPort, secure: true, ca }));
    await (await locks.acquire("k")).release();
  });

  test("a name that prefixes keys: only lockers of one name compete", async () => {
    await using a = new LockManager(consul(server.url), { prefix: "billing" });
    await using b = new LockManager(consul(server.url), { prefix: "billing" });
    await using c = new LockManager(consul(server.url), { prefix: "shipping" });
    await a.acquire("k");
    assert.equal(await b.tryAcquire("k"), undefined);
    assert((await c.tryAcquire("k"))?.held);
    const keys = await server.api("GET", "kv/billing/?keys") as string[];
    assert(keys.some((key) => key.startsWith("billing/k/")));
  });

  test("lock calls made before the session exists wait for it", async () => {
    const { proxy, locks, appear, asked } = await absent();
    const calls = [locks.acquire("early-1"), locks.tryAcquire("early-2"), locks.acquire("early-3")];
    await until(() => Promise.resolve(asked() > 2), () => "nothing was tried");
    appear();
    for (const lock of await Promise.all(calls)) assert(lock?.held);
    await locks.close();
    await proxy[Symbol.asyncDispose]();
  });

  // Its fault: once the retries were exhausted, buffered calls pended for ever.
  test("retries exhausted: the calls reject, say what is wrong, and later ones try again", async () => {
    const port = await freePort();
    let address = `${HOST}:${port}`;
    await using locks = new LockManager(consul(() => Promise.resolve(address)), { retryFor: 300 });
    const calls = await Promise.allSettled([locks.acquire("k"), locks.acquire("k"), locks.tryAcquire("k")]);
    for (const call of calls) {
      assert.equal(call.status, "rejected");
      const { code, message } = (call as PromiseRejectedResult).reason;
      assert.equal(code, "backend");
      assert.match(message, new RegExp(`Cannot talk to the Consul agent at ${HOST}:${port}`));
    }
    address = `${server.host}:${server.port}`;
    await (await locks.acquire("k")).release();
  });

  // Its fault: releasing before the session existed did not withdraw the buffered lock.
  test("giving up before the session exists withdraws the call", async () => {
    const { proxy, locks, appear, asked } = await absent();
    const giveUp = new AbortController();
    const call = locks.acquire("given-up", { signal: giveUp.signal });
    await until(() => Promise.resolve(asked() > 0), () => "nothing was tried");
    giveUp.abort(new Error("changed my mind"));
    await assert.rejects(call, /changed my mind/);
    appear();
    await (await locks.acquire("later")).release();
    assert.equal(await locks.inspect("given-up"), undefined);
    await locks.close();
    await proxy[Symbol.asyncDispose]();
  });

  test("a try-lock that says that it is locked already", async () => {
    await using a = new LockManager(consul(server.url), { prefix: "try" });
    await using b = new LockManager(consul(server.url), { prefix: "try" });
    const lock = await a.tryAcquire("k");
    assert(lock?.held);
    assert.equal(await b.tryAcquire("k"), undefined);
    assert.equal(await a.tryAcquire("k"), undefined);
    await lock.release();
    assert((await b.tryAcquire("k"))?.held);
  });

  test("concurrent calls for one id send one request", async () => {
    await using proxy = await Proxy.start({ port: server.port });
    await using locks = new LockManager(consul({ host: HOST, port: proxy.port }), {
      prefix: "one",
      ttl: 300_000, // no renewal is among the requests
    });
    await using others = new LockManager(consul(server.url), { prefix: "one" });
    await (await locks.acquire("warm")).release();
    const all = tap(proxy);
    const requests = () => all.splice(0).filter(({ path }) => !path.includes("index=")); // but for listening
    const calls = await Promise.all(Array.from({ length: 10 }, () => locks.tryAcquire("k")));
    assert.equal(calls.filter((lock) => lock?.held).length, 1);
    const sent = requests();
    assert.equal(sent.filter(({ text }) => text.includes('"lock"')).length, 1, "one request to lock it");
    assert(sent.length <= 2, `with the look before it: ${sent.length}`);

    await others.acquire("theirs");
    requests();
    assert.deepEqual(
      await Promise.all(Array.from({ length: 10 }, () => locks.tryAcquire("theirs"))),
      Array(10).fill(undefined),
    );
    const looks = requests().length;
    assert(looks <= 2, `${looks} requests for 10 calls`);
  });

  test("an owned lock is answered from memory", async () => {
    await using proxy = await Proxy.start({ port: server.port });
    await using locks = new LockManager(consul({ host: HOST, port: proxy.port }), { prefix: "memory" });
    const lock = await locks.acquire("k");
    const requests = tap(proxy);
    assert.equal(lock.held, true);
    assert.equal(await locks.tryAcquire("k"), undefined);
    assert.deepEqual(requests.filter(({ path }) => !path.includes("index=")), []);
  });

  test("release, and ending the session frees every lock", async () => {
    const locks = new LockManager(consul(server.url), { prefix: "end" });
    const [a] = await Promise.all(["a", "b", "c"].map((key) => locks.acquire(key)));
    assert.equal(await a!.release(), true);
    await locks.close();
    await using others = new LockManager(consul(server.url), { prefix: "end" });
    for (const key of ["a", "b", "c"]) assert((await others.tryAcquire(key))?.held);
  });

  test("lock and session information", async () => {
    await using locks = new LockManager(consul(server.url), { prefix: "info", metadata: { host: "web-1" } });
    const lock = await locks.acquire("k");
    const seen = await locks.inspect("k");
    assert.deepEqual(seen?.holders[0]?.metadata, { host: "web-1" });
    assert.equal(seen?.holders[0]?.token, lock.token);
    const [{ clientId } = { clientId: "" }] = (await locks.query()).held;
    const sessions = await server.api("GET", "session/list") as Record<string, unknown>[];
    const mine = sessions.find(({ Name }) => Name === `holdfast ${clientId}`);
    assert.deepEqual([mine?.TTL, mine?.Behavior, mine?.LockDelay], ["10000ms", "delete", 0]);
    assert.deepEqual(mine?.NodeChecks ?? [], [], "no health check ends it");
  });

  // Its fault: "owned" survived a session that the server had ended.
  test('"owned" ends when the server ends the session, and the next lock is under a new one', async () => {
    await using a = new LockManager(consul(server.url), { prefix: "owned" });
    await using b = new LockManager(consul(server.url), { prefix: "owned" });
    const lock = await a.acquire("k");
    const lost = new Promise<LostEvent>((resolve) => lock.addEventListener("lost", resolve, { once: true }));
    await endSession(lock.token, "owned/k");
    assert.equal((await lost).reason, "revoked");
    assert.deepEqual([lock.held, lock.signal.aborted, await lock.release()], [false, true, false]);
    const next = await b.tryAcquire("k");
    assert(next!.token > lock.token);
    assert.equal(await a.tryAcquire("k"), undefined);
    await next!.release();
    assert((await a.tryAcquire("k"))?.held);
  });
});
