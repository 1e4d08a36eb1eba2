/** HTTP, as agents and proxies before them speak it. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { type Reply, ReplyReader } from "../../backends/consul/reply.ts";

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
