/** What a server, or whoever answers in its place, may send: nothing of it hangs, grows or is believed. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createServer, type Server, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { zookeeper } from "../../backends/zookeeper.ts";
import { Connection } from "../../backends/zookeeper/client/connection.ts";
import { Frames } from "../../backends/zookeeper/client/frames.ts";
import { Reader, Writer } from "../../backends/zookeeper/client/jute.ts";
import { ConnectionLost, ZooKeeperError } from "../../backends/zookeeper/client/errors.ts";
import * as op from "../../backends/zookeeper/client/operations.ts";
import { Outbox } from "../../backends/zookeeper/client/outbox.ts";
import { Servers } from "../../backends/zookeeper/client/servers.ts";
import { Watches } from "../../backends/zookeeper/client/watches.ts";
import { BackendError, LockManager } from "../../mod.ts";
import { HOST } from "../servers/process.ts";
import { ZooKeeperServer } from "../servers/zookeeper.ts";

/** Milliseconds that no test takes: whoever waits for so long has not noticed. */
const LONG = 60_000;
const HELLO = { lastZxid: 0n, timeout: 10_000, session: 0n, password: new Uint8Array(16) };

/** The same numbers each time. */
function random(seed: number): () => number {
  return () => {
    seed = seed + 0x6D2B79F5 | 0;
    let mixed = Math.imul(seed ^ seed >>> 15, seed | 1);
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61) ^ mixed;
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  };
}

const greeting = (timeout = 10_000, session = 7n) =>
  new Writer().int(0).int(timeout).long(session).buffer(new Uint8Array(16)).bool(false).frame();
const header = (xid: number, zxid = 9n, error = 0) => new Writer().int(xid).long(zxid).int(error);
const stat = (to: Writer) => {
  for (const value of [9n, 9n, 1n, 1n]) to.long(value);
  for (const value of [0, 0, 0]) to.int(value);
  return to.long(7n).int(0).int(0).long(9n);
};

