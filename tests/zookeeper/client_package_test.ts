/**
 * Why Holdfast speaks to ZooKeeper through a wire client of its own (`backends/zookeeper/`) and not through
 * `node-zookeeper-client`, the package everybody uses: each test shows, on a real server, a fault of
 * version 1.1.3 that a lock cannot live with and that cannot be mended from outside. Should one of them
 * fail because the package has got better, think again.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import client from "node-zookeeper-client";
import { Proxy } from "../servers/proxy.ts";
import { ZooKeeperServer } from "../servers/zookeeper.ts";
import { Operator } from "./operator.ts";

const sessionTimeout = 4_000; // longer than this process may stand still

describe("node-zookeeper-client", () => {
  let server: ZooKeeperServer;
  let operator: Operator;
  let proxy: Proxy;
  let zk: client.Client;

  before(async () => {
    server = await ZooKeeperServer.start();
    operator = await Operator.connect(server.address);
  });
  after(async () => {
    await operator[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    proxy = await Proxy.start(server);
    zk = client.createClient(`127.0.0.1:${proxy.port}`, { sessionTimeout, retries: 0, spinDelay: 50 });
    const connected = new Promise<void>((resolve) => zk.once("connected", resolve));
    zk.connect();
    await connected;
  });
  afterEach(async () => {
    zk.close();
    await proxy[Symbol.asyncDispose]();
  });

  const create = (path: string): Promise<string> =>
    new Promise((resolve, reject) =>
      zk.create(path, client.CreateMode.EPHEMERAL, (error, made) => error ? reject(error) : resolve(made))
    );

  test("calls itself connected long after the session has ended, and leaves a request pending", async () => {
    await create("/black-hole");
    proxy.cut();
    let settled = false;
    create("/pending").catch(() => {}).finally(() => settled = true);
    while (await operator.exists("/black-hole")) await sleep(50);
    await sleep(2 * sessionTimeout);
    assert.equal(zk.getState(), client.State.SYNC_CONNECTED);
    assert.equal(settled, false);
  });

  test("sends what was asked while disconnected once it is connected again: a late claim enters", async () => {
    const disconnected = new Promise<void>((resolve) => zk.once("disconnected", resolve));
    proxy.refuse();
    await disconnected;
    let settled = false;
    create("/late").catch(() => {}).finally(() => settled = true);
    await sleep(300);
    assert.equal(settled, false, "it neither fails nor can be taken back");
    proxy.heal();
    while (!await operator.exists("/late")) await sleep(20);
  });

  test("keeps the first half of a reply that was cut off, and reads it as the start of the next connection", async () => {
    await create("/half");
    const lost = proxy.loseReply({ keep: 10 });
    await assert.rejects(create("/cut-off"), /CONNECTION_LOSS/);
    await lost;
    let settled = false;
    create("/after").catch(() => {}).finally(() => settled = true);
    await sleep(2 * sessionTimeout);
    assert.equal(settled, false);
    assert.equal(
      await operator.exists("/half"),
      false,
      "the session was lost, though the server could be reached",
    );
  });

  test("cannot take back a watch: each waiter that gives up leaves one behind", () => {
    assert.equal("removeWatches" in zk, false);
  });

  test("cannot create a container, nor learn the stat of what it creates: parents pile up, tokens cost a call", () => {
    assert.deepEqual(Object.keys(client.CreateMode), [
      "PERSISTENT",
      "PERSISTENT_SEQUENTIAL",
      "EPHEMERAL",
      "EPHEMERAL_SEQUENTIAL",
    ]);
  });
});
