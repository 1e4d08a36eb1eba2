/** A reply that is none tells nothing: the node that gave it counts as one that failed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "ioredis";
import { Connection } from "../../backends/redis/client/connection.ts";
import { route } from "../../backends/redis/address.ts";
import { redlock } from "../../backends/redlock.ts";
import { BackendError, type QuorumError } from "../../internal/errors.ts";
import { LockManager } from "../../mod.ts";
import { CALL } from "../support.ts";
import { RedisServer } from "../servers/redis.ts";
import { Nodes } from "./nodes.ts";

const patient = { timeout: 60_000 };

/** Clients of somebody else's, who may leave a transaction open, which answers everything with "QUEUED". */
class Clients implements AsyncDisposable {
  readonly all: readonly Redis[];

  constructor(servers: readonly RedisServer[]) {
    this.all = servers.map(({ port }) => new Redis({ port }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.all) client.disconnect();
  }
}

// Red if: whatever comes in reply to TIME is taken for a time. No clock would be known from then on.
test("a client with a transaction open gives no link, and one again once it has ended", patient, async () => {
  await using server = await RedisServer.start();
  await using clients = new Clients([server]);
  const [client] = clients.all;
  const connection = new Connection(route(client!), { message() {}, down() {}, awaits: () => false });
  await client!.multi({ pipeline: false });
  await assert.rejects(connection.link(CALL) as Promise<unknown>, (error) => {
    assert.ok(error instanceof BackendError && error.retryable);
    assert.match(error.message, /Cannot .*QUEUED.*MULTI/);
    return true;
  });
  assert.equal(connection.time.now, undefined);
  await client!.discard();
  await connection.link(CALL);
  assert.ok(Math.abs(connection.time.now! / 1_000 - Date.now()) < 60_000);
  connection.close();
});

test("no answer teaches a clock that is none", async () => {
  await using server = await RedisServer.start();
  const connection = new Connection(route(server.url), { message() {}, down() {}, awaits: () => false });
  await connection.link(CALL);
  connection.time.learn(NaN, performance.now());
  connection.time.learn(Number("QUEUED"), performance.now());
  assert.ok(connection.time.now! > 0);
  connection.close();
});

// Red if: a node's reply is believed whatever it is.
test(
  "Redlock: nodes that reply nonsense count as failed, a minority of them does no harm",
  patient,
  async () => {
    await using nodes = await Nodes.start(3);
    await using clients = new Clients(nodes.servers);
    await using locks = new LockManager(redlock(clients.all), { retryFor: 0 });
    const [first, second] = clients.all;
    const lock = await locks.acquire("k");
    await nodes.unanimous("holdfast/{k}:votes", lock.id);
    await first!.multi({ pipeline: false });
    await lock.renew();
    await (await locks.acquire("other")).release();
    assert.equal((await locks.inspect("k"))?.holders[0]?.id, lock.id);
    await second!.multi({ pipeline: false });
    const failed = (error: QuorumError) => {
      assert.equal(error.name, "QuorumError");
      assert.equal(error.votes.filter(({ answer }) => answer === "failed").length, 2);
      assert.match(error.message, /QUEUED/);
      return true;
    };
    await assert.rejects(lock.renew(), failed);
    assert.ok(lock.held, "nothing is known");
    await assert.rejects(locks.acquire("another"), failed);
    await assert.rejects(locks.inspect("k"), failed);
    await second!.discard();
    await first!.discard();
    await lock.renew();
    assert.equal(await lock.release(), true);
    await using again = await locks.acquire("k");
    assert.ok(again.token > lock.token);
  },
);
