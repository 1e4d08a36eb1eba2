/** HTTP, as agents and proxies before them speak it. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { ConsulApi } from "../../backends/consul/client/api.ts";
import type { ConsulHttp, Question } from "../../backends/consul/client/http.ts";
import type { Reply } from "../../backends/consul/client/reply.ts";
import { ReplyReader } from "../../backends/consul/client/reply_reader.ts";
import { BackendError } from "../../mod.ts";

const OK = "HTTP/1.1 200 OK\r\n";
const INDEX = "X-Consul-Index: 42\r\n";

const REPLIES: [what: string, bytes: string, text: string, lasting: boolean][] = [
  ["a body of known length", `${OK}${INDEX}Content-Length: 4\r\n\r\n\u00fcn!`, "\u00fcn!", true],
  ["no body", `${OK}content-length:0\r\n${INDEX}\r\n`, "", true],
  [
    "a body in chunks",
    `${OK}${INDEX}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00A;ext=1\r\n, world\r\n!\r\n0\r\n\r\n`,
    "hello, world\r\n!",
    true,
  ],
  [
    "chunks and a trailer",
    `${OK}${INDEX}transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n`,
    "a",
    true,
  ],
  [
    "an interim reply before it",
    `HTTP/1.1 100 Continue\r\n\r\n${OK}${INDEX}Content-Length: 1\r\n\r\na`,
    "a",
    true,
  ],
  ["a last one", `${OK}${INDEX}Connection: close\r\nContent-Length: 1\r\n\r\na`, "a", false],
  ["one of HTTP/1.0", `HTTP/1.0 200 OK\r\n${INDEX}Content-Length: 1\r\n\r\na`, "a", false],
];

for (const [what, bytes, text, lasting] of REPLIES) {
  test(`a reply with ${what}, however it is cut into pieces`, () => {
    const whole = Buffer.from(bytes);
    for (let size = 1; size <= whole.length; size++) {
      const reader = new ReplyReader();
      let reply: Reply | undefined;
      for (let at = 0; at < whole.length; at += size) {
        assert.equal(reply, undefined, "complete before its end");
        reply = reader.read(whole.subarray(at, at + size));
      }
      assert.deepEqual(reply, { status: 200, text, index: 42 });
      assert.equal(reader.lasting, lasting);
      assert.equal(reader.end(), undefined);
    }
  });
}

test("a reply that ends with its connection", () => {
  const reader = new ReplyReader();
  assert.equal(reader.read(Buffer.from(`${OK}\r\nsome `)), undefined);
  assert.equal(reader.read(Buffer.from("text")), undefined);
  assert.deepEqual(reader.end(), { status: 200, text: "some text", index: 0 });
  assert.equal(reader.lasting, false);
});

test("bytes after a reply: its connection is not used again", () => {
  const reader = new ReplyReader();
  assert.equal(reader.read(Buffer.from(`${OK}Content-Length: 1\r\n\r\nab`))?.text, "a");
  assert.equal(reader.lasting, false);
});

test("a body that breaks off is no reply", () => {
  for (
    const bytes of [`${OK}Content-Length: 2\r\n\r\na`, `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\naa\r\n`]
  ) {
    const reader = new ReplyReader();
    assert.equal(reader.read(Buffer.from(bytes)), undefined);
    assert.equal(reader.end(), undefined);
  }
});

test("what is not HTTP is refused", () => {
  const strange = [
    "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/2 200\r\n\r\n",
    `${OK}Transfer-Encoding: chunked\r\n\r\nlots\r\n`,
    `${OK}Transfer-Encoding: chunked\r\n\r\n123456789\r\n`,
    "x".repeat(70_000),
    `${OK}${"X-Long: x\r\n".repeat(10_000)}`,
  ];
  for (const bytes of strange) {
    assert.throws(() => new ReplyReader().read(Buffer.from(bytes)), /not HTTP/, bytes.slice(0, 40));
  }
});

/** Bytes that a reader has been given before it refuses, or is done; at most so many. */
function eaten(first: string, more: string, most: number): number {
  const reader = new ReplyReader(1 << 20);
  const piece = Buffer.from(more);
  let bytes = 0;
  assert.throws(() => {
    for (reader.read(Buffer.from(first)); bytes < most; bytes += piece.length) reader.read(piece);
  }, /not HTTP|more than/);
  return bytes;
}

