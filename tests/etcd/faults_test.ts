/** What goes wrong between a client and etcd, and in etcd, and what becomes of the locks. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { etcd } from "../../backends/etcd.ts";
import { FrameReader, settingsFrame, TYPE } from "../../backends/etcd/client/http2/frames.ts";
import { LockManager } from "../../mod.ts";
import { EtcdServer } from "../servers/etcd.ts";
import { HOST, run, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { script } from "../servers/script.ts";
import { etcdctl } from "./etcdctl.ts";
import { next, over, waiter } from "../support.ts";

/** Bytes as a proxy shows them: "latin1" is something else to some runtimes. */
const LETTERS = new TextDecoder("latin1").decode(Uint8Array.from({ length: 256 }, (_, byte) => byte));

/** Sends what a connection has lost, from another one, as if it had only been late; resolves once it is answered. */
async function late(port: number, frames: string): Promise<void> {
  const socket = connect(port, HOST);
  const reader = new FrameReader();
  const answered = new Promise<void>((resolve, reject) => {
    socket.on("error", reject).on("data", (bytes) => {
      for (const { type } of reader.read(bytes)) if (type === TYPE.headers) resolve();
    });
  });
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket.write(settingsFrame([]));
  socket.write(Uint8Array.from([...frames].map((letter) => LETTERS.indexOf(letter))));
  await answered;
  socket.destroy();
}

