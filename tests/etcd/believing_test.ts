/** What somebody else than etcd may say, and what is no answer at all: never news of a lock, never for ever. */
import fc from "fast-check";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import net from "node:net";
import { Duplex } from "node:stream";
import { describe, test } from "node:test";
import { etcd } from "../../backends/etcd.ts";
import { EtcdClient } from "../../backends/etcd/client/client.ts";
import { Exchange } from "../../backends/etcd/client/exchange.ts";
import {
  FLAG,
  frame,
  numberFrame,
  SETTING,
  settingsFrame,
  TYPE,
} from "../../backends/etcd/client/http2/frames.ts";
import { encode } from "../../backends/etcd/client/http2/hpack.ts";
import { Http2Session } from "../../backends/etcd/client/http2/session.ts";
import type { RangeRequest } from "../../backends/etcd/client/messages.ts";
import { Message } from "../../backends/etcd/client/protobuf.ts";
import * as schema from "../../backends/etcd/client/schema.ts";
import { readTarget } from "../../backends/etcd/address.ts";
import { BackendError, LockManager } from "../../mod.ts";
import { answer, listening, scripted, wrapped } from "./bare_peer.ts";
import { call } from "../support.ts";

const HEADER = { cluster_id: "1", revision: "7", raft_term: "2" };
const EMPTY = schema.RangeResponse.encode({ header: HEADER });
const RANGE: RangeRequest = { key: Buffer.from("holdfast/k/") };

/** A peer that answers every call with these frames. */
const peer = (frames: (stream: number) => Buffer) =>
  listening(scripted(({ type, stream }, socket) => {
    if (type === TYPE.headers) socket.write(frames(stream));
  }));

const with_ = (headers: Record<string, string>, body: readonly Buffer[] = []) => (stream: number) =>
  answer(stream, { headers: { ":status": "200", ...headers }, body, trailers: { "grpc-status": "0" } });

