/** How one gets to ZooKeeper: addresses, locators, chroots, credentials; and away from it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { connect, createServer } from "node:net";
import { networkInterfaces } from "node:os";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { zookeeper, type ZooKeeperAddress } from "../../backends/zookeeper.ts";
import { settingsOf } from "../../backends/zookeeper/address.ts";
import { hostAndPort } from "../../backends/zookeeper/client/servers.ts";
import { dial } from "../../backends/zookeeper/client/dial.ts";
import { BackendError, LockManager } from "../../mod.ts";
import { freePort, HOST, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { ZooKeeperServer } from "../servers/zookeeper.ts";
import { Operator } from "./operator.ts";

const tickTime = 500;

describe("connecting to ZooKeeper", () => {
  let server: ZooKeeperServer;
  let operator: Operator;
  before(async () => {
    server = await ZooKeeperServer.start({ tickTime });
    operator = await Operator.connect(server.address);
  });
  after(async () => {
    await operator[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const works = async (locks: LockManager, key = "k") => {
    const lock = await locks.acquire(key);
    assert.equal(await locks.tryAcquire(key), undefined);
    assert.equal(await lock.release(), true);
  };

  test("by a connection string, by host and port, by options", async () => {
    const { address, host, port } = server;
    for (
      const target of [address, { address }, { address: { host, port } }, () => Promise.resolve(address)]
    ) {
      await using locks = new LockManager(zookeeper(target));
      await works(locks);
    }
  });

  test("past servers that are down", async () => {
    const dead = `${HOST}:${await freePort()}`;
    for (let times = 0; times < 5; times++) {
      await using locks = new LockManager(zookeeper(`${dead},${server.address},${dead}`));
      await works(locks);
    }
  });

  // Red if: a server may take as long as the call, or those that have been silent are not tried last.
  test("past servers that are silent, within a call; each of them costs one call only", async () => {
    await using deaf = await Proxy.start(server);
    await using mute = await Proxy.start(server);
    deaf.cut("up"); // accepts, and hears nothing
    mute.cut("down"); // opens a session, and does not say so
    const backend = zookeeper({
      address: `${HOST}:${deaf.port},${HOST}:${mute.port},${server.address}`,
      tickTime,
    });
    // A call may take 10 s, so that the server may stand still for a moment; none is to be repeated.
    const managers = [60_000, 50_000, 40_000].map((ttl) =>
      new LockManager(backend, { ttl, retryFor: 60_000 })
    );
    const failures: unknown[] = [];
    for (const [n, locks] of managers.entries()) {
      locks.addEventListener("error", ({ error }) => void failures.push(error));
      assert.equal((await locks.acquire(`silent${n}`)).held, true);
      assert.equal((await locks.inspect(`silent${n}`))!.holders.length, 1);
    }
    assert.deepEqual(failures, []);
    assert.ok(deaf.connections.length + mute.connections.length <= 2);
    await Promise.all(managers.map((locks) => locks.close()));
  });

  // Red if: one that has failed before gets more than its share.
  test("servers that have been silent before do not take the time of those not yet asked", async () => {
    const timeout = 3_000;
    const deaf = await Promise.all([1, 2, 3].map(() => Proxy.start(server)));
    for (const proxy of deaf) proxy.cut("up");
    const settings = settingsOf(deaf.map(({ port }) => `${HOST}:${port}`).join());
    for (const { port } of [...deaf, ...deaf]) settings.servers.failed({ host: HOST, port });
    const dialling = dial({
      settings,
      hello: () => ({ lastZxid: 0n, timeout: 10_000, session: 0n, password: new Uint8Array(16) }),
      timeout,
      listener: { event: () => {}, ended: () => {} },
      signal: new AbortController().signal,
    });
    await assert.rejects(dialling, ({ message }: Error) => {
      const shares = [...message.matchAll(/said nothing for (\d+) ms/g)].map(([, ms]) => Number(ms));
      // Timers are a little early or late; a share that has been doubled is twice as long.
      assert.ok(shares.length > 0 && Math.max(...shares) < 1.5 * timeout / deaf.length, message);
      return true;
    });
    await Promise.all(deaf.map((proxy) => proxy[Symbol.asyncDispose]()));
  });

  test("wherever the locator says, asked again at every connection and reconnection", async () => {
    await using proxy = await Proxy.start(server);
    const answers: (() => Promise<ZooKeeperAddress>)[] = [
      () => Promise.reject(new Error("no such service")),
      async () => ({ host: HOST, port: await freePort() }),
      () => Promise.resolve({ host: HOST, port: proxy.port }),
    ];
    let asked = 0;
    const locate = () => (answers[asked++] ?? (() => Promise.resolve(server.address)))();
    await using locks = new LockManager(zookeeper({ address: locate, tickTime }), {
      ttl: 60_000,
      retryFor: 60_000, // so that no connection is given up because the server stands still for a moment
    });
    const lock = await locks.acquire("located");
    assert.equal(asked, 3);
    await new Promise((resolve) => setTimeout(resolve, 200));
    proxy.refuse(); // the service has moved
    await until(() => Promise.resolve(asked > 3), () => "not asked again");
    await lock.renew();
    assert.equal(await lock.release(), true);
  });

  test("a locator that finds no address says so", async () => {
    for (const found of [undefined, null, 42, {}, "user:secret@host", { host: "h", port: "2181" }]) {
      await using locks = new LockManager(zookeeper(() => Promise.resolve(found as string)), { retryFor: 0 });
      await assert.rejects(locks.acquire("k"), (error: Error) => {
        assert.ok(error instanceof BackendError, `${error}`);
        assert.match(error.message, /ZooKeeper/);
        assert.doesNotMatch(`${error.message} ${error.stack}`, /secret/);
        return true;
      });
    }
  });

  test("a locator that never answers is an error, not a wait for ever", async () => {
    await using locks = new LockManager(zookeeper(() => new Promise(() => {})), { retryFor: 500 });
    await assert.rejects(locks.acquire("k"), BackendError);
  });

  test("into a chroot, from the string or the option, made if it is missing", async () => {
    await using one = new LockManager(zookeeper({ address: `${server.address}/deep/er`, tickTime }));
    await using two = new LockManager(zookeeper({ address: server.address, chroot: "/deep/er", tickTime }));
    await using root = new LockManager(zookeeper({ address: server.address, tickTime }));
    const lock = await one.acquire("k");
    assert.equal(await two.tryAcquire("k"), undefined);
    assert.equal((await root.tryAcquire("k"))?.held, true);
    assert.equal((await operator.children("/deep/er/holdfast/k")).length, 1);
    assert.equal((await two.query()).held?.length, 1);
    await lock.release();
  });

  test("any prefix, even those that ZooKeeper keeps for itself", async () => {
    for (const prefix of ["zookeeper", "~sessions", "a/b", ".."]) {
      await using locks = new LockManager(zookeeper({ address: server.address, tickTime }), { prefix });
      const lock = await locks.acquire("quota");
      assert.equal((await locks.query()).held?.[0]?.name, "quota");
      await lock.release();
    }
    assert.deepEqual((await operator.children("/zookeeper")).sort(), ["config", "quota"]);
  });

  test("the session timeout is the ttl, within what the server allows", async () => {
    await using locks = new LockManager(zookeeper({ address: server.address, tickTime }));
    const lock = await locks.acquire("long", { ttl: 3_600_000 });
    assert.ok(lock.remaining <= 20 * tickTime && lock.remaining > 10 * tickTime, `${lock.remaining}`);
    await new Promise((resolve) => setTimeout(resolve, 5_500));
    assert.equal(lock.held, true);
    assert.ok(lock.remaining > 3_000, `${lock.remaining}`);
    const short = await locks.acquire("short", { ttl: 2 * tickTime });
    assert.ok(short.remaining <= 2 * tickTime);
    await assert.rejects(locks.acquire("k", { ttl: 2 * tickTime - 1 }), RangeError);
  });

  describe("with digest authentication", () => {
    const password = "geheim:im:wort";
    const open = (username: string, password: string, prefix: string) =>
      new LockManager(zookeeper({ address: server.address, username, password, tickTime }), {
        prefix,
        retryFor: 500,
      });

    test("nodes are for their user alone; others are refused at once, and no error shows a password", async () => {
      await using alice = open("alice", password, "vault");
      await using bob = open("bob", "other", "vault");
      await using nobody = new LockManager(zookeeper({ address: server.address, tickTime }), {
        prefix: "vault",
      });
      const lock = await alice.acquire("k");
      for (const locks of [bob, nobody]) {
        for (
          const attempt of [
            () => locks.acquire("k"),
            () => locks.tryAcquire("k"),
            () => locks.inspect("k"),
            () => locks.query(),
          ]
        ) {
          await assert.rejects(attempt(), (error: Error) => {
            assert.ok(error instanceof BackendError, `${error}`);
            assert.equal(error.retryable, false);
            assert.match(error.message, /ACL/);
            for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
              assert.doesNotMatch(`${cause.message} ${cause.stack}`, /geheim|other"/);
            }
            return true;
          });
        }
      }
      assert.equal((await alice.inspect("k"))?.holders.length, 1);
      assert.equal(await lock.release(), true);
    });

    test("users who share a chroot do not disturb each other", async () => {
      await using alice = open("alice", password, "alices");
      await using bob = open("bob", "other", "bobs");
      await Promise.all([works(alice), works(bob)]);
    });

    test("credentials go along at every reconnection", async () => {
      await using proxy = await Proxy.start(server);
      const backend = zookeeper({
        address: `${HOST}:${proxy.port}`,
        username: "alice",
        password,
        tickTime,
      });
      await using locks = new LockManager(backend, { prefix: "vault" });
      const lock = await locks.acquire("again");
      for (let times = 0; times < 3; times++) {
        proxy.reset();
        await lock.renew().catch(() => lock.renew());
      }
      assert.equal((await locks.inspect("again"))?.holders.length, 1);
      assert.equal(await lock.release(), true);
    });

    test("on a server that lets nobody in without", async () => {
      await using strict = await ZooKeeperServer.start({
        tickTime,
        java: ["-Dzookeeper.enforce.auth.enabled=true", "-Dzookeeper.enforce.auth.schemes=digest"],
      });
      const { address } = strict;
      await using locks = new LockManager(zookeeper({ address, username: "alice", password, tickTime }));
      await works(locks);
      await using stranger = new LockManager(zookeeper({ address, tickTime }), { retryFor: 500 });
      await assert.rejects(stranger.acquire("k"), BackendError);
    });
  });

  test("what cannot be right is refused before anything is sent, and not repeated where it may hold a password", () => {
    const address = server.address;
    const bad: unknown[] = [
      undefined,
      null,
      42,
      "",
      "host:port",
      "host:0",
      "host:70000",
      "a,,b",
      "[h]:2181",
      "[1.2.3.4]:2181",
      "[::1%]:2181",
      "user:secret@host:2181",
      "h:2181/a//b",
      "h:2181/a/../b",
      { address, username: "only" },
      { address, password: "secret" },
      { address, username: "a:b", password: "secret" },
      { address, username: "a", password: 1 },
      { address, chroot: "relative" },
      { address, tickTime: 0 },
      { address, tickTime: "2000" },
      { address, timeout: 1 },
      { address: { port: 1 } },
      { address: { host: "" } },
      { address: { host: "h:2181,i" } },
      { address: { host: "user:secret@h" } },
      { address: { host: "h", port: "2181" } },
      { address: { host: "h", port: NaN } },
      { address: { host: "h", port: 65_536 } },
      { address: { host: "h", ports: 2181 } },
      { address: [address] },
      { address, username: "", password: "" },
      [address],
      new URL("http://h:2181"),
    ];
    for (const options of bad) {
      assert.throws(() => zookeeper(options as string), (error: Error) => {
        assert.ok(error instanceof TypeError || error instanceof RangeError, `${options}: ${error}`);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      }, JSON.stringify(options));
    }
  });

  test("an IPv6 address is written in brackets", async () => {
    await using locks = new LockManager(zookeeper(`[::ffff:127.0.0.1]:${server.port}`));
    await works(locks);
  });

  test("an IPv6 address may name a zone", async () => {
    for (
      const [address, host] of [["[fe80::1%eth0]:2182", "fe80::1%eth0"], ["[::1%lo]", "::1%lo"]] as const
    ) {
      const { servers } = await settingsOf(`${address}/a`).locate();
      assert.deepEqual(servers.map((server) => server.host), [host]);
      assert.ok(hostAndPort(servers[0]!).startsWith(`[${host}]:`));
    }
    assert.deepEqual((await settingsOf({ address: { host: "fe80::1%eth0" } }).locate()).servers, [
      { host: "fe80::1%eth0", port: 2181 },
    ]);
    // Deno 2.9 connects to no zone by node:net.
    const zoned = "Deno" in globalThis
      ? undefined
      : Object.entries(networkInterfaces()).flatMap(([name, all]) =>
        all!.some(({ address }) => address.startsWith("fe80:"))
          ? [`[${all!.find(({ address }) => address.startsWith("fe80:"))!.address}%${name}]`]
          : []
      )[0];
    if (zoned === undefined) return;
    const relay = createServer((client) => client.pipe(connect(server.port, HOST)).pipe(client));
    await new Promise<void>((listening) => relay.listen(0, "::", listening));
    await using locks = new LockManager(zookeeper(`${zoned}:${(relay.address() as { port: number }).port}`));
    await works(locks);
    relay.close();
  });

  for (const how of ["closed", "closed while cut off"]) {
    test(`a process ends by itself once its manager is ${how}`, async () => {
      await using proxy = await Proxy.start(server);
      const script = fileURLToPath(new URL("exit_child.ts", import.meta.url));
      const deno = "Deno" in globalThis;
      const child = spawn(process.execPath, [
        ...(deno ? ["run", "-A", "--no-check"] : []),
        script,
        `${HOST}:${proxy.port}`,
      ], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
      await Promise.race([new Promise((resolve) => child.stdout!.once("data", resolve)), exited]);
      if (how !== "closed") proxy.cut();
      child.stdin!.write("close\n");
      const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
      assert.equal(await exited, 0);
      clearTimeout(timer);
    });
  }
});
