/** HTTP/2 as the etcd backend speaks it, against Node's own server and against bare frames. */
import fc from "fast-check";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import net, { type AddressInfo, type Server } from "node:net";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Exchange } from "../../backends/etcd/client/exchange.ts";
import {
  FLAG,
  frame,
  FrameReader,
  numberFrame,
  SETTING,
  settingsFrame,
  TYPE,
} from "../../backends/etcd/client/http2/frames.ts";
import { encode } from "../../backends/etcd/client/http2/hpack.ts";
import { Http2Session, type Stream } from "../../backends/etcd/client/http2/session.ts";
import { runtimes } from "../runner/runtimes.ts";
import { HOST } from "../servers/process.ts";
import { scripted } from "./bare_peer.ts";

const HEAD = { ":method": "POST", ":scheme": "http", ":path": "/echo", ":authority": HOST };

/** A request, and what came of it. */
class Reply {
  readonly fields: Record<string, string> = {};
  readonly over: Promise<string>;
  readonly stream: Stream;
  #parts: Buffer[] = [];

  constructor(session: Http2Session) {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.over = promise;
    this.stream = session.open(HEAD, {
      headers: (fields) => void Object.assign(this.fields, fields),
      data: (bytes) => void this.#parts.push(Buffer.from(bytes)),
      ended: () => resolve("ended"),
      broken: (why, unsent) => resolve(unsent ? `${why}, unsent` : why),
    });
  }

