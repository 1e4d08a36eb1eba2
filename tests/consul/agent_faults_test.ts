/** What goes wrong in Consul itself, and what becomes of the locks. */
import assert from "node:assert/strict";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { consul } from "../../backends/consul.ts";
import { LockManager } from "../../mod.ts";
import { ConsulCluster, ConsulServer } from "../servers/consul.ts";
import { HOST, until } from "../servers/process.ts";
import { ConsulClientAgent } from "./client_agent.ts";
import { over, waiter } from "../support.ts";

describe("faults of Consul itself", { concurrency: true }, () => {
  test("an agent that restarts with its data keeps the locks", async () => {
    await using server = await ConsulServer.start({ persistent: true });
    await using a = new LockManager(consul(server.url), { ttl: 30_000 });
    await using b = new LockManager(consul(server.url), { ttl: 30_000, retryFor: 30_000 });
    const lock = await a.acquire("k");
    const { lock: next } = await waiter(b, "k");
    await server.restart();
    await until(
      async () => await lock.renew().then(() => true, () => false),
      () => "no renewal gets through",
    );
    assert(lock.held && !lock.signal.aborted);
    assert.equal(await lock.release(), true);
    assert((await next!).token > lock.token);
  });

  test("an agent that restarts without its data has ended them", async () => {
    await using server = await ConsulServer.start();
    await using locks = new LockManager(consul(server.url), { ttl: 60_000 });
    const lock = await locks.acquire("k");
    await server.restart();
    await until(
      async () => await lock.renew().then(() => false, () => lock.signal.aborted),
      () => "the lock is still held",
    );
    assert.equal((await over(lock)).why, "revoked");
    await (await locks.acquire("k")).release();
  });

  test("a leader that is killed costs nothing but time", async () => {
    await using cluster = await ConsulCluster.start();
    const leader = await cluster.leader();
    const others = cluster.servers.filter((server) => server !== leader);
    await using a = new LockManager(consul(others[0]!.url), { ttl: 60_000 });
    await using b = new LockManager(consul(others[1]!.url), { ttl: 20_000, retryFor: 30_000 });
    const lock = await a.acquire("k");
    const { lock: next } = await waiter(b, "k");
    await leader.kill();
    await cluster.leader(leader);
    await until(
      async () => await lock.renew().then(() => true, () => false),
      () => "no renewal gets through",
    );
    assert(lock.held && !lock.signal.aborted);
    assert.equal(await lock.release(), true);
    const second = await next!;
    assert(second.token > lock.token);

    // Without a majority the agents answer 500: an error that says so, and no `undefined`.
    await others[1]!.kill();
    await using c = new LockManager(consul(others[0]!.url), { retryFor: 0 });
    await assert.rejects(c.tryAcquire("other"), {
      code: "backend",
      message: /Consul answered 500|did not answer/,
    });
    await using d = new LockManager(consul(others[0]!.url), { retryFor: 60_000 });
    const patient = d.acquire("other");
    await Promise.all([leader.restart(), others[1]!.restart()]);
    await (await patient).release();
  });

  // Goes red if: the session has the health checks that Consul gives it by default.
  test("an agent that dies does not take the locks with it: another one renews them", async () => {
    await using server = await ConsulServer.start();
    await using agent = await ConsulClientAgent.start(server);
    const at = [agent.url];
    await using locks = new LockManager(consul(() => Promise.resolve(at.shift() ?? server.url)), {
      ttl: 30_000,
    });
    const lock = await locks.acquire("k");
    await agent.process.kill();
    await until(async () => {
      const checks = await server.api("GET", "health/node/client") as { Status: string }[];
      return checks.some(({ Status }) => Status === "critical");
    }, () => "nobody has noticed that the agent is dead");
    await lock.renew().catch(() => lock.renew()); // the first one finds it dead
    assert(lock.held && !lock.signal.aborted);
    assert.equal(await lock.release(), true);
  });

  test("an agent that answers 500 is asked again, and named once retryFor is over", async () => {
    await using server = await ConsulServer.start();
    let failures = 4;
    const answers: number[] = [];
    const ill = http.createServer(async (request, response) => {
      const body = (await request.toArray()).join("");
      const { method } = request;
      const reply = failures-- > 0 ? new Response("rpc error: out of sorts", { status: 500 }) : await fetch(
        `${server.url}${request.url}`,
        { method, ...(method === "PUT" && { body }) },
      );
      answers.push(reply.status);
      response.writeHead(reply.status, { connection: "close" }).end(await reply.text());
    });
    await new Promise<void>((resolve) => ill.listen(0, HOST, resolve));
    const { port } = ill.address() as AddressInfo;
    try {
      await using locks = new LockManager(consul({ host: HOST, port }), { retryFor: 30_000 });
      const lock = await locks.acquire("k"); // two to open a session, and so on
      failures = 1;
      assert.equal(await lock.release().catch(() => lock.release()), true);
      assert.equal(answers.filter((status) => status === 500).length, 5);
      await using hasty = new LockManager(consul({ host: HOST, port }), { retryFor: 0 });
      failures = Infinity;
      await assert.rejects(hasty.tryAcquire("k"), {
        code: "backend",
        message: /Consul answered 500: rpc error: out of sorts/,
      });
      failures = 0;
    } finally {
      ill.closeAllConnections();
      ill.close();
    }
  });

  test("an agent that limits the rate of requests is asked again later", async () => {
    await using server = await ConsulServer.start();
    await using agent = await ConsulClientAgent.start(server, { limits: { rpc_rate: 5, rpc_max_burst: 5 } });
    await using locks = new LockManager(consul(agent.url), { retryFor: 30_000 });
    const errors: string[] = [];
    locks.addEventListener("error", ({ error }) => errors.push(String(error)));
    const held = await Promise.all(Array.from({ length: 12 }, (_, n) => locks.acquire(`k${n}`)));
    assert(errors.some((error) => error.includes("Consul answered 429: too many requests")), `${errors}`);
    assert(held.every((lock) => lock.held));
  });
});