test("what does not end is refused, and not kept until then", () => {
  const most = 1 << 25;
  const chunked = `${OK}Transfer-Encoding: chunked\r\n\r\n`;
  const chunk = `400\r\n${"x".repeat(1024)}\r\n`;
  for (
    const [first, more, bound] of [
      [chunked, chunk, 1 << 21],
      [chunked, "1\r\nx\r\n".repeat(100), 1 << 21], // pieces cost more than their bytes
      [chunked, `1;${"e".repeat(1024)}\r\nx\r\n`, 1 << 18],
      [chunked, "8".repeat(100), 1 << 18],
      [`${chunked}0\r\n`, "X-Trailer: 1\r\n".repeat(10), 1 << 18],
      [`${OK}\r\n`, "x".repeat(1024), 1 << 21],
      [OK, "X-More: 1\r\n".repeat(10), 1 << 18],
      ["", "HTTP/1.1 100 Continue\r\n\r\n".repeat(10), 1 << 18],
      ["", "\r\n".repeat(100), 1 << 18],
    ] as const
  ) assert(eaten(first, more, most) <= bound, `${first}${more.slice(0, 40)}`);
});

test("a length that can be read in two ways, or is too much, is refused before the body", () => {
  for (
    const fields of [
      "Content-Length: -5",
      "Content-Length: +5",
      "Content-Length: 5.0",
      "Content-Length: 0x5",
      "Content-Length: 5\r\nContent-Length: 6",
      "Content-Length: 5, 6",
      "Content-Length:",
      "Content-Length: 99999999999",
      "Content-Length: 999999999999999999999999",
      "Content-Length: 5\r\nTransfer-Encoding: chunked",
      "Transfer-Encoding: gzip, chunked",
      "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
      "Content-Length : 5",
      " folded: 1",
    ]
  ) {
    const reader = new ReplyReader();
    assert.throws(() => reader.read(Buffer.from(`${OK}${fields}\r\n\r\n`)), /not HTTP|more than/, fields);
  }
});

test("an index is one number above 0, or none", () => {
  const index = (fields: string): number | undefined =>
    new ReplyReader().read(Buffer.from(`${OK}${fields}\r\nContent-Length: 0\r\n\r\n`))?.index;
  assert.equal(index("x-CONSUL-index:7"), 7);
  for (const none of ["0", "-1", "1.5", "1e3", "x", "", "99999999999999999999", "7\r\nX-Consul-Index: 8"]) {
    assert.equal(index(`X-Consul-Index: ${none}`), 0, none);
  }
});

/** A generator of numbers from 0 to below 1 that always gives the same ones (mulberry32). */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a reader makes of bytes that come in pieces, and then end. */
function outcomeOf(bytes: Buffer, size: () => number): Reply | "refused" | "not whole" {
  const reader = new ReplyReader(1 << 16);
  try {
    for (let from = 0, to; from < bytes.length; from = to) {
      const reply = reader.read(bytes.subarray(from, to = from + size()));
      if (reply !== undefined) return reply;
    }
    return reader.end() ?? "not whole";
  } catch (error) {
    assert.match((error as Error).message, /not HTTP|more than|TLS/);
    return "refused";
  }
}

// Goes red if: what a reply says depends on how the network cut it.
test("replies that were tampered with are read, waited for or refused, whatever they are", async () => {
  const next = random(13);
  const whole = (n: number) => Math.floor(next() * n);
  const bodies = [
    '{"Results":[{"KV":{"Key":"k","Value":null,"Session":"s","CreateIndex":1,"ModifyIndex":2}}],"Errors":null}',
    '{"Results":null,"Errors":[{"OpIndex":0,"What":"invalid session"}]}',
    '["holdfast/k/","holdfast/k/1"]',
  ];
  let reply: Reply | undefined;
  const api = new ConsulApi(
    {
      ask: ({ read }: Question<unknown>) => Promise.resolve().then(() => read(reply!)),
      hide: (text: string) => text,
    } as unknown as ConsulHttp,
  );
  const bounds = { signal: new AbortController().signal };
  for (let n = 0; n < 3_000; n++) {
    const body = bodies[whole(bodies.length)]!;
    const status = ["200 OK", "404 Not Found", "409 Conflict", "500 x"][whole(4)];
    const framed = next() < 0.5
      ? `Content-Length: ${body.length}\r\n\r\n${body}`
      : `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
    const bytes = Buffer.from(`HTTP/1.1 ${status}\r\n${INDEX}${framed}`);
    for (let changes = whole(4); changes > 0; changes--) bytes[whole(bytes.length)] = whole(256);
    const cut = bytes.subarray(0, next() < 0.3 ? whole(bytes.length) : bytes.length);
    const outcome = outcomeOf(cut, () => 1 + whole(200));
    assert.deepEqual(outcomeOf(cut, () => cut.length), outcome, `as one piece: ${cut}`);
    assert.deepEqual(outcomeOf(cut, () => 1), outcome, `byte by byte: ${cut}`);
    if (typeof outcome === "string") continue;
    reply = outcome;
    for (
      const call of [
        () => api.transact([{ Verb: "get-tree", Key: "k" }], bounds),
        () => api.names("holdfast/k/", bounds),
        () => api.renewSession("8d56130a-168b-6b57-842c-6357bdd899ae", bounds),
      ]
    ) await call().catch((error) => assert(error instanceof BackendError, String(error)));
  }
});
