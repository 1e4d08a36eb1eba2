/** Several agents, of which some are dead, silent or ill. */
import assert from "node:assert/strict";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { consul } from "../../backends/consul.ts";
import type { Pair } from "../../backends/consul/client/kv.ts";
import type { Attempt } from "../../internal/backend.ts";
import { LockManager } from "../../mod.ts";
import { ConsulServer } from "../servers/consul.ts";
import { freePort, HOST, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { Meddler } from "./meddler.ts";
import { call, claim, over, request } from "../support.ts";

/** Takes connections and says nothing, or always the same. */
class Stub implements AsyncDisposable {
  connections = 0;
  readonly #sockets = new Set<net.Socket>();
  readonly #server: net.Server;

  private constructor(says: string) {
    this.#server = net.createServer((socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("data", () => void (says !== "" && socket.write(says)));
    });
  }

  static async start(says = ""): Promise<Stub> {
    const stub = new Stub(says);
    await new Promise<void>((resolve) => stub.#server.listen(0, HOST, resolve));
    return stub;
  }

  get address(): string {
    return `${HOST}:${(this.#server.address() as net.AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** Names one after the other, again and again. */
function inTurn(addresses: readonly string[]): () => Promise<string> {
  let at = 0;
  return () => Promise.resolve(addresses[at++ % addresses.length]!);
}

describe("several agents", () => {
  let server: ConsulServer;
  before(async () => void (server = await ConsulServer.start()));
  after(async () => await server[Symbol.asyncDispose]());

  // Goes red if: the silent one has the whole call, or is asked first again.
  test("a silent one costs a part of one call, and is not asked first again", async () => {
    await using silent = await Stub.start();
    await using locks = new LockManager(consul(inTurn([silent.address, server.url])), { retryFor: 0 });
    const errors: unknown[] = [];
    locks.addEventListener("error", ({ error }) => errors.push(error));
    for (let n = 0; n < 10; n++) await (await locks.acquire(`silent${n}`)).release();
    assert.deepEqual(errors, []);
    // It is tried again when the other one stands still; each of these twenty calls would.
    assert(silent.connections < 10, `${silent.connections} calls began with the silent one`);
  });

  test("one that lives among dead, silent and ill ones is enough, even without patience", async () => {
    await using silent = await Stub.start();
    await using mute = await Stub.start();
    await using ill = await Stub.start("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    await using other = await Stub.start("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    const dead = `${HOST}:${await freePort()}`;
    const addresses = [silent.address, dead, ill.address, other.address, mute.address, server.url];
    await Promise.all(addresses.map(async (_, first) => {
      const turned = [...addresses.slice(first), ...addresses.slice(0, first)];
      await using locks = new LockManager(consul(inTurn(turned)), { retryFor: 0 });
      const lock = await locks.acquire(`many${first}`);
      assert.equal(await locks.tryAcquire(`many${first}`), undefined);
      await lock.renew();
      assert.equal(await lock.release(), true);
    }));
  });

  test("one that falls silent while a lock is held costs nothing but a part of a renewal", async () => {
    await using proxy = await Proxy.start({ port: server.port });
    await using locks = new LockManager(consul(inTurn([`${HOST}:${proxy.port}`, server.url])), {
      retryFor: 0,
    });
    const lock = await locks.acquire("falls");
    proxy.cut();
    await lock.renew();
    assert.equal(await lock.release(), true);
  });

  test("without a majority at one, the other is asked", async () => {
    await using ill = await Meddler.start(server, {
      instead: () => ({ status: 500, text: "No cluster leader" }),
    });
    await using locks = new LockManager(consul(inTurn([ill.url, server.url])), { retryFor: 0 });
    await (await locks.acquire("leader")).release();
  });

  // Goes red if: what shuts out the late copy is given up when it fails, or forgets the claim before.
  test("a late copy of an attempt does not stay under the live session of who was robbed", async () => {
    const { promise: healed, resolve: heal } = Promise.withResolvers<void>();
    let holding = false;
    let refused = 0;
    const isEnter = ({ body }: { body: string }) => body.includes('"check-index"');
    // Both refuse what would shut the copy out.
    const refuse = ({ body }: { body: string }) =>
      holding && body.includes("/fence") && body.includes('"delete"')
        ? { status: 503, text: `${refused++}` }
        : undefined;
    await using slow = await Meddler.start(server, {
      instead: async (asked) => {
        if (holding && isEnter(asked)) await healed;
        return refuse(asked);
      },
    });
    await using quick = await Meddler.start(server, { instead: refuse });
    const agents = inTurn([slow.url, quick.url]);
    const locator = () => holding ? agents() : Promise.resolve(slow.url);
    await using victim = new LockManager(consul(locator), { prefix: "robbed" });
    await using thief = new LockManager(consul(server.url), { prefix: "robbed" });
    const other = await victim.acquire("other"); // its session lives on
    slow.asked.length = 0;
    holding = true;
    const lock = await victim.acquire("k"); // by the second one
    assert.equal(slow.asked.filter(isEnter).length, 1, "a copy is under way");
    const stolen = await thief.acquire("k", { steal: true });
    assert.equal((await over(lock)).why, "stolen"); // at once
    await until(() => Promise.resolve(refused > 0), () => "nothing was to shut the copy out");
    heal();
    await until(
      async () => (await thief.inspect("k"))!.waiters.length === 1,
      () => "the copy has not entered: nothing is tested",
    );
    holding = false;
    await other.renew();
    await until(
      async () => (await thief.inspect("k"))!.waiters.length === 0,
      () => "a renewal does not shut the copy out",
    );
    await stolen.release();
    assert.equal((await victim.tryAcquire("k"))?.held, true);
  });

  // Goes red if: what shuts out an enter takes out whatever is in its slot.
  test("a late copy of a release does not hit the next claim", async () => {
    const { promise: healed, resolve: heal } = Promise.withResolvers<void>();
    const held: string[] = [];
    let holds: (body: string) => boolean = () => false;
    await using meddler = await Meddler.start(server, {
      instead: async ({ body }) => {
        if (holds(body)) {
          held.push(body);
          await healed;
        }
        return undefined;
      },
    });
    const lease = await consul(meddler.url).lease(request(30_000), call());
    const [first, next] = [claim({ key: "late/k" }), claim({ key: "late/k" })];
    await lease.attempt(claim({ key: "late/warm" }), call());
    for (
      const [part, asked] of [
        ['"check-index"', (call: Attempt) => lease.attempt(first, call)],
        ['"delete"', (call: Attempt) => lease.release(first, call)],
      ] as const
    ) {
      holds = (body) => body.includes(part);
      const giveUp = new AbortController();
      const answer = asked({ ...call(), signal: giveUp.signal });
      await Promise.race([answer, until(() => Promise.resolve(held.some(holds)), () => "nothing was sent")]);
      giveUp.abort(new Error("enough"));
      await assert.rejects(answer);
    }
    holds = () => false;
    await lease.release(first, call());
    assert.equal((await lease.attempt(next, call())).state, "granted");
    const fence = async (): Promise<number> =>
      (await server.api("GET", "kv/late/?recurse") as Pair[]).find(({ Key }) => Key.endsWith("/fence"))!
        .ModifyIndex;
    const before = await fence();
    heal(); // now they arrive
    await until(async () => await fence() > before, () => "the copy has not arrived");
    assert.equal((await lease.renew([next], call())).get(next.id)?.state, "granted");
    await lease.close(call());
  });
});
