/** The proxy's faults are what they say: the fault matrix is only as good as they are. */

import assert from "node:assert/strict";
import { createServer, Socket } from "node:net";
import { test } from "node:test";
import { HOST, until } from "./process.ts";
import { Proxy } from "./proxy.ts";

/** A server that answers each message with itself in capitals, and counts what it got. */
class Echo implements AsyncDisposable {
  received = "";
  readonly #server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      this.received += chunk;
      socket.write(String(chunk).toUpperCase());
    });
  });

  async start(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, HOST, resolve));
    return (this.#server.address() as { port: number }).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** A client that remembers what it got. */
class Client implements AsyncDisposable {
  received = "";
  closed = false;
  readonly socket: Socket = new Socket();

  async connect(port: number): Promise<void> {
    this.socket.on("error", () => {});
    this.socket.on("data", (chunk) => this.received += chunk);
    this.socket.on("close", () => this.closed = true);
    await new Promise<void>((resolve) => this.socket.connect(port, HOST, resolve));
  }

  async says(text: string, reply: string): Promise<void> {
    this.socket.write(text);
    await soon(() => this.received.endsWith(reply), `no reply to ${text}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closed) return;
    this.socket.destroy();
    await soon(() => this.closed, "the client does not close");
  }
}

function soon(condition: () => boolean, complaint: string): Promise<void> {
  return until(() => Promise.resolve(condition()), () => complaint, 5_000);
}

async function setup(): Promise<AsyncDisposable & { echo: Echo; proxy: Proxy; client: Client }> {
  const stack = new AsyncDisposableStack();
  const echo = stack.use(new Echo());
  const proxy = stack.use(await Proxy.start({ port: await echo.start() }));
  const client = stack.use(new Client());
  await client.connect(proxy.port);
  await client.says("hello", "HELLO");
  return { echo, proxy, client, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** Long enough for anything that is on its way over the loopback to arrive. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 100));

test("a delay holds each direction back and keeps the order", async () => {
  await using t = await setup();
  t.proxy.delay(60, 40);
  const before = performance.now();
  t.client.socket.write("one ");
  await settled();
  await t.client.says("two", "ONE TWO");
  assert.ok(performance.now() - before >= 80);
});

test("a partition lets nothing through, and what was sent arrives once it heals", async () => {
  await using t = await setup();
  t.proxy.cut();
  t.client.socket.write("late");
  t.client.socket.destroy(); // the client gives up: its request is on its way all the same
  await settled();
  assert.equal(t.echo.received, "hello");
  t.proxy.heal();
  await soon(() => t.echo.received === "hellolate", "it never arrived");
});

test("a one-way partition lets the other direction through", async () => {
  await using t = await setup();
  t.proxy.cut("down");
  t.client.socket.write("heard");
  await soon(() => t.echo.received === "helloheard", "the request did not get through");
  await settled();
  assert.equal(t.client.received, "HELLO");
  t.proxy.heal();
  await soon(() => t.client.received === "HELLOHEARD", "the reply never arrived");
});

test("a connection made during a partition is silent until it heals", async () => {
  await using t = await setup();
  t.proxy.cut("up");
  await using late = new Client();
  await late.connect(t.proxy.port);
  late.socket.write("psst");
  await settled();
  assert.equal(late.received, "");
  t.proxy.heal();
  await soon(() => late.received === "PSST", "no reply after healing");
});

test("a partition can spare connections", async () => {
  await using t = await setup();
  await using other = new Client();
  await other.connect(t.proxy.port);
  await other.says("a", "A");
  const port = t.client.socket.localPort;
  t.proxy.cut("both", (connection) => connection.clientPort === port);
  t.client.socket.write("x");
  await other.says("b", "AB");
  assert.equal(t.client.received, "HELLO");
});

test("a lost reply reaches the server, not the client, and ends the connection", async () => {
  await using t = await setup();
  const lost = t.proxy.loseReply({ request: (text) => text.includes("second") });
  await t.client.says("first", "FIRST");
  t.client.socket.write("second");
  await lost;
  await soon(() => t.client.closed, "the connection is still there");
  assert.equal(t.echo.received, "hellofirstsecond");
  assert.equal(t.client.received, "HELLOFIRST");
  assert.equal(t.proxy.connections.length, 0);
});

test("a truncated reply is cut off where asked", async () => {
  await using t = await setup();
  const lost = t.proxy.loseReply({ keep: 3 });
  t.client.socket.write("abcdef");
  await lost;
  await soon(() => t.client.closed, "the connection is still there");
  assert.equal(t.client.received, "HELLOABC");
});

test("a lost request never reaches the server", async () => {
  await using t = await setup();
  const lost = t.proxy.loseRequest();
  t.client.socket.write("gone");
  await lost;
  await soon(() => t.client.closed, "the connection is still there");
  assert.equal(t.echo.received, "hello");
});

test("a reset ends live connections, a refusal new ones too", async () => {
  await using t = await setup();
  t.proxy.reset();
  await soon(() => t.client.closed, "the connection is still there");
  await using second = new Client();
  await second.connect(t.proxy.port);
  await second.says("again", "AGAIN");
  t.proxy.refuse();
  await soon(() => second.closed, "the connection is still there");
  await using third = new Client();
  await third.connect(t.proxy.port);
  await soon(() => third.closed, "the connection was not refused");
});
