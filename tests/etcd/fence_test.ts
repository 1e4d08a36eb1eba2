/** The fence in etcd: the write is a transaction that succeeds only if no later holder was here. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Etcd3 } from "etcd3";
import { type EtcdFence, etcdFence, StaleTokenError } from "../../fence.ts";
import { writesLate } from "../fence/late.ts";
import { refusesSmaller, tellsApart } from "../fence/rule.ts";
import { EtcdServer } from "../servers/etcd.ts";

const SLOW = { timeout: 120_000 };

const server = await EtcdServer.start();
const client = new Etcd3({ hosts: server.url });
after(async () => {
  client.close();
  await server[Symbol.asyncDispose]();
});

/** As anybody would ask the JSON gateway. */
async function ask(request: object): Promise<{ succeeded?: boolean }> {
  const response = await fetch(`${server.url}/v3/kv/txn`, { method: "POST", body: JSON.stringify(request) });
  assert.ok(response.ok);
  return await response.json();
}

const FENCES: Readonly<Record<string, EtcdFence>> = {
  etcd3: etcdFence(client),
  "JSON gateway": etcdFence({ txn: (request: object) => ask(request) }),
};

for (const [name, fence] of Object.entries(FENCES)) {
  test(`${name}: smaller than the greatest is refused, whatever the size`, SLOW, async () => {
    await refusesSmaller(fence, `sizes of ${name}`);
  });

  test(`${name}: a later holder that comes between check and write keeps the write out`, SLOW, async () => {
    const key = `between of ${name}`;
    const write = async (guard: Awaited<ReturnType<EtcdFence["guard"]>>, text: string) => {
      const { succeeded } = await client.if(guard.key, "Value", "==", guard.value)
        .then(client.put(key).value(text)).commit();
      const put = { request_put: { key: btoa(`${key}, by JSON`), value: btoa(text) } };
      const also = await ask({ compare: [guard.compare], success: [put] });
      assert.equal(also.succeeded ?? false, succeeded);
      return succeeded;
    };
    const older = await fence.guard(key, 1n);
    assert.equal(await write(older, "older"), true);
    await fence.guard(key, 1n);
    assert.equal(await write(older, "older, again"), true, "a check that is repeated changes nothing");
    const newer = await fence.guard(key, 2n);
    assert.equal(await write(older, "late"), false);
    assert.equal(await write(newer, "newer"), true);
    assert.equal(await client.get(key).string(), "newer");
    assert.equal(await client.get(`${key}, by JSON`).string(), "newer");
    await assert.rejects(fence.guard(key, 1n), new StaleTokenError(key, 1n, 2n));
  });
}

test("keys that look alike are not one", SLOW, async () => {
  await tellsApart(FENCES["etcd3"]!);
});

test("a crowd of checks at once remembers the greatest", SLOW, async () => {
  const fence = FENCES["etcd3"]!;
  await Promise.allSettled(
    Array.from({ length: 60 }, (_, at) => fence.check("crowd", BigInt((at * 37) % 60))),
  );
  await assert.rejects(fence.check("crowd", 58n), { seen: 59n });
});

test("what is no token lets nothing pass, and what is no client is refused", SLOW, async () => {
  await client.put("holdfast-fence/odd").value("seven");
  await assert.rejects(FENCES["etcd3"]!.check("odd", 1n), /not written by a fence/);
  for (const wrong of [undefined, {}, { kv: {} }, "http://localhost:2379"]) {
    assert.throws(() => etcdFence(wrong as never), { name: "TypeError", message: /client of etcd3/ });
  }
});

for (const kind of ["etcd", "gateway"] as const) {
  test(`a holder that was stopped past its ttl writes late: ${kind}`, SLOW, async () => {
    await writesLate({ kind, at: server.url }, `of ${kind}`);
  });
}