describe("what is sent to a client of ZooKeeper", () => {
  let peer: Server;
  let says: (socket: Socket) => void;
  let visits = 0;
  const sockets = new Set<Socket>();

  before(async () => {
    peer = createServer((socket) => {
      visits++;
      sockets.add(socket.on("error", () => {}));
      says(socket);
    });
    await new Promise<void>((resolve) => peer.listen(0, HOST, resolve));
  });
  after(() => {
    for (const socket of sockets) socket.destroy();
    peer.close();
  });
  const port = () => (peer.address() as { port: number }).port;

  const open = (over: AbortController, said: op.Hello = HELLO) =>
    Connection.open(
      { host: HOST, port: port() },
      said,
      LONG,
      { event: () => {}, ended: () => {} },
      over.signal,
    );
  /** Greets, and hears the requests. */
  const serves = (hears: (socket: Socket, xid: number) => void) => {
    says = (socket) => {
      const frames = new Frames();
      let greeted = false;
      socket.on("data", (bytes: Buffer) => {
        for (const frame of frames.push(bytes)) {
          if (greeted) hears(socket, new Reader(frame).int());
          else socket.write(greeting());
          greeted = true;
        }
      });
    };
  };
  /** Greets, and answers the first request. */
  const answers = (...frames: Uint8Array[]) =>
    serves((socket, xid) => void (xid === 1 && socket.write(Buffer.concat(frames))));

  const strange: [string, Uint8Array][] = [
    ["a length of 4 GB", Uint8Array.of(0xff, 0xff, 0xff, 0xff)],
    ["a length of 2 GB", Uint8Array.of(0x7f, 0xff, 0xff, 0xff)],
    ["another protocol", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["TLS", Uint8Array.of(21, 3, 3, 0, 2, 2, 40)],
    ["an empty frame", Uint8Array.of(0, 0, 0, 0)],
  ];
  for (const [what, bytes] of strange) {
    test(`${what} instead of a greeting, or of an answer, ends the connection at once`, async () => {
      says = (socket) => void socket.write(bytes);
      const over = new AbortController();
      await assert.rejects(open(over), ConnectionLost);
      answers(bytes);
      const connection = await open(over);
      await assert.rejects(connection.request(op.exists("/", false)), ConnectionLost);
      assert.equal(connection.ended, true);
      over.abort();
    });
  }

  const replies: [string, Uint8Array, op.Operation<unknown>][] = [
    ["an answer that nobody asked for", header(99).frame(), op.exists("/", false)],
    ["an answer that ends in its header", new Writer().int(1).int(0).frame(), op.exists("/", false)],
    ["an answer that ends in its body", header(1).int(1).frame(), op.exists("/", false)],
    ["a list of 2^31-1", header(1).int(0x7fffffff).frame(), op.getChildren("/", false)],
    ["a list of -2", header(1).int(-2).frame(), op.getChildren("/", false)],
    ["a name of 2 GB", header(1).int(1).int(0x7fffffff).frame(), op.getChildren("/", false)],
    ["a name of -2", header(1).int(1).int(-2).frame(), op.getChildren("/", false)],
    ["data of 1 GB", header(1).int(0x40000000).frame(), op.getData("/")],
    [
      "another node than the one to be created",
      stat(header(1).string("/b")).frame(),
      op.create("/a", "", [], 0),
    ],
    [
      "a number of 12 digits",
      stat(header(1).string(`/a${"0".repeat(12)}`)).frame(),
      op.create("/a", "", [], 0),
    ],
    ["an event that ends early", new Writer().int(-1).long(-1n).int(0).int(2).frame(), op.exists("/", false)],
  ];
  for (const [what, bytes, operation] of replies) {
    test(`${what} ends the connection at once`, async () => {
      answers(bytes);
      const over = new AbortController();
      const connection = await open(over);
      await assert.rejects(connection.request(operation), ConnectionLost);
      assert.equal(connection.ended, true);
      over.abort();
    });
  }

  test("an answer to what was asked later ends the connection at once", async () => {
    answers(stat(header(2)).frame());
    const over = new AbortController();
    const connection = await open(over);
    const asked = [op.exists("/a", false), op.exists("/b", false)].map((each) => connection.request(each));
    for (const each of asked) await assert.rejects(each, /not due/);
    over.abort();
  });

  // Red if: as much is made room for as in an answer.
  test("a greeting of a MiB ends the connection at once", async () => {
    says = (socket) => void socket.write(lengthOf({ length: 2 ** 20 }));
    await assert.rejects(open(new AbortController()), /a frame of 1048576 bytes/);
  });

  test("data that is longer than any of ours is left unread", async () => {
    answers(stat(header(1).string("x".repeat(100_000))).frame());
    const over = new AbortController();
    const connection = await open(over);
    assert.equal((await connection.request(op.getData("/"))).data, "");
    over.abort();
  });

  // Red if: an event counts before its watch does, or only a turn after the answer to it.
  test("a flood of events after an answer is one event, until the next answer", async () => {
    const event = new Writer().int(-1).long(-1n).int(0).int(3).int(3).string("/a").frame();
    let asked = 0;
    serves((socket) => {
      if (++asked === 1) socket.write(Buffer.concat([stat(header(1)).frame(), ...Array(999).fill(event)]));
      else socket.end(event);
    });
    const watches = new Watches();
    let heard = 0;
    const over = new AbortController();
    await new Promise<void>((resolve, reject) => {
      const listener = { event: watches.event.bind(watches), ended: () => resolve() };
      Connection.open({ host: HOST, port: port() }, HELLO, LONG, listener, over.signal).then((connection) => {
        const told = () => {
          heard++;
          watches.add("/a", told, connection).catch(() => {});
        };
        watches.add("/a", told, connection).catch(reject);
      }, reject);
    });
    assert.deepEqual([heard, asked], [1, 2]);
  });

  // Red if: whatever is answered is a sign that the rest will be.
  test("whoever answers pings alone is as good as silent", async () => {
    serves((socket, xid) => void (xid === -2 && socket.write(header(xid).frame())));
    const over = new AbortController();
    const connection = await open(over);
    connection.patience = 200;
    const asked = connection.request(op.exists("/", false));
    connection.keepAlive(10);
    await assert.rejects(asked, /has not answered for 200 ms/);
    over.abort();
  });

  test("a state older than what the session has seen is somebody else's", async () => {
    says = (socket) => {
      socket.write(greeting(10_000, 7n));
      socket.write(stat(header(1, 9n)).frame());
    };
    const over = new AbortController();
    const connection = await open(over, { ...HELLO, session: 7n, lastZxid: 10n });
    await assert.rejects(connection.request(op.exists("/", false)), /older/);
  });

  for (
    const [what, timeout, session, said] of [
      ["0 ms", 0, 7n, /session 7 for 0 ms/],
      ["-1 ms", -1, 7n, /session 7 for -1 ms/],
      ["1 ms", 1, 7n, /grants a session 1 ms, which is not above a tickTime/],
      ["session 0", 10_000, 0n, /session 0 for 10000 ms/],
    ] as const
  ) {
    test(`a greeting with ${what} is an error, and not asked for again and again`, async () => {
      says = (socket) => void socket.write(greeting(timeout, session));
      await using locks = new LockManager(zookeeper({ address: `${HOST}:${port()}`, tickTime: 500 }), {
        retryFor: 0,
      });
      visits = 0;
      await assert.rejects(locks.acquire("k"), (error: Error) => {
        assert.ok(error instanceof BackendError);
        assert.match(error.message, said);
        return true;
      });
      assert.ok(visits <= 2, `${visits} connections`);
    });
  }

  test("another session than the one asked for is not ours", async () => {
    says = (socket) => void socket.write(greeting(10_000, 8n));
    await assert.rejects(open(new AbortController(), { ...HELLO, session: 7n }), ConnectionLost);
  });

  test("whatever bytes come, each request settles: 300 conversations, seeded", async () => {
    const seed = Date.now() % 1e9;
    const next = random(seed);
    const good = [
      stat(header(1)).frame(),
      header(2).int(2).string("_c_1-lock-0000000001").string("x").frame(),
      stat(header(3).string("data")).frame(),
      stat(header(4).string("/a")).frame(),
      new Writer().int(-1).long(-1n).int(0).int(3).int(3).string("/a").frame(),
      header(5, 9n, -101).frame(),
    ];
    const conversation = async () => {
      const bytes = Buffer.concat([greeting(), ...good].map((frame) => Uint8Array.from(frame)));
      for (let times = 1 + next() * 4; times > 0; times--) {
        const at = Math.floor(next() * bytes.length);
        if (next() < 0.5) bytes[at] = Math.floor(next() * 256);
        else bytes.fill(next() < 0.5 ? 0xff : 0, at, Math.min(at + 4, bytes.length));
      }
      const cut = next() < 0.3 ? Math.floor(next() * bytes.length) : bytes.length;
      says = (socket) => void socket.end(bytes.subarray(0, cut));
      const over = new AbortController();
      try {
        const connection = await open(over);
        const asked = await Promise.allSettled([
          op.exists("/", true),
          op.getChildren("/", false),
          op.getData("/"),
          op.create("/a", "", [], op.EPHEMERAL),
          op.exists("/b", false),
        ].map((operation) => connection.request<unknown>(operation)));
        return asked.flatMap((each) => each.status === "rejected" ? [each.reason] : []);
      } catch (error) {
        return [error];
      } finally {
        over.abort();
      }
    };
    for (let n = 0; n < 300; n++) {
      for (const error of await conversation()) {
        assert.ok(error instanceof ConnectionLost || error instanceof ZooKeeperError, `${seed}: ${error}`);
      }
    }
  });

  test("frames are the same however the bytes are cut up, and one byte at a time is not slower for it", () => {
    const next = random(1);
    const sent = Array.from({ length: 50 }, (_, n) => Buffer.alloc(Math.floor(next() * n * n), n));
    const bytes = Buffer.concat(sent.flatMap((frame) => [lengthOf(frame), frame]));
    for (const largest of [1, 7, 1_000, bytes.length]) {
      const frames = new Frames();
      const got: Buffer[] = [];
      for (let at = 0; at < bytes.length;) {
        const size = 1 + Math.floor(next() * largest);
        got.push(...frames.push(bytes.subarray(at, at + size)));
        at += size;
      }
      assert.deepEqual(got.map(String), sent.map(String));
    }
    const big = new Frames();
    const piece = Buffer.alloc(1_000);
    assert.equal([...big.push(lengthOf({ length: 0 }))].length, 1); // the greeting
    let whole = [...big.push(lengthOf({ length: 20_000_000 }))];
    while (whole.length === 0) whole = [...big.push(piece)];
    assert.equal(whole[0]!.length, 20_000_000);
  });

  test("a list without room for its items makes none", () => {
    for (const count of [3, 0x7fffffff, -2, -0x80000000]) {
      const reader = new Reader(Buffer.from(new Writer().int(count).long(0n).frame().subarray(4)));
      assert.throws(() => reader.strings(), RangeError);
    }
  });
});

describe("what is sent to a server", () => {
  test("what is urgent goes first, looks of one turn are one, and what is needless is not sent", async () => {
    const outbox = new Outbox();
    const taken = () => outbox.take()?.operation;
    const remove = op.remove("/a");
    const look = op.getChildren("/q", false);
    outbox.put(look);
    outbox.put(remove);
    outbox.put(op.getChildren("/q", false));
    outbox.put(op.ping);
    const needless = outbox.put(op.removeWatch("/a", () => true));
    assert.equal(taken(), op.ping);
    assert.equal(taken(), remove);
    assert.equal(taken(), look);
    assert.equal(taken(), undefined);
    await needless;
    outbox.put(look);
    outbox.turn();
    outbox.put(look);
    assert.equal(taken(), look);
    assert.equal(taken(), look);
  });

  // Red if: everything is sent at once, or nothing is urgent.
  test("a renewal overtakes what waits to be sent, on a real server", async () => {
    await using server = await ZooKeeperServer.start();
    const over = new AbortController();
    const listener = { event: () => {}, ended: () => {} };
    const connection = await Connection.open(server, HELLO, LONG, listener, over.signal);
    const acl = [{ perms: 31, scheme: "world", id: "anyone" }];
    await connection.request(op.create("/alive", "", acl, op.EPHEMERAL));
    let done = 0;
    const storm = Array.from(
      { length: 1_000 },
      () => connection.request(op.create("/x-", "", acl, op.EPHEMERAL_SEQUENTIAL)).then(() => done++),
    );
    await storm[0];
    const before = done;
    await connection.request(op.setData("/alive", ""));
    assert.ok(done - before < 600, `behind ${done - before} others`);
    await Promise.all(storm);
    over.abort();
  });

  test("a server that has failed is tried last, the latest one at the end, until it has worked", () => {
    const servers = new Servers();
    const all = [1, 2, 3].map((port) => ({ host: HOST, port }));
    const [one, two, three] = all as [typeof all[0], typeof all[0], typeof all[0]];
    assert.equal(new Set(Array.from({ length: 100 }, () => servers.order(all)[0])).size, 3);
    servers.failed(two);
    servers.failed(one);
    servers.failed(one);
    assert.deepEqual(servers.order(all), [three, two, one]);
    assert.deepEqual(all.map((server) => servers.failures(server)), [2, 1, 0]);
    servers.worked(two);
    assert.equal(servers.order(all).at(-1), one);
  });
});

function lengthOf({ length }: { length: number }): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(length);
  return bytes;
}
