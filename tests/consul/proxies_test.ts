/** What proxies before Consul make of it, and what is believed of that. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { consul } from "../../backends/consul.ts";
import type { Claim, Gone, Lease } from "../../internal/backend.ts";
import { LockManager } from "../../mod.ts";
import { conformance } from "../conformance/mod.ts";
import { ConsulServer } from "../servers/consul.ts";
import { until } from "../servers/process.ts";
import { Meddler, type Said } from "./meddler.ts";
import { call, claim as claimed, entered, request, waiter } from "../support.ts";

const claim = (key: string, wait = true) => claimed({ key: `believe/${key}`, wait });

/** What others than Consul say; and Consul, when it has nothing to say. */
const STRANGE: Said[] = [
  ...[400, 401, 403, 404, 409, 410, 500, 502, 503].flatMap((status) => [
    { status, text: "" },
    { status, text: "<html><body>Session id 'x' not found: nginx</body></html>" },
    { status, text: "[]", headers: { "content-type": "application/json" } },
    { status, text: '{"Results":null,"Errors":[]}' },
  ]),
  ...["", "[]", "{}", "null", "true", "[{}]", "[null]", '"x"', "<html>", '{"Results":{}}', "[", '{"ID":1}']
    .flatMap(
      (text) => [{ status: 200, text }],
    ),
  { status: 200, text: '{"Results":[{"KV":null}],"Errors":null}' },
  { status: 200, text: '{"Results":[{"KV":{"Key":1}}],"Errors":null}' },
  { status: 204 },
  { status: 301, headers: { location: "/login" } },
  { status: 302, headers: { location: "https://login.example/" }, text: "Found" },
  { status: 404, text: "[]", headers: { "x-consul-index": "0" } },
  { status: 404, headers: { "x-consul-index": "none" } },
];

