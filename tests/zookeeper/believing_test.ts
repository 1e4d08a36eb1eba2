/** Whoever answers in the place of the server: another ensemble, one that has lost its data, one that is full. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { zookeeper } from "../../backends/zookeeper.ts";
import { BackendError, type Lock, LockManager } from "../../mod.ts";
import { HOST, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { ZooKeeperServer } from "../servers/zookeeper.ts";

const tickTime = 500;

describe("somebody else behind the address of ZooKeeper", () => {
  let server: ZooKeeperServer;
  /** Further on in its transactions. */
  let other: ZooKeeperServer;

  before(async () => {
    const config = ["maxSessionTimeout=60000"];
    [server, other] = await Promise.all([
      ZooKeeperServer.start({ tickTime, config }),
      ZooKeeperServer.start({ tickTime, config: [...config, "maxClientCnxns=3"] }),
    ]);
    await using further = manager(other.address);
    for (let n = 0; n < 20; n++) await (await further.acquire("further")).release();
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
  });

  const manager = (address: string | (() => Promise<string>), options = {}) =>
    new LockManager(zookeeper({ address, tickTime }), { ttl: 60_000, ...options });

  const says = async (lock: Lock, what: RegExp) => {
    let said = "";
    await until(
      () => lock.renew().then(() => false, ({ message }) => what.test(said = message)),
      () => said,
    );
  };
  const renewed = (lock: Lock) =>
    until(() => lock.renew().then(() => true, () => false), () => `not renewed: ${lock.signal.reason}`);

  // Red if: whoever says that the session has expired is believed.
  test("another ensemble does not know the session: the lock is not lost by that, and goes on at its own", async () => {
    await using ours = await Proxy.start(server);
    await using theirs = await Proxy.start(other);
    let at = ours;
    await using locks = manager(() => Promise.resolve(`${HOST}:${at.port}`));
    const lock = await locks.acquire("k");
    at = theirs;
    ours.refuse();
    await says(lock, /of another ensemble/);
    assert.equal(lock.held, true, `${lock.signal.reason}`);
    at = ours;
    ours.heal();
    await renewed(lock);
    assert.equal(await lock.release(), true);
  });

  test("a server with too many connections from this host: the error says what it may be; a closed manager makes room", async () => {
    const connections = async () => {
      const said = await other.word("cons").catch(() => ""); // refused, while there are too many
      return said === "" ? Infinity : said.split("\n").filter((line) => line.includes("sid=")).length;
    };
    await until(async () => await connections() === 0, () => "connections are left from before");
    const some = ["k1", "k2", "k3"].map((key) => ({ key, locks: manager(other.address) }));
    for (const { key, locks } of some) await locks.acquire(key);
    await using full = manager(other.address, { retryFor: 0 });
    await assert.rejects(full.acquire("k4"), (error: Error) => {
      assert.ok(error instanceof BackendError);
      assert.match(error.message, /too many connections from this host \(maxClientCnxns\)/);
      return true;
    });
    await Promise.all(some.map(({ locks }) => locks.close()));
    await until(async () => await connections() === 0, () => "connections are left");
    assert.equal((await full.acquire("k4")).held, true);
  });

  test("a server that is behind what the session has seen does not take it back: the error says what that means", async () => {
    await using ahead = await Proxy.start(other);
    await using behind = await Proxy.start(server);
    let at = ahead;
    await using locks = manager(() => Promise.resolve(`${HOST}:${at.port}`));
    const lock = await locks.acquire("k");
    for (let n = 0; n < 50; n++) await (await locks.acquire("further")).release();
    at = behind;
    ahead.refuse();
    await says(lock, /has lost its data \(0x/);
    at = ahead;
    ahead.heal();
    await renewed(lock);
  });
});
