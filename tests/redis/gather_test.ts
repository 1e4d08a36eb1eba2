/** What is asked for in one turn of the event loop leaves together, and is answered as if alone. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers";
import { Redis } from "ioredis";
import { redis } from "../../backends/redis.ts";
import { Proxy } from "../servers/proxy.ts";
import { RedisServer } from "../servers/redis.ts";
import { CALL, claim, ENTERED, open } from "../support.ts";

/** Calls of scripts since the last reset. */
async function scripts(server: RedisServer): Promise<number> {
  const stats = await server.cli("info", "commandstats");
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

function claims(count: number, name = "k") {
  return Array.from({ length: count }, (_, n) => claim({ key: `holdfast/${name}${n}` }));
}

test("64 locks on free keys are taken in two calls, and given back in two", async () => {
  await using server = await RedisServer.start();
  await using backend = redis(server.url);
  const { lease } = await open(backend);
  const take = async () => {
    const all = claims(64);
    const outcomes = await Promise.all(all.map((one) => lease.attempt(one, CALL)));
    assert.ok(outcomes.every(({ state }) => state === "granted"));
    return async () => {
      const released = await Promise.all(all.map((one) => lease.release(one, ENTERED)));
      assert.ok(released.every(Boolean));
    };
  };
  await (await take())(); // the server learns the scripts
  await server.cli("config", "resetstat");
  const release = await take();
  assert.equal(await scripts(server), 2);
  await release();
  assert.equal(await scripts(server), 4);
  assert.deepEqual(await backend.list("holdfast/", CALL), []);
});

test("each gets its own answer: granted, contended, refused, with its metadata, in order of arrival", async () => {
  await using server = await RedisServer.start();
  await using backend = redis(server.url);
  const { lease } = await open(backend);
  const held = claim({ key: "holdfast/held" });
  await lease.attempt(held, CALL);
  await server.cli("set", "holdfast/{foreign}", "1");
  const noted = claim({ key: "holdfast/noted", metadata: '{"n":1}' });
  const [first, second] = [claim({ key: "holdfast/twice" }), claim({ key: "holdfast/twice" })];
  const waiter = claim({ key: "holdfast/held" });
  const hurried = claim({ key: "holdfast/held", wait: false });
  const all = [noted, first, waiter, second, claim({ key: "holdfast/foreign" }), hurried];
  const outcomes = await Promise.allSettled(all.map((one) => lease.attempt(one, CALL)));
  assert.deepEqual(
    outcomes.map((outcome) => outcome.status === "fulfilled" ? outcome.value.state : "rejected"),
    ["granted", "granted", "contended", "contended", "rejected", "contended"],
  );
  assert.equal((await backend.list("holdfast/noted", CALL))[0]!.metadata, '{"n":1}');
  assert.deepEqual((await backend.list("holdfast/twice", CALL)).map(({ id }) => id), [first.id, second.id]);
  assert.deepEqual((await backend.list("holdfast/held", CALL)).map(({ id }) => id), [held.id, waiter.id]);
  // The successor is called although the releases leave together.
  const called = lease.changed(waiter, CALL);
  const released = await Promise.all([noted, first, held, claim()].map((one) => lease.release(one, CALL)));
  assert.deepEqual(released, [true, true, true, false]);
  assert.equal((await called as { state: string }).state, "granted");
  assert.equal((await backend.list("holdfast/twice", CALL))[0]!.held, true);
});

test("who asks in one turn is not overtaken by who asks in the next", async () => {
  await using server = await RedisServer.start();
  await using backend = redis(server.url);
  const { lease } = await open(backend);
  const held = claim();
  await Promise.all([held, ...claims(3, "warm")].map((one) => lease.attempt(one, CALL))); // it learns the scripts
  const [early, late] = [claim(), claim()];
  const all = [...claims(3, "free"), early].map((one) => lease.attempt(one, CALL));
  await new Promise((resolve) => setImmediate(resolve)); // that turn has left; nothing has come back
  await Promise.all([...all, lease.attempt(late, CALL)]);
  const queue = await backend.list("holdfast/k", CALL);
  assert.deepEqual(queue.map(({ id }) => id), [held.id, early.id, late.id]);
});

test("a client that throws, rather than rejects, is an error of each call and no more", async () => {
  await using server = await RedisServer.start();
  const client = new Redis(server.port);
  await using backend = redis(client);
  const { lease } = await open(backend);
  await lease.attempt(claim(), CALL);
  client.call = () => {
    throw new Error("thrown");
  };
  const outcomes = await Promise.allSettled(claims(3).map(async (one) => await lease.attempt(one, CALL)));
  assert.deepEqual(outcomes.map(({ status }) => status), ["rejected", "rejected", "rejected"]);
  client.disconnect();
});

test("a lost reply leaves each of them unknown, and the repeat finds all in their places", async () => {
  await using server = await RedisServer.start();
  await using proxy = await Proxy.start(server);
  await using backend = redis({ port: proxy.port });
  const { lease } = await open(backend);
  const first = claims(3);
  await Promise.all(first.map((one) => lease.attempt(one, CALL)));
  await Promise.all(first.map((one) => lease.release(one, CALL)));
  const all = claims(3);
  let lost = proxy.loseReply({ request: (chunk) => /evalsha/i.test(chunk) });
  const outcomes = await Promise.allSettled(all.map((one) => lease.attempt(one, CALL)));
  await lost;
  assert.ok(outcomes.every(({ status }) => status === "rejected"));
  const before = await backend.list("holdfast/", CALL);
  assert.equal(before.length, 3);
  const repeated = await Promise.all(all.map((one) => lease.attempt(one, CALL)));
  assert.ok(repeated.every(({ state }) => state === "granted"));
  const tokens = before.map(({ token }) => token).sort();
  assert.deepEqual((await backend.list("holdfast/", CALL)).map(({ token }) => token).sort(), tokens);
  await Promise.all(all.map((one) => lease.release(one, CALL)));
  const more = claims(3, "more");
  await Promise.all(more.map((one) => lease.attempt(one, CALL)));
  lost = proxy.loseReply({ request: (chunk) => /evalsha/i.test(chunk) });
  await Promise.allSettled(more.map((one) => lease.release(one, CALL)));
  await lost;
  assert.deepEqual(await Promise.all(more.map((one) => lease.release(one, CALL))), [false, false, false]);
});
