/** The fence in Consul: the write is a transaction that fails if a later holder was here. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import Consul from "consul";
import { consulFence, type ConsulGuard, StaleTokenError } from "../../fence.ts";
import { writesLate } from "../fence/late.ts";
import { refusesSmaller, tellsApart } from "../fence/rule.ts";
import { ConsulServer } from "../servers/consul.ts";

const SLOW = { timeout: 120_000 };

const server = await ConsulServer.start();
const client = new Consul({ host: server.host, port: server.port });
after(async () => {
  client.destroy();
  await server[Symbol.asyncDispose]();
});
const fence = consulFence(client);

/** The status. */
async function write(key: string, text: string, guard: ConsulGuard): Promise<number> {
  const set = { KV: { Verb: "set", Key: key, Value: btoa(text) } };
  const response = await fetch(`${server.url}/v1/txn`, { method: "PUT", body: JSON.stringify([guard, set]) });
  await response.text();
  return response.status;
}

test("smaller than the greatest is refused, whatever the size", SLOW, async () => {
  await refusesSmaller(fence, "sizes");
});

test("a later holder that comes between check and write keeps the write out", SLOW, async () => {
  for (const key of ["between", "between/à%2F"]) {
    const older = await fence.guard(key, 1n);
    assert.equal(await write("text", "older", older), 200);
    assert.deepEqual(await fence.guard(key, 1n), older, "a check that is repeated changes nothing");
    const newer = await fence.guard(key, 2n);
    assert.equal(await write("text", "late", older), 409);
    assert.equal(await write("text", "newer", newer), 200);
    assert.equal((await client.kv.get("text"))?.Value, "newer");
    await assert.rejects(fence.guard(key, 1n), new StaleTokenError(key, 1n, 2n));
  }
});

test("a later holder that comes while an older one is checked is not forgotten", SLOW, async () => {
  for (const known of [false, true]) {
    const key = `meanwhile, ${known}`;
    if (known) await fence.check(key, 1n);
    const slow = consulFence({
      kv: {
        get: (options) => client.kv.get(options),
        async set(options) {
          await fence.check(key, 3n);
          return await client.kv.set(options);
        },
      },
    });
    await assert.rejects(slow.check(key, 2n), new StaleTokenError(key, 2n, 3n));
    await fence.check(key, 3n);
  }
});

test("a crowd of checks at once, the first of all among them, remembers the greatest", SLOW, async () => {
  const asked = Array.from({ length: 40 }, (_, at) => fence.check("crowd", BigInt((at * 27) % 40)));
  for (const { status, reason } of await Promise.allSettled(asked) as PromiseRejectedResult[]) {
    if (status === "rejected") assert.ok(reason instanceof StaleTokenError, String(reason));
  }
  await assert.rejects(fence.check("crowd", 38n), { seen: 39n });
});

test("keys that look alike are not one", SLOW, async () => {
  await tellsApart(fence);
});

test("what is no token lets nothing pass, and what is no client is refused", SLOW, async () => {
  await client.kv.set("holdfast-fence/odd", "seven");
  await assert.rejects(fence.check("odd", 1n), /not written by a fence/);
  for (const wrong of [undefined, {}, { kv: {} }, "http://localhost:8500"]) {
    assert.throws(() => consulFence(wrong as never), {
      name: "TypeError",
      message: /client of the package consul/,
    });
  }
});

test("a holder that was stopped past its ttl writes late", SLOW, async () => {
  await writesLate({ kind: "consul", at: server.url });
});
