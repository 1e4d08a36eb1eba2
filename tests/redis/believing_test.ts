/** A reply of the wrong shape says nothing: neither that a lock is held, nor that it is not. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Redis } from "ioredis";
import { redis } from "../../backends/redis.ts";
import { BackendError, LockManager } from "../../mod.ts";
import { RedisServer } from "../servers/redis.ts";

const server = await RedisServer.start();
after(() => server[Symbol.asyncDispose]());

/** What no script replies. */
const STRANGE = [null, undefined, "OK", "QUEUED", "", true, -7, 1.5, NaN, 2 ** 60, [], [1], ["x"], [[]], {}, [
  1,
  2,
  3,
  4,
  "x",
]];

test("with a MULTI left open on the client that was handed in, nothing is known", async () => {
  const client = new Redis(server.port);
  await using locks = new LockManager(redis(client), { retryFor: 0 });
  await using others = new LockManager(redis(server.url));
  const lock = await locks.acquire("k");
  const lost: unknown[] = [];
  lock.addEventListener("lost", (event) => lost.push(event));
  await client.call("multi");
  await assert.rejects(locks.tryAcquire("other"), {
    code: "backend",
    message: /open MULTI/,
    retryable: true,
  });
  await assert.rejects(lock.renew(), BackendError);
  await assert.rejects(locks.inspect("k"), BackendError);
  assert.ok(lock.held);
  assert.deepEqual(lost, []);
  await assert.rejects(lock.release(), { code: "backend" });
  assert.equal((await others.inspect("k"))!.holders[0]!.id, lock.id, "it stands");
  await client.call("discard");
  assert.equal(await lock.release(), true);
  assert.equal(await others.inspect("k"), undefined);
  await (await locks.acquire("k")).release(); // the clock was not forgotten either
  client.disconnect();
});

test("whatever the reply, an outcome is unknown, and the repeat finds what is there", async () => {
  const client = new Redis(server.port);
  await using locks = new LockManager(redis(client), { retryFor: 0 });
  await (await locks.acquire("k")).release();
  const call = client.call.bind(client) as (...given: unknown[]) => Promise<unknown>;
  let reply: { readonly instead: unknown } | undefined;
  Object.assign(client, {
    async call(...given: unknown[]) {
      const said = await call(...given);
      return reply && /eval/i.test(String(given[0])) ? reply.instead : said;
    },
  });
  for (const instead of STRANGE) {
    const shown = `${JSON.stringify(instead)}`;
    const lock = await locks.acquire("k");
    reply = { instead };
    await assert.rejects(locks.tryAcquire("other"), BackendError, shown);
    await assert.rejects(lock.renew(), BackendError, shown);
    await assert.rejects(locks.inspect("k"), BackendError, shown);
    assert.ok(lock.held, shown);
    await assert.rejects(lock.release(), BackendError, shown);
    reply = undefined;
    await lock.release();
    await (await locks.acquire("other")).release(); // what was entered unseen is released as a debt
    await (await locks.acquire("k")).release();
  }
  client.disconnect();
});