describe("not etcd's word", () => {
  const html = Buffer.from("<html>Not here</html>");
  const said: Record<string, (stream: number) => Buffer> = {
    ...Object.fromEntries(["301", "400", "401", "403", "404", "429", "502"].map((status) => [
      `status ${status} and a page`,
      (stream: number) => answer(stream, { headers: { ":status": status }, body: [html] }),
    ])),
    ...Object.fromEntries(["3", "5", "7", "9", "12", "16", "99", "x"].map((status) => [
      `gRPC status ${status} of a load balancer`,
      (stream: number) =>
        answer(stream, { trailers: { "grpc-status": status, "grpc-message": "no such route" } }),
    ])),
    "a page where a message is meant": with_({}, [html]),
    "no message": with_({}),
    "an empty message": with_({}, [wrapped(Buffer.alloc(0))]),
    "a header of no cluster": with_({}, [wrapped(schema.RangeResponse.encode({ header: {} }))]),
    "a message that is cut off": with_({}, [wrapped(EMPTY.subarray(0, -1))]),
    "a message of 4 GB": with_({}, [wrapped(EMPTY, 0xffffffff)]),
    "two messages": with_({}, [wrapped(EMPTY), wrapped(EMPTY)]),
    "a page that leads nowhere": with_({}, [
      wrapped(schema.RangeResponse.encode({ header: HEADER, more: true })),
    ]),
    "a refused stream": (stream) => numberFrame(TYPE.reset, stream, 7),
    "a broken stream": (stream) => numberFrame(TYPE.reset, stream, 2),
    "a goodbye": () => frame(TYPE.goaway, 0, 0, Buffer.alloc(8)),
  };

  // Goes red if: any of these is taken for an empty answer, or for final.
  for (const [what, frames] of Object.entries(said)) {
    test(`${what} is an error that a repetition may mend`, async () => {
      await using at = await peer(frames);
      await using locks = new LockManager(etcd(at.url), { retryFor: 0 });
      for (const asked of [() => locks.tryAcquire("k"), () => locks.inspect("k"), () => locks.query()]) {
        await assert.rejects(asked(), (error) => error instanceof BackendError && error.retryable);
      }
    });
  }

  test("a lease without an id or a ttl is none", async () => {
    for (const granted of [{ TTL: "5" }, { ID: "7" }, { ID: "-7", TTL: "5" }, { ID: "7", TTL: "-5" }]) {
      await using at = await peer(
        with_({}, [wrapped(schema.LeaseGrantResponse.encode({ header: HEADER, ...granted }))]),
      );
      await using locks = new LockManager(etcd(at.url), { retryFor: 0 });
      await assert.rejects(
        locks.tryAcquire("k"),
        (error) => error instanceof BackendError && error.retryable,
      );
    }
  });

  // Goes red if: a call lasts for as long as something comes.
  test("an answer without end ends with the call", async () => {
    const endless = (more: (stream: number) => Buffer) =>
      listening(scripted(({ type, stream }, socket) => {
        if (type !== TYPE.headers) return;
        socket.write(frame(TYPE.headers, FLAG.endHeaders, stream, encode({ ":status": "200" })));
        const flood = () => void (socket.destroyed || socket.write(more(stream), () => setTimeout(flood, 1)));
        flood();
      }));
    const floods: ((stream: number) => Buffer)[] = [
      (stream) => frame(TYPE.data, 0, stream, Buffer.alloc(0)),
      (stream) => frame(TYPE.headers, FLAG.endHeaders, stream, encode({ ":status": "103" })),
      () => settingsFrame([]),
      () => Buffer.concat(Array.from({ length: 100 }, () => frame(TYPE.ping, 0, 0, Buffer.alloc(8)))),
      (stream) => numberFrame(TYPE.window, stream, 0),
      (stream) => numberFrame(TYPE.reset, stream + 2, 0),
      () => frame(0xbe, 0, 0, Buffer.alloc(100)),
    ];
    await Promise.all(floods.map(async (flood) => {
      await using at = await endless(flood);
      const port = new EtcdClient(readTarget(at.url));
      await assert.rejects(port.call("range", RANGE, call(300)), { name: "EtcdError" });
      port.close();
    }));
  });

  // Goes red if: what is under way when the server says goodbye is given up, or new calls follow it.
  test("a goodbye ends no call that the server has begun, and the others go elsewhere at once", async () => {
    const connections: number[] = [];
    await using at = await listening(scripted(({ type, stream }, socket) => {
      if (type !== TYPE.headers) return;
      connections.push(socket.remotePort!);
      const reply = answer(stream, { body: [wrapped(EMPTY)] });
      if (socket.remotePort !== connections[0]) return void socket.write(reply);
      if (stream !== 5) return; // three calls are under way, of which it answers the first after its goodbye
      const last = Buffer.alloc(8);
      last.writeUInt32BE(1);
      socket.write(frame(TYPE.goaway, 0, 0, last));
      socket.write(answer(1, { body: [wrapped(EMPTY)] }));
    }));
    const port = new EtcdClient(readTarget(at.url));
    let doubts = 0;
    const bounds = { timeout: 30_000, doubt: () => doubts++ };
    await Promise.all([1, 2, 3].map(() => port.call("range", RANGE, bounds)));
    assert.equal(doubts, 0, "a call was given up of which the fate was known");
    assert.equal(connections.filter((each) => each === connections[0]).length, 3);
    assert.equal(new Set(connections).size, 2);
    port.close();
  });

  // Goes red if: what keeps locks alive has to wait for what does not, or a call waits for its turn for ever.
  test("where few streams are allowed, and all are in use, a renewal has one", async () => {
    const kept = schema.LeaseKeepAliveResponse.encode({ header: HEADER, ID: "7", TTL: "5" });
    await using at = await listening(scripted(({ type, stream, payload }, socket) => {
      const asked = type === TYPE.headers && payload.includes("LeaseKeepAlive");
      if (asked) socket.write(answer(stream, { body: [wrapped(kept)] }));
    }, [[SETTING.streams, 4]]));
    const port = new EtcdClient(readTarget(at.url));
    const others = Array.from({ length: 10 }, () => port.call("range", RANGE, call(30_000)));
    for (const other of others) other.catch(() => {}); // they are never answered
    for (let n = 0; n < 3; n++) {
      const renewed = await port.call("leaseKeepAlive", { ID: "7" }, { timeout: 30_000, urgent: true });
      assert.equal(renewed.TTL, "5");
    }
    await assert.rejects(port.call("range", RANGE, call(50)), /had no turn/);
    port.close();
  });

  test("one that does not speak first, or in another tongue, is left", async () => {
    const servers = ["HTTP/1.1 400 Bad Request\r\n\r\n", "\x15\x03\x01\0\x02\x02\x16"].map((text) =>
      net.createServer((socket) => void socket.on("error", () => {}).end(text))
    );
    for (const server of servers) {
      await using at = await listening(server);
      await using locks = new LockManager(etcd(at.url), { retryFor: 0 });
      await assert.rejects(locks.tryAcquire("k"), /a port with TLS\? then give https/);
    }
  });
});

