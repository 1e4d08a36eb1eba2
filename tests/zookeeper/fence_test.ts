/** The fence in ZooKeeper: the write is a multi that fails if a later holder was here. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { after, test } from "node:test";
import zookeeper from "node-zookeeper-client";
import { StaleTokenError, zookeeperFence, type ZooKeeperGuard } from "../../fence.ts";
import { writesLate } from "../fence/late.ts";
import { refusesSmaller, tellsApart } from "../fence/rule.ts";
import { ZooKeeperServer } from "../servers/zookeeper.ts";

const SLOW = { timeout: 120_000 };

const server = await ZooKeeperServer.start();
const client = zookeeper.createClient(server.address);
const connected = new Promise<void>((resolve) => client.once("connected", resolve));
client.connect();
await connected;
after(async () => {
  client.close();
  await server[Symbol.asyncDispose]();
});
const fence = zookeeperFence(client);

const create = (path: string) =>
  new Promise<void>((resolve, reject) => client.create(path, (error) => error ? reject(error) : resolve()));
const get = (path: string) =>
  new Promise<string>((resolve, reject) =>
    client.getData(path, (error, data) => error ? reject(error) : resolve(data.toString()))
  );
/** Resolves with the code of the failure, if it fails. */
const write = (path: string, text: string, guard: ZooKeeperGuard) =>
  new Promise<number | undefined>((resolve) =>
    client.transaction().check(guard.path, guard.version).setData(path, Buffer.from(text))
      .commit((error) => resolve((error as { getCode?(): number } | null)?.getCode?.()))
  );

test("smaller than the greatest is refused, whatever the size", SLOW, async () => {
  await refusesSmaller(fence, "sizes");
});

test("a later holder that comes between check and write keeps the write out", SLOW, async () => {
  await create("/between");
  const older = await fence.guard("between", 1n); // the first of all, whose version could be taken for any
  assert.ok(older.version >= 1);
  assert.equal(await write("/between", "older", older), undefined);
  assert.deepEqual(await fence.guard("between", 1n), older, "a check that is repeated changes nothing");
  const newer = await fence.guard("between", 2n);
  assert.equal(await write("/between", "late", older), zookeeper.Exception.BAD_VERSION);
  assert.equal(await write("/between", "newer", newer), undefined);
  assert.equal(await get("/between"), "newer");
  await assert.rejects(fence.guard("between", 1n), new StaleTokenError("between", 1n, 2n));
});

/** A fence over the same client, before each of whose transactions another holder is checked. */
function overtaken(key: string, token: bigint): typeof fence {
  return zookeeperFence({
    getData: client.getData.bind(client),
    mkdirp: client.mkdirp.bind(client),
    transaction() {
      const multi = client.transaction();
      const commit = multi.commit.bind(multi);
      multi.commit = (done) => void fence.check(key, token).then(() => commit(done));
      return multi;
    },
  });
}

test("a later holder that comes while an older one is checked is not forgotten", SLOW, async () => {
  for (const known of [false, true]) {
    const key = `meanwhile, ${known}`;
    if (known) await fence.check(key, 1n);
    await assert.rejects(overtaken(key, 3n).guard(key, 2n), new StaleTokenError(key, 2n, 3n));
    await fence.check(key, 3n);
  }
});

test("what was read, maybe of a follower that is behind, is checked by the leader", SLOW, async () => {
  await fence.check("read", 2n);
  await assert.rejects(overtaken("read", 3n).check("read", 2n), new StaleTokenError("read", 2n, 3n));
});

test("a crowd of checks at once, the first of all among them, remembers the greatest", SLOW, async () => {
  for (const key of ["crowd", "another crowd"]) {
    const asked = Array.from({ length: 40 }, (_, at) => fence.check(key, BigInt((at * 27) % 40)));
    for (const { status, reason } of await Promise.allSettled(asked) as PromiseRejectedResult[]) {
      if (status === "rejected") assert.ok(reason instanceof StaleTokenError, String(reason));
    }
    await assert.rejects(fence.check(key, 38n), { seen: 39n });
  }
});

test("keys that look alike are not one", SLOW, async () => {
  await tellsApart(fence);
});

test("what is no token lets nothing pass, and what is no client is refused", SLOW, async () => {
  await create("/holdfast-fence/odd");
  await assert.rejects(fence.check("odd", 1n), /not written by a fence/);
  for (const wrong of [undefined, {}, "localhost:2181"]) {
    const expected = { name: "TypeError", message: /client of the package node-zookeeper-client/ };
    assert.throws(() => zookeeperFence(wrong as never), expected);
  }
});

test("a holder that was stopped past its ttl writes late", SLOW, async () => {
  await writesLate({ kind: "zookeeper", at: server.address });
});