  get body(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** A session with whoever listens there, the end of which is the end of the block. */
function connected(port: number) {
  const failures: string[] = [];
  const failed = Promise.withResolvers<string>();
  const left = Promise.withResolvers<void>();
  const session = new Http2Session(net.connect({ host: HOST, port, noDelay: true }), {
    greeted() {},
    leaving: left.resolve,
    failed(why) {
      failures.push(why);
      failed.resolve(why);
    },
  });
  return { session, failures, failed: failed.promise, left: left.promise };
}

/** With Node's own server, whatever this runs on. */
async function withPeer(settings = {}) {
  const { binary } = runtimes.find(({ name }) => name === "node")!;
  const file = fileURLToPath(new URL("./http2_peer.ts", import.meta.url));
  const peer = spawn(binary, [file, JSON.stringify(settings)], { stdio: ["pipe", "pipe", "inherit"] });
  const [said] = await once(peer.stdout, "data");
  const at = connected(Number(said));
  return {
    ...at,
    peer,
    [Symbol.dispose]() {
      at.session.destroy();
      peer.kill("SIGKILL");
    },
  };
}

async function withServer(server: Server) {
  server.listen(0, HOST);
  await once(server, "listening");
  const at = connected((server.address() as AddressInfo).port);
  return {
    ...at,
    [Symbol.dispose]() {
      at.session.destroy();
      server.close();
    },
  };
}

const patient = { timeout: 30_000 };

describe("with Node's own server", () => {
  test("a message of any size comes back, also many at once", patient, async () => {
    using at = await withPeer();
    const sizes = [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 1_000_000, 5, 300_000];
    const replies = sizes.map((size, n) => {
      const reply = new Reply(at.session);
      reply.stream.send(Buffer.alloc(size, n), true);
      return reply;
    });
    for (const [n, reply] of replies.entries()) {
      assert.equal(await reply.over, "ended");
      assert.equal(reply.fields[":status"], "200");
      assert.equal(reply.fields["grpc-status"], "0");
      assert.ok(reply.body.equals(Buffer.alloc(sizes[n]!, n)), `${sizes[n]} bytes`);
    }
    assert.deepEqual(at.failures, []);
  });

  test("a message in parts is one", patient, async () => {
    using at = await withPeer();
    const reply = new Reply(at.session);
    for (const part of ["a", "bc", "def"]) {
      reply.stream.send(Buffer.from(part), false);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    reply.stream.send(Buffer.alloc(0), true);
    assert.equal(await reply.over, "ended");
    assert.equal(reply.body.toString(), "abcdef");
  });

  // Goes red if: requests are sent whatever the server allows; it resets those beyond that.
  test("no more streams are open than it allows", patient, async () => {
    using at = await withPeer({ maxConcurrentStreams: 3 });
    const first = new Reply(at.session);
    first.stream.send(Buffer.from("first"), true);
    assert.equal(await first.over, "ended"); // by now it has told what it allows
    const replies = Array.from({ length: 20 }, () => new Reply(at.session));
    for (const [n, { stream }] of replies.entries()) stream.send(Buffer.from(`${n}`), true);
    for (const [n, reply] of replies.entries()) {
      assert.equal(await reply.over, "ended");
      assert.equal(reply.body.toString(), `${n}`);
    }
  });

  // Goes red if: more than one goes out before the server has said how many there may be.
  test("nor before it has told how many that are", patient, async () => {
    using at = await withPeer({ maxConcurrentStreams: 3 });
    const replies = Array.from({ length: 20 }, () => new Reply(at.session));
    for (const { stream } of replies) stream.send(Buffer.from("cold"), true);
    for (const { over } of replies) assert.equal(await over, "ended");
  });

  // Goes red if: no block says that there is no table; this server ends the connection then.
  test("one that keeps no header table is served, as one that keeps one", patient, async () => {
    for (const headerTableSize of [0, 1_024, 4_096, 65_536]) {
      using at = await withPeer({ headerTableSize });
      for (let n = 0; n < 4; n++) {
        const reply = new Reply(at.session);
        reply.stream.send(Buffer.from("text"), true);
        assert.equal(await Promise.race([reply.over, at.failed]), "ended");
        assert.equal(reply.fields["grpc-status"], "0");
      }
    }
  });

  test("a ping is answered", patient, async () => {
    using at = await withPeer();
    await new Promise<void>((resolve) => at.session.ping(resolve));
  });

  test("its end is told once", patient, async () => {
    using at = await withPeer();
    await new Promise<void>((resolve) => at.session.ping(resolve));
    at.peer.kill("SIGKILL");
    assert.match(await at.failed, /going away|closed|ECONNRESET|reset/);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(at.failures.length, 1);
  });
});

describe("with bare frames", () => {
  const headers = encode({ ":status": "200", "grpc-status": "0" });

  test("padding, priorities and headers in parts are understood", patient, async () => {
    using at = await withServer(scripted(({ type, stream }, socket) => {
      if (type !== TYPE.headers) return;
      const padded = Buffer.concat([Buffer.of(3, 0, 0, 0, 0, 16), headers.subarray(0, 5), Buffer.alloc(3)]);
      socket.write(frame(TYPE.headers, FLAG.padded | FLAG.priority, stream, padded));
      socket.write(frame(TYPE.continuation, 0, stream, headers.subarray(5, 9)));
      socket.write(frame(TYPE.continuation, FLAG.endHeaders, stream, headers.subarray(9)));
      socket.write(frame(0xbe, 0, stream, Buffer.from("of a kind that nobody knows")));
      socket.write(frame(TYPE.data, FLAG.padded | FLAG.endStream, stream, Buffer.from("\x02text\0\0")));
    }));
    const reply = new Reply(at.session);
    assert.equal(await reply.over, "ended");
    assert.deepEqual(reply.fields, { ":status": "200", "grpc-status": "0" });
    assert.equal(reply.body.toString(), "text");
  });

  // Goes red if: only the connection's window is looked at, or a smaller one is not taken note of.
  test("what is sent fits into the windows, also when they shrink", patient, async () => {
    const sent: number[] = [];
    let agreed = 0;
    using at = await withServer(scripted(({ type, stream, flags, payload }, socket) => {
      if (type === TYPE.headers) socket.write(settingsFrame([[SETTING.window, 10]]));
      if (type === TYPE.settings && (flags & FLAG.ack) !== 0 && ++agreed === 2) {
        // The stream has used its first window, and is as much in debt now as it was made smaller.
        socket.write(numberFrame(TYPE.window, 0, 1_000_000));
        socket.write(numberFrame(TYPE.window, 1, 65_535));
      }
      if (type !== TYPE.data) return;
      sent.push(payload.length);
      if ((flags & FLAG.endStream) !== 0) {
        socket.write(frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, stream, headers));
      } else if (payload.length <= 10) socket.write(numberFrame(TYPE.window, stream, 10));
    }));
    const reply = new Reply(at.session);
    reply.stream.send(Buffer.alloc(65_535 + 35), true);
    assert.equal(await reply.over, "ended");
    assert.deepEqual(sent, [16_384, 16_384, 16_384, 16_383, 10, 10, 10, 5]);
  });

  // Goes red if: each stream takes the connection's window for its own.
  test("all streams share the connection's window", patient, async () => {
    let total = 0;
    let most = 65_535;
    let exceeded = false;
    using at = await withServer(scripted(({ type, stream, flags, payload }, socket) => {
      if (type !== TYPE.data) return;
      total += payload.length;
      exceeded ||= total > most;
      if (total === most) socket.write(numberFrame(TYPE.window, 0, most = 1_000_000));
      if ((flags & FLAG.endStream) === 0) return;
      socket.write(frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, stream, headers));
    }));
    const replies = [new Reply(at.session), new Reply(at.session)];
    for (const { stream } of replies) stream.send(Buffer.alloc(40_000), true);
    for (const { over } of replies) assert.equal(await over, "ended");
    assert.deepEqual([total, exceeded], [80_000, false]);
  });

  test("a stream that is reset is broken, and no other", patient, async () => {
    using at = await withServer(scripted(({ type, stream }, socket) => {
      if (type !== TYPE.headers) return;
      if (stream === 1) socket.write(numberFrame(TYPE.reset, stream, 7));
      else socket.write(frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, stream, headers));
    }));
    const [first, second] = [new Reply(at.session), new Reply(at.session)];
    second.stream.send(Buffer.alloc(0), true);
    assert.match(await first.over, /ended the call \(7\)/);
    assert.equal(await second.over, "ended");
    assert.deepEqual(at.failures, []);
  });

  // Goes red if: all streams end with a goodbye, or none, or a new one is sent after it.
  test(
    "after a goodbye what the server has begun goes on, and the rest is told as unsent",
    patient,
    async () => {
      const heads: number[] = [];
      using at = await withServer(scripted(({ type, stream }, socket) => {
        if (type !== TYPE.headers || heads.push(stream) < 3) return;
        const last = Buffer.alloc(8);
        last.writeUInt32BE(3);
        socket.write(frame(TYPE.goaway, 0, 0, last));
        for (const id of [1, 3]) {
          socket.write(frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, id, headers));
        }
      }));
      const replies = Array.from({ length: 3 }, () => new Reply(at.session));
      for (const { stream } of replies) stream.send(Buffer.alloc(0), true);
      await at.left;
      const late = new Reply(at.session);
      const going = "the server is going away, unsent";
      const all = await Promise.all([...replies, late].map(({ over }) => over));
      assert.deepEqual(all, ["ended", "ended", going, going]);
      assert.deepEqual(heads, [1, 3, 5]);
      assert.deepEqual(at.failures, []);
    },
  );

