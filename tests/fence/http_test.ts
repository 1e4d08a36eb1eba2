/** Tokens over HTTP: what a client says, what a server makes of it, and of what it should not be sent. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import fc from "fast-check";
import { memory } from "../../backends/memory.ts";
import { checkRequest, type Fence, fenceHeaders, memoryFence } from "../../fence.ts";
import { LockManager } from "../../mod.ts";
import { HOST } from "../servers/process.ts";
import { writesLate } from "./late.ts";

const locks = new LockManager(memory());
after(() => locks.close());

const URL = "https://resource.example/";

async function problem(response: Response | undefined): Promise<Record<string, unknown>> {
  assert.equal(response?.headers.get("content-type"), "application/problem+json");
  const document = await response!.json();
  assert.equal(document.status, response!.status);
  return document;
}

test("a request under a lock passes, one under an older one is answered with 409", async () => {
  const fence = memoryFence();
  const older = new Request(URL, { headers: fenceHeaders(await locks.acquire("k")) });
  await using lock = await locks.acquire("k", { steal: true });
  const newer = new Request(URL, { headers: fenceHeaders(lock) });
  assert.equal(await checkRequest(fence, older), undefined);
  assert.equal(await checkRequest(fence, newer), undefined);
  assert.equal(await checkRequest(fence, newer), undefined, "the greatest passes again");
  const { status, title, code, seen, detail } = await problem(await checkRequest(fence, older));
  assert.deepEqual([status, title, code, seen], [409, "Conflict", "stale", String(lock.token)]);
  assert.match(String(detail), /of a later holder of lock "k"/);
});

test("any key and any token arrive as they were sent", async () => {
  const asked: [string, bigint][] = [];
  const fence: Fence = { check: async (key, token) => void asked.push([key, token]) };
  const keys = fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 512 })
    .map((units) => String.fromCharCode(...units));
  const tokens = fc.bigInt({ min: 0n, max: 10n ** 40n - 1n });
  await fc.assert(fc.asyncProperty(keys, tokens, async (key, token) => {
    const request = new Request(URL, { headers: fenceHeaders({ key, token }) });
    assert.equal(await checkRequest(fence, request), undefined);
    assert.equal(await checkRequest(fence, request, key), undefined);
    assert.deepEqual(asked.splice(0), [[key, token], [key, token]]);
  }));
});

test("headers that are missing or written otherwise are answered with 400, and nothing is remembered", async () => {
  const asked: string[] = [];
  const fence: Fence = { check: async (key) => void asked.push(key) };
  const [token, key] = ["7", "k"];
  const WRONG: readonly (readonly [name: string, headers: Record<string, string>])[] = [
    ["Fence-Token", {}],
    ["Fence-Token", { "fence-key": key }],
    ["Fence-Key", { "fence-token": token }],
    ...["", "x", "-1", "+1", "1.0", "1e3", "0x7", "07", "7n", "7, 8", "1".repeat(41), "٧"]
      .map((text) => ["Fence-Token", { "fence-key": key, "fence-token": text }] as const)
      .filter(([, headers]) => /^[ -~]*$/.test(headers["fence-token"])),
    ...["", "a b", "a/b", "%41", "%", "%zz", "%C3", "%F8%88%80%80", "%FF%FF%FF%FF", "a".repeat(513)]
      .filter((text) => text !== "%") // the empty key, which Web Locks have
      .map((text) => ["Fence-Key", { "fence-key": text, "fence-token": token }] as const),
  ];
  for (const [name, headers] of WRONG) {
    const { status, title, detail } = await problem(await checkRequest(fence, new Request(URL, { headers })));
    assert.deepEqual([status, title], [400, "Bad Request"], JSON.stringify(headers));
    assert.match(String(detail), new RegExp(name), JSON.stringify(headers));
  }
  assert.deepEqual(asked, []);
});

test("a key may be escaped with lower-case digits, as other languages do it", async () => {
  const fence = memoryFence();
  const ask = (key: string, token: string) =>
    checkRequest(fence, { headers: new Headers({ "fence-key": key, "fence-token": token }) }, "é/7");
  assert.equal(await ask("%c3%a9%2f7", "7"), undefined);
  assert.equal((await ask("%C3%A9%2F7", "6"))?.status, 409, "it is the same key");
  assert.equal((await ask("%c3%a9/7", "7"))?.status, 400);
});

test("what is no lock, no fence or no request is a fault of the program, and said to it", async () => {
  for (const lock of [null, undefined, "k"]) {
    const said = { name: "TypeError", message: "Expected a lock, or an object with its key and token" };
    assert.throws(() => fenceHeaders(lock as never), said);
  }
  const request = new Request(URL, { headers: fenceHeaders({ key: "k", token: 1n }) });
  await assert.rejects(checkRequest(undefined as never, request), { message: /^Expected a fence/ });
  for (const wrong of [undefined, {}, { headers: { "fence-key": "k" } }]) {
    await assert.rejects(checkRequest(memoryFence(), wrong as never), { message: /^Expected a Request/ });
  }
});

test("two headers of one name are not one key, nor one token", async () => {
  const headers = new Headers([["fence-key", "a"], ["fence-key", "b"], ["fence-token", "7"]]);
  assert.equal((await checkRequest(memoryFence(), { headers }))?.status, 400);
  const tokens = new Headers([["fence-key", "a"], ["fence-token", "7"], ["fence-token", "8"]]);
  assert.equal((await checkRequest(memoryFence(), { headers: tokens }))?.status, 400);
});

test("a lock that does not guard the resource is answered with 400", async () => {
  const fence = memoryFence();
  const request = new Request(URL, { headers: fenceHeaders({ key: "mine", token: 9n }) });
  const { status, detail } = await problem(await checkRequest(fence, request, "account/7"));
  assert.equal(status, 400);
  assert.match(String(detail), /Fence-Key to be account%2F7/);
  fence.checkSync("mine", 0n);
});

test("what else goes wrong in a fence is no answer to the client", async () => {
  const fence: Fence = { check: () => Promise.reject(new Error("the database is away")) };
  const request = new Request(URL, { headers: fenceHeaders({ key: "k", token: 1n }) });
  await assert.rejects(checkRequest(fence, request), /the database is away/);
});

test("a lock that several may hold has no headers", async () => {
  await using shared = await locks.acquire("catalog", { mode: "shared" });
  assert.throws(() => fenceHeaders(shared), {
    name: "TypeError",
    message: /exclusive lock, got one that is shared/,
  });
  await using slot = await locks.acquire("slots", { limit: 3 });
  assert.throws(() => fenceHeaders(slot), { name: "TypeError", message: /got one that 3 may hold/ });
  await using single = await locks.acquire("single", { limit: 1 });
  assert.equal(fenceHeaders(single)["Fence-Key"], "single");
});

test("of several keys each can be named", async () => {
  await using both = await locks.acquire(["b", "a"]);
  assert.deepEqual(fenceHeaders(both), { "Fence-Key": "b", "Fence-Token": String(both.token) });
  const token = both.tokens.get("a")!;
  assert.deepEqual(fenceHeaders({ key: "a", token }), { "Fence-Key": "a", "Fence-Token": String(token) });
});

test("a holder that was stopped past its ttl writes late to a service", { timeout: 120_000 }, async () => {
  const fence = memoryFence();
  let text = "";
  const server = createServer(async (request, response) => {
    if (request.method === "GET") return response.end(text);
    let body = "";
    for await (const piece of request) body += piece;
    const headers = new Headers(request.headers as Record<string, string>);
    const refused = await checkRequest(fence, { headers });
    if (refused === undefined) text = body;
    response.statusCode = refused?.status ?? 204;
    response.end(await refused?.text());
  }).listen(0, HOST);
  await once(server, "listening");
  try {
    await writesLate({ kind: "http", at: `http://${HOST}:${(server.address() as AddressInfo).port}` });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