describe("proxies before Consul", () => {
  let server: ConsulServer;
  let meddler: Meddler;
  before(async () => {
    server = await ConsulServer.start();
    meddler = await Meddler.start(server);
  });
  after(async () => {
    await meddler[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  /** Seventy of them: more than are asked about by name. */
  async function held(told: () => void): Promise<[Lease, Claim[]]> {
    const lease = await consul(meddler.url).lease({ ...request(30_000), told }, call());
    const claims = Array.from({ length: 70 }, (_, n) => claim(`k${n}`));
    await Promise.all(claims.map(async (one) => {
      assert.equal((await lease.attempt(one, call(20_000))).state, "granted");
    }));
    return [lease, claims];
  }

  // Goes red if: a 404 says that nothing is there, or a status alone that it was Consul.
  test("what Consul has not said loses no lock, frees none, and is no answer to anything", async () => {
    meddler.meddling = {};
    let losses = 0;
    const [lease, claims] = await held(() => losses++);
    const [first] = claims;
    const backend = consul(meddler.url);
    const fresh = await backend.lease(request(30_000), call());
    for (const said of STRANGE) {
      const what = JSON.stringify(said);
      meddler.meddling = { instead: () => said };
      const renewed = await lease.renew(claims, call()).catch(() => new Map());
      assert.equal(renewed.size, 0, what);
      for (
        const asked of [
          () => lease.attempt(first!, entered(call())),
          () => fresh.attempt(claim("free", false), call()),
          () => backend.list("believe/", call()),
          () => backend.list("believe/k1", call()),
          () => backend.watch("believe/k1", { changed() {}, failed() {} }, call()),
          () => backend.lease(request(30_000), call()),
        ]
      ) {
        // A rest after a 429 or the like would be a BackendError too, and no answer either.
        await assert.rejects(asked, { code: "backend" }, `${what} to ${asked}`);
      }
      // One part of a heartbeat alone.
      meddler.meddling = { instead: ({ path }) => path.includes("/session/") ? undefined : said };
      assert.equal((await lease.renew(claims, call())).size, 0, what);
    }
    // A transaction that has done nothing is no release.
    meddler.meddling = { instead: () => ({ status: 200, text: '{"Results":[],"Errors":null}' }) };
    const last = claims.pop()!;
    await assert.rejects(lease.release(last, entered(call())), { code: "backend" });
    meddler.meddling = {};
    assert.equal(await lease.release(last, entered(call())), true);
    assert.equal(losses, 0);
    const renewed = await lease.renew(claims, call());
    assert(claims.every(({ id }) => renewed.get(id)?.state === "granted"));
    await lease.close(call());
    await fresh.close(call());
  });

  // Goes red if: what a list leaves out counts as gone.
  test("a list that is not whole loses no lock", async () => {
    meddler.meddling = {};
    const [lease, claims] = await held(() => assert.fail("lost"));
    meddler.meddling = {
      change: (said, { path }) => path.includes("?keys") ? { ...said, status: 200, text: "[]" } : said,
    };
    const renewed = await lease.renew(claims, call());
    assert(claims.every(({ id }) => renewed.get(id)?.state === "granted"));
    await lease.close(call());
  });

  test("a session is gone only when Consul says so with an index", async () => {
    meddler.meddling = {};
    const lost: string[] = [];
    const told = ({ why }: Gone) => void lost.push(why);
    const lease = await consul(meddler.url).lease({ ...request(30_000), told }, call());
    const one = claim("gone");
    await lease.attempt(one, call());
    meddler.meddling = {
      instead: ({ path }) => {
        const [, id] = /session\/renew\/([0-9a-f-]+)/.exec(path) ?? [];
        return id === undefined ? undefined : { status: 404, text: `Session id '${id}' not found` };
      },
    };
    await assert.rejects(lease.renew([one], call()), /although it is there/);
    assert.deepEqual(lost, []);
    meddler.meddling = {};
    const [{ Session } = { Session: "" }] = await server.api("GET", "kv/believe/gone/?recurse") as {
      Session: string;
    }[];
    await server.api("PUT", `session/destroy/${Session}`);
    assert.equal((await lease.renew([one], call())).get(one.id)?.state, "gone");
    assert.deepEqual(lost, ["revoked"]);
  });

  // Goes red if: the next question does not wait for a moment.
  test("no index makes a loop without a rest", async () => {
    let next = 1_000_000;
    const indexes: Record<string, () => Said["headers"]> = {
      "is missing": () => ({}),
      "is 0": () => ({ "x-consul-index": "0" }),
      "falls": () => ({ "x-consul-index": `${next--}` }),
      "stands still": () => ({ "x-consul-index": "7" }),
      "rises": () => ({ "x-consul-index": `${next++}` }),
      "is the right one, of a key that is not there": () => ({ "x-consul-index": `${next++}` }),
    };
    await Promise.all(
      Object.entries(indexes).map(async ([prefix, headers]) => {
        // What should wait is answered at once.
        const now = async (path: string): Promise<string> => {
          const asked = path.replace(/^\/v1\//, "").replace(/&?(index|wait)=[^&]*/g, "");
          return JSON.stringify(await server.api("GET", asked).catch(() => []));
        };
        await using meddler = await Meddler.start(server, {
          instead: async ({ path }) => {
            if (!path.includes("wait=")) return undefined;
            if (prefix.includes("not there")) return { status: 404, headers: headers()! };
            return { status: 200, text: await now(path), headers: headers()! };
          },
        });
        await using a = new LockManager(consul(server.url), { prefix });
        await using b = new LockManager(consul(meddler.url), { prefix });
        const lock = await a.acquire("k");
        await using watch = b.watch("k");
        watch.ready.catch(() => {});
        watch.addEventListener("error", () => {});
        const { lock: waiting } = await waiter(b, "k");
        const before = meddler.asked.length;
        const began = performance.now();
        await sleep(500);
        const most = 20 + (performance.now() - began) / 20;
        const requests = meddler.asked.length - before;
        assert(requests <= most, `an index that ${prefix}: ${requests} requests, more than ${most}`);
        await lock.release();
        await (await waiting!).release();
      }),
    );
  });

  test("a rest that Consul asks for is kept, by all but renewals", async () => {
    meddler.meddling = {};
    await using locks = new LockManager(consul(meddler.url), { prefix: "rest", retryFor: 20_000 });
    const lock = await locks.acquire("held");
    let refused = 0;
    meddler.meddling = {
      instead: ({ body }) => {
        if (!body.includes('"check-index"') || refused > 0) return undefined;
        refused++;
        return { status: 429, headers: { "retry-after": "3" }, text: "too many" };
      },
    };
    meddler.asked.length = 0;
    const errors: string[] = [];
    locks.addEventListener("error", ({ error }) => errors.push(String(error)));
    const began = performance.now();
    const calls = Promise.all(["a", "b", "c"].map((key) => locks.acquire(key)));
    await until(() => Promise.resolve(refused === 1), () => "nothing was refused");
    await lock.renew().catch(() => {}); // its look at the keys rests not either
    assert(meddler.asked.some(({ path }) => path.includes("/session/renew/")));
    for (const one of await calls) assert(one.held);
    assert(performance.now() - began >= 2_900, "nobody has rested");
    assert(errors.some((error) => /answered 429: too many/.test(error)), `${errors}`);
    assert(errors.some((error) => /left alone for another/.test(error)), `${errors}`);
  });

  test("a token that a function gives is asked for again when it is refused, and shown to nobody", async () => {
    const tokens = ["first-token", "second-token"];
    let asked = 0;
    let valid = "first-token";
    meddler.meddling = {
      instead: ({ headers }) =>
        headers["x-consul-token"] === valid ? undefined : {
          status: 403,
          text: `ACL not found: ${headers["x-consul-token"]}`,
        },
    };
    const locks = new LockManager(consul(meddler.url, { token: () => tokens[asked++] ?? "third-token" }), {
      prefix: "token",
      retryFor: 0,
    });
    await (await locks.acquire("k")).release();
    await (await locks.acquire("k")).release();
    assert.equal(asked, 1);
    valid = "second-token";
    const held = await Promise.all(["a", "b", "c"].map((key) => locks.acquire(key)));
    assert.equal(asked, 2);
    valid = "fourth-token";
    const error = await locks.acquire("k").then(() => assert.fail("acquired"), (error) => error);
    assert.match(error.message, /refused the ACL token/);
    assert.doesNotMatch(
      `${error.message} ${error.stack} ${JSON.stringify(error)}`,
      /third-token|second-token/,
    );
    meddler.meddling = {};
    await Promise.all(held.map((lock) => lock.release()));
    await locks.close();
    for (
      const [token, said] of [
        [() => Promise.reject(new Error("vault is sealed")), /"token" failed: vault is sealed/],
        [() => "a\r\nb: secret", /to give printable ASCII/],
        [() => 42 as unknown as string, /to give printable ASCII/],
      ] as const
    ) {
      await using locks = new LockManager(consul(meddler.url, { token }), { retryFor: 0 });
      await assert.rejects(locks.acquire("k"), said);
    }
  });

  test("namespace, partition and datacenter are in every request", async () => {
    for (
      const backend of [
        consul(meddler.url, { namespace: "team a", partition: "eu", datacenter: "dc1" }),
        consul(`${meddler.url}?ns=team%20a&partition=eu&dc=dc1`),
      ]
    ) {
      meddler.asked.length = 0;
      meddler.meddling = {
        instead: ({ path }) => path.includes("ns=") ? { status: 500, text: "no" } : undefined,
      };
      await assert.rejects(
        backend.lease(request(10_000), call()),
        /answered 500/,
      );
      await assert.rejects(backend.list("believe/", call()), /answered 500/);
      await assert.rejects(backend.watch("believe/k", { changed() {}, failed() {} }, call()), /answered 500/);
      assert.equal(meddler.asked.length, 3);
      for (const { path } of meddler.asked) {
        const query = new URLSearchParams(path.slice(path.indexOf("?")));
        assert.deepEqual(["ns", "partition", "dc"].map((name) => query.get(name)), ["team a", "eu", "dc1"]);
      }
    }
    // Consul itself, where it is not Enterprise.
    await assert.rejects(
      consul(server.url, { namespace: "a" }).lease(request(10_000), call()),
      { code: "backend", retryable: false, message: /Consul Enterprise/ },
    );
  });

  describe("that check names, fold slashes and refuse escapes", () => {
    // The first is `^[a-zA-Z0-9,_./\-?&=]+$` of Consul 1.21.5, without what means something in URLs.
    const strict = (path: string): string | undefined => {
      const at = path.replace(/\?.*/, "");
      if (/%/.test(at)) return "escapes";
      if (/\/\.{0,2}(\/|$)/.test(at.replace(/\/$/, ""))) return "an empty segment, . or ..";
      const [, key] = /^\/v1\/kv\/(.*)/.exec(at) ?? [];
      if (key !== undefined && !/^[A-Za-z0-9,_./-]+$/.test(key)) return "a character";
      if (/\.\.|^\/|^ | $/.test(key ?? "")) return "a traversal";
      return undefined;
    };
    const cases = conformance({
      name: "consul",
      open: () => consul(meddler.url),
    }).filter(({ group }) => group === "keys");
    assert(cases.length > 0);
    for (const { name, run } of cases) {
      test(name, async () => {
        meddler.asked.length = 0;
        meddler.meddling = {
          instead: ({ path }) => {
            const why = strict(path);
            return why === undefined ? undefined : { status: 400, text: `Bad request: ${why}` };
          },
        };
        await run();
        assert.deepEqual(meddler.asked.map(({ path }) => path).filter((path) => strict(path)), []);
      });
    }

    test("what is in a path of the KV store is in transactions too", async () => {
      meddler.asked.length = 0;
      meddler.meddling = {};
      await using locks = new LockManager(consul(meddler.url), { prefix: "names: a/b", metadata: 1 });
      await using thief = new LockManager(consul(meddler.url), { prefix: "names: a/b" });
      for (
        const key of [
          "invoice:42",
          "my job",
          "../x",
          "a..b",
          ".",
          "..",
          "/",
          "a/",
          "//",
          "%2e%2e",
          "é",
          "x.js",
        ]
      ) {
        const lock = await locks.acquire(key);
        assert.equal((await thief.inspect(key))?.holders[0]?.id, lock.id);
        await (await thief.acquire(key, { steal: true })).release();
      }
      for (const { body, path } of meddler.asked) {
        if (!path.startsWith("/v1/txn")) continue;
        for (const { KV: { Key } } of JSON.parse(body) as { KV: { Key: string } }[]) {
          assert.equal(strict(`/v1/kv/${Key}`), undefined, Key);
        }
      }
    });
  });
});