  // Goes red if: a first goodbye, which names no last stream yet, is taken for the only one.
  test("a server may say goodbye twice: first that no new call is to come, then which it has begun", async () => {
    let streams = 0;
    const goodbye = (last: number) => {
      const payload = Buffer.alloc(8);
      payload.writeUInt32BE(last);
      return frame(TYPE.goaway, 0, 0, payload);
    };
    using at = await withServer(scripted(({ type, flags }, socket) => {
      if (type === TYPE.headers && ++streams === 2) {
        socket.write(goodbye(2 ** 31 - 1));
        socket.write(frame(TYPE.ping, 0, 0, Buffer.alloc(8)));
      }
      if (type !== TYPE.ping || (flags & FLAG.ack) === 0) return;
      socket.write(goodbye(1));
      socket.write(frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, 1, headers));
    }));
    const replies = [new Reply(at.session), new Reply(at.session)];
    for (const { stream } of replies) stream.send(Buffer.alloc(0), true);
    await at.left;
    const all = await Promise.all(replies.map(({ over }) => over));
    assert.deepEqual(all, ["ended", "the server is going away, unsent"]);
    assert.deepEqual(at.failures, []);
  });

  // Goes red if: answers pile up for a server that reads none of them.
  test("who asks and does not listen is left", patient, async () => {
    using at = await withServer(net.createServer((socket) => {
      socket.on("error", () => {}).pause();
      socket.write(settingsFrame([]));
      const pings = Buffer.concat(
        Array.from({ length: 10_000 }, () => frame(TYPE.ping, 0, 0, Buffer.alloc(8))),
      );
      const flood = (error?: unknown) => void (error || socket.destroyed || socket.write(pings, flood));
      flood();
    }));
    assert.match(await at.failed, /does not read|closed|reset/);
  });

  // Goes red if: what comes for a stream that was given up is not counted, or its headers are not skipped.
  test("what comes for a stream that was given up costs nobody any room", patient, async () => {
    let credit = 0;
    using at = await withServer(scripted(({ type, stream, payload }, socket) => {
      if (type === TYPE.window && stream === 0) credit += payload.readUInt32BE(0);
      if (type !== TYPE.reset) return;
      assert.equal(payload.readUInt32BE(0), 8);
      socket.write(frame(TYPE.headers, FLAG.endHeaders, 1, headers));
      for (let n = 0; n < 600; n++) socket.write(frame(TYPE.data, 0, 1, Buffer.alloc(16_384)));
      socket.write(frame(TYPE.ping, 0, 0, Buffer.from("12345678")));
    }));
    const reply = new Reply(at.session);
    reply.stream.send(Buffer.from("a"), false);
    reply.stream.close();
    await new Promise<void>((resolve) => {
      const look = setInterval(() => {
        if (credit < 2 ** 24 - 65_535 + 2 ** 23) return;
        clearInterval(look);
        resolve();
      }, 5);
    });
    assert.equal(reply.body.length, 0);
    assert.deepEqual(at.failures, []);
  });

  // Goes red if: a message is taken for whole too early, or a preliminary answer for the answer.
  test("messages of gRPC are whole, however they are cut", patient, async () => {
    const messages = [0, 5, 100_000, 1, 70_000].map((size, n) => Buffer.alloc(size, n));
    const prefixed = messages.map((message) => {
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(message.length, 1);
      return Buffer.concat([prefix, message]);
    });
    for (const size of [3, 997, 16_384]) {
      using at = await withServer(scripted(({ type, stream }, socket) => {
        if (type !== TYPE.headers) return;
        socket.write(frame(TYPE.headers, FLAG.endHeaders, stream, encode({ ":status": "103" })));
        socket.write(frame(TYPE.headers, FLAG.endHeaders, stream, encode({ ":status": "200" })));
        const bytes = Buffer.concat(prefixed);
        const frames: Buffer[] = [];
        for (let from = 0; from < bytes.length; from += size) {
          frames.push(frame(TYPE.data, 0, stream, bytes.subarray(from, from + size)));
        }
        socket.write(Buffer.concat(frames));
        socket.write(
          frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, stream, encode({ "grpc-status": "0" })),
        );
      }));
      const heard: Buffer[] = [];
      const over = new Promise<unknown>((resolve) => {
        new Exchange(at.session, HEAD, {
          message: (message) => void heard.push(Buffer.from(message)),
          over: resolve,
        });
      });
      assert.equal(await over, undefined);
      assert.deepEqual(heard.map(({ length }) => length), messages.map(({ length }) => length));
      assert.ok(heard.every((message, n) => message.equals(messages[n]!)));
    }
  });

  test("what is no HTTP/2 ends the connection, and says so", patient, async () => {
    const wrong: [why: RegExp, bytes: Buffer][] = [
      [/not HTTP\/2/, Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
      [/not HTTP\/2/, frame(TYPE.ping, 0, 0, Buffer.alloc(8))],
      [
        /interrupted/,
        Buffer.concat([
          settingsFrame([]),
          frame(TYPE.headers, 0, 1, headers),
          frame(TYPE.ping, 0, 0, Buffer.alloc(8)),
        ]),
      ],
      [
        /have not begun|not begun/,
        Buffer.concat([settingsFrame([]), frame(TYPE.continuation, 0, 1, headers)]),
      ],
      [
        /nobody has asked/,
        Buffer.concat([settingsFrame([]), frame(TYPE.promise, FLAG.endHeaders, 1, headers)]),
      ],
      [/all padding/, Buffer.concat([settingsFrame([]), frame(TYPE.data, FLAG.padded, 1, Buffer.of(9, 0))])],
      [
        /has not sent/,
        Buffer.concat([settingsFrame([]), frame(TYPE.headers, FLAG.endHeaders, 1, Buffer.of(0xff, 0))]),
      ],
      [
        /longer than is allowed/,
        Buffer.concat([
          settingsFrame([]),
          frame(TYPE.headers, 0, 1, headers),
          ...Array.from({ length: 5 }, () => frame(TYPE.continuation, 0, 1, Buffer.alloc(16_384))),
        ]),
      ],
      [
        /longer than is allowed/,
        Buffer.concat([
          settingsFrame([]),
          frame(TYPE.headers, 0, 1, headers),
          ...Array.from({ length: 70_000 }, () => frame(TYPE.continuation, 0, 1, Buffer.alloc(0))),
        ]),
      ],
      [
        /more room than there can be/,
        Buffer.concat([settingsFrame([]), numberFrame(TYPE.window, 0, 2 ** 31 - 1)]),
      ],
      [/more room than there can be/, settingsFrame([[SETTING.window, 2 ** 31]])],
    ];
    for (const [why, bytes] of wrong) {
      using at = await withServer(
        net.createServer((socket) => void socket.on("error", () => {}).write(bytes)),
      );
      const reply = new Reply(at.session);
      assert.match(await at.failed, why);
      assert.equal(at.failures.length, 1);
      assert.equal(reply.body.length, 0);
    }
  });

  test("frames are the same however the bytes are cut", () => {
    const some = fc.array(
      fc.tuple(fc.nat(9), fc.nat(255), fc.nat(2 ** 31 - 1), fc.uint8Array({ maxLength: 50 })),
    );
    fc.assert(fc.property(some, fc.array(fc.nat(60)), (frames, cuts) => {
      const bytes = Buffer.concat(
        frames.map(([type, flags, stream, payload]) => frame(type, flags, stream, Buffer.from(payload))),
      );
      const reader = new FrameReader();
      const read: unknown[] = [];
      let at = 0;
      for (const cut of [...cuts, bytes.length]) {
        for (const { type, flags, stream, payload } of reader.read(bytes.subarray(at, at + cut))) {
          read.push([type, flags, stream, new Uint8Array(payload)]);
        }
        at = Math.min(bytes.length, at + cut);
      }
      assert.deepEqual(
        read,
        frames.map(([type, flags, stream, payload]) => [type, flags, stream, new Uint8Array(payload)]),
      );
    }));
  });
});