describe("faults between a client and etcd", () => {
  let server: EtcdServer;
  let proxy: Proxy;
  let direct: LockManager;
  before(async () => {
    server = await EtcdServer.start();
    proxy = await Proxy.start({ port: server.port });
    direct = new LockManager(etcd(server.url));
  });
  after(async () => {
    await direct.close();
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  const behind = (ttl = 6_000) => new LockManager(etcd(`${HOST}:${proxy.port}`), { ttl });

  test("a lease that an operator revokes: the lock is lost, a waiter enters again", async () => {
    await using locks = new LockManager(etcd(server.url), { ttl: 9_000 });
    const lock = await locks.acquire("revoked");
    const { lock: waiting } = await waiter(locks, "revoked");
    const names = await etcdctl(server.url, "get", "holdfast/revoked/", "--prefix", "--keys-only");
    const lease = /revoked\/([0-9a-f]+)-/.exec(names)![1]!;
    await etcdctl(server.url, "lease", "revoke", lease);
    assert.equal((await over(lock)).why, "revoked");
    const again = await waiting;
    assert.ok(again.token > lock.token);
    assert.equal(await again.release(), true);
    assert.equal(await lock.release(), false);
  });

  test("a committed attempt whose reply is lost is granted once", async () => {
    await using locks = behind();
    await (await locks.acquire("warm")).release();
    const lost = proxy.loseReply({ request: (chunk) => chunk.includes("holdfast/committed/") });
    const lock = await locks.acquire("committed");
    await lost;
    const seen = await direct.inspect("committed");
    assert.deepEqual([seen?.holders.map(({ id, token }) => [id, token]), seen?.waiters.length], [
      [[lock.id, lock.token]],
      0,
    ]);
    assert.equal(await lock.release(), true);
  });

  test("an attempt that never arrived is made again", async () => {
    await using locks = behind();
    await (await locks.acquire("warm")).release();
    const lost = proxy.loseRequest((chunk) => chunk.includes("holdfast/uncommitted/"));
    await using lock = await locks.acquire("uncommitted");
    await lost;
    assert.equal((await direct.inspect("uncommitted"))?.holders[0]?.id, lock.id);
  });

  // Goes red if: a claim that a thief has removed is dropped although a copy of its attempt may be under way.
  test("a copy of an attempt that comes after its lock was stolen enters nothing", async () => {
    await using locks = behind(60_000);
    await (await locks.acquire("warm")).release();
    let copy = "";
    const lost = proxy.loseRequest((chunk) => chunk.includes("holdfast/robbed/") && (copy = chunk) !== "");
    const lock = await locks.acquire("robbed");
    await lost;
    const thief = await direct.acquire("robbed", { steal: true });
    assert.equal((await over(lock)).why, "stolen");
    const epoch = { key: btoa("holdfast/~"), range_end: btoa("holdfast0"), keys_only: true };
    await until(async () => {
      const { kvs = [] } = await server.rpc("kv/range", epoch) as { kvs?: { key: string }[] };
      return kvs.some(({ key }) => atob(key).endsWith("/epoch"));
    }, () => "nothing was done about the copy");
    await thief.release();
    await late(server.port, copy);
    assert.equal(await direct.inspect("robbed"), undefined);
    await (await locks.acquire("robbed")).release();
  });

  test("an attempt given up while its reply is missing leaves nothing behind", async () => {
    await using locks = behind(60_000);
    await (await locks.acquire("warm")).release();
    proxy.cut("down");
    const giving = locks.acquire("given up", { signal: AbortSignal.timeout(300) });
    await assert.rejects(giving, { name: "TimeoutError" });
    proxy.heal();
    await using lock = await direct.acquire("given up", { signal: AbortSignal.timeout(30_000) });
    await sleep(300); // for a late copy to show itself
    assert.deepEqual((await direct.inspect("given up"))?.waiters, []);
    assert.ok(lock.held);
  });

  test("keep-alives whose replies are lost do not extend the deadline, and do not end the lock", async () => {
    await using locks = behind(12_000);
    await using lock = await locks.acquire("replies");
    const before = lock.remaining;
    proxy.cut("down");
    await sleep(5_000);
    assert.ok(lock.remaining <= before - 4_900, `${before} became ${lock.remaining}`);
    proxy.heal();
    proxy.reset();
    await Promise.race([next(lock, "renewed"), over(lock).then((why) => Promise.reject(why))]);
    assert.ok(lock.held && lock.remaining > before - 4_900);
  });

  test("with all replies lost the lock is over before another can have it", async () => {
    await using locks = behind();
    const lock = await locks.acquire("mute");
    const { lock: waiting } = await waiter(direct, "mute");
    proxy.cut("down");
    const successor = await waiting;
    assert.ok(lock.signal.aborted, "the successor holds, and the signal has not aborted");
    assert.equal((lock.signal.reason as { why?: string }).why, "expired");
    proxy.heal();
    await successor.release();
  });

  test("a waiter whose connection breaks or falls silent gets its turn", async () => {
    await using locks = behind(3_000);
    for (const fault of ["reset", "silent"]) {
      const lock = await direct.acquire("broken");
      const { lock: waiting } = await waiter(locks, "broken");
      const before = Date.now();
      if (fault === "reset") proxy.reset();
      else proxy.cut("both", ({ since }) => since <= before);
      await lock.release();
      await (await waiting).release();
      proxy.heal();
    }
  });

  test("compaction under a watcher and a waiter", async () => {
    await using watch = direct.watch("compacted");
    await watch.ready;
    const locked = next(watch, "locked");
    const lock = await direct.acquire("compacted");
    await locked; // a hold that no look has seen has no end
    const { lock: waiting } = await waiter(direct, "compacted");
    for (let n = 0; n < 20; n++) await etcdctl(server.url, "put", "other", `${n}`);
    const status = JSON.parse(await etcdctl(server.url, "get", "other", "-w", "json"));
    await etcdctl(server.url, "compaction", `${status.header.revision}`, "--physical");
    const unlocked = next(watch, "unlocked");
    await lock.release();
    await unlocked;
    await (await waiting).release();
  });

  test("a restart shorter than the ttl: holders hold, waiters wait, watches go on", async () => {
    // Longer than a server takes to begin on a busy machine.
    await using locks = new LockManager(etcd(server.url), { ttl: 60_000, retryFor: 60_000 });
    await using watch = locks.watch("restart");
    await watch.ready;
    const locked = next(watch, "locked");
    const lock = await locks.acquire("restart");
    await locked; // a hold that no look has seen has no end
    const { lock: waiting } = await waiter(locks, "restart");
    await server.restart();
    await until(() => lock.renew().then(() => true, () => false), () => "no renewal since the restart");
    const unlocked = next(watch, "unlocked");
    assert.equal(await lock.release(), true);
    const successor = await waiting;
    await unlocked;
    assert.ok(successor.token > lock.token);
    await successor.release();
  });

  // Red if: streams are closed, or a session is destroyed, from within its "goaway": that crashes Deno.
  test("a server that says goodbye to many at once costs no lock and no process", async () => {
    const options = { ttl: 60_000, retryFor: 60_000 };
    const all = Array.from({ length: 30 }, () => new LockManager(etcd(server.url), options));
    const locks = await Promise.all(all.map((manager, n) => manager.acquire(`goodbye ${n}`)));
    const waiting = all.map((manager, n) => manager.acquire(`goodbye ${n}`));
    await sleep(300);
    await server.restart("SIGTERM");
    await Promise.all(locks.map(async (lock) => assert.equal(await lock.release(), true)));
    await Promise.all(waiting.map(async (lock) => assert.equal(await (await lock).release(), true)));
    await Promise.all(all.map((manager) => manager.close()));
  });

  test("close() with a lock, a waiter and a watch lets the process exit by itself", async () => {
    const [binary, args] = script(new URL("./exit_child.ts", import.meta.url), [server.url]);
    assert.equal(await run(binary, args), "rejected\nclosed\n");
    assert.equal(await direct.inspect("k"), undefined);
  });

  test("so it does while the server is stopped and reads nothing any more", async () => {
    const [binary, args] = script(new URL("./exit_silent_child.ts", import.meta.url), [server.url]);
    server.pause();
    try {
      assert.equal(await run(binary, args), "rejected\nclosed\n");
    } finally {
      server.resume();
    }
  });
});