describe("whatever bytes come", () => {
  const seed = 20_261_128;

  /** An answer with some of its bytes turned into others. */
  const spoilt = (bytes: Buffer) =>
    fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }).map(
      (changes) => {
        const copy = Buffer.from(bytes);
        for (const [at, byte] of changes) copy[at] = byte;
        return copy;
      },
    );

  test("messages are read or refused", () => {
    const kv = {
      key: Buffer.from("k"),
      create_revision: "5",
      mod_revision: "-1",
      value: Buffer.from("v"),
      lease: "9",
    };
    const range = { header: HEADER, kvs: [kv, kv], more: true };
    const examples: [Message, object][] = [
      [schema.RangeResponse, range],
      [schema.TxnResponse, { header: HEADER, succeeded: true, responses: [{ response_range: range }] }],
      [schema.LeaseTimeToLiveResponse, {
        header: HEADER,
        TTL: "-1",
        grantedTTL: "5",
        keys: [Buffer.from("k")],
      }],
      [schema.WatchResponse, {
        header: HEADER,
        watch_id: "3",
        cancel_reason: "x",
        events: [{ type: "Delete", kv }],
      }],
    ];
    for (const [message, example] of examples) {
      const read = (bytes: Buffer) => {
        try {
          message.decode(bytes);
        } catch (error) {
          assert.match((error as Error).message, /^a (message|number|field) /);
        }
      };
      fc.assert(fc.property(spoilt(message.encode(example)), read), { seed, numRuns: 300 });
      fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)), read), {
        seed,
      });
    }
  });

  test("no message is longer than its bytes, no number than ten", () => {
    for (
      const hex of [
        "08",
        "0aff",
        "0a05ff",
        "08ffffffffffffffffffffff01",
        "0b",
        "0f",
        "00",
        "0d010203",
        "0a0208",
      ]
    ) {
      assert.throws(() => schema.RangeResponse.decode(Buffer.from(hex, "hex")), Error, hex);
    }
    const [long] = [Buffer.from("08ffffffffffffffffff01", "hex")];
    assert.equal(new Message({ n: [1, "int64"] }).decode(long!)["n"], "-1");
  });

  /** A connection that keeps no process alive and goes nowhere. */
  class Wire extends Duplex {
    override _read(): void {}
    override _write(_bytes: Buffer, _encoding: string, done: () => void): void {
      done();
    }
  }

  test("a connection is read or given up, and never throws", async () => {
    const whole = Buffer.concat([
      settingsFrame([[3, 100]]),
      answer(1, { body: [wrapped(EMPTY), wrapped(EMPTY).subarray(0, 7)] }),
      frame(TYPE.ping, 0, 0, Buffer.alloc(8)),
      numberFrame(TYPE.window, 1, 70_000),
      frame(TYPE.goaway, 0, 0, Buffer.alloc(8)),
    ]);
    await fc.assert(
      fc.asyncProperty(spoilt(whole), fc.integer({ min: 1, max: 60 }), async (bytes, cut) => {
        const wire = new Wire();
        const session = new Http2Session(wire as unknown as net.Socket, {
          greeted() {},
          leaving() {},
          failed() {},
        });
        const exchange = new Exchange(session, { ":path": "/" }, { message() {}, over() {} });
        exchange.send(Buffer.from("asked"), true);
        for (let at = 0; at < bytes.length; at += cut) wire.emit("data", bytes.subarray(at, at + cut));
        session.destroy();
      }),
      { seed, numRuns: 300 },
    );
  });
});
