/** What a link does, whichever client it goes through: a connection of our own, or a client that was handed in. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import process from "node:process";
import { after, test } from "node:test";
import pg from "pg";
import postgres from "postgres";
import { type PostgresTarget, route } from "../../backends/postgres/address.ts";
import type { Link, LinkRequest } from "../../backends/postgres/client/link.ts";
import { PostgresPair, PostgresServer } from "../servers/postgres.ts";
import { HOST, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { script } from "../servers/script.ts";

const SLOW = { timeout: 60_000 };

const server = await PostgresServer.start({
  hba: ["scram", "md5", "password"].map((way) =>
    `host all ${way} ${HOST}/32 ${way === "scram" ? "scram-sha-256" : way}`
  ).concat(`host all all ${HOST}/32 trust`),
});
after(() => server[Symbol.asyncDispose]());
await server.sql("CREATE TABLE t (n int)");
const connection = { connectionString: server.url };

/** One of each kind, as people have them, and as odd as they may be. */
const CLIENTS: readonly (readonly [name: string, make: () => unknown])[] = [
  ["a URL", () => server.url],
  ["a socket", () => ({ host: server.folder, port: server.port, user: "postgres" })],
  ["postgres", () => postgres(server.url)],
  ["postgres with its own ways", () => {
    const shout = (text: unknown) => `${text}!`;
    const types = { text: { to: 25, from: [25], serialize: String, parse: shout } };
    const transform = { column: shout, value: { from: shout } };
    return postgres(server.url, { max: 1, transform, types, prepare: false, onnotice() {} });
  }],
  ["postgres with rows of its own", () => {
    return postgres(server.url, {
      no_subscribe: true,
      transform: { row: { from: (row: object) => Object.keys(row) } },
    } as object);
  }],
  ["Pool of pg", () => new pg.Pool(connection)],
  ["Pool of pg with its own ways", () => {
    return new pg.Pool({ ...connection, max: 1, types: { getTypeParser: () => () => "?" } });
  }],
  ...("Bun" in globalThis
    ? [["SQL of Bun", bun({})], ["SQL of Bun, bigint", bun({ bigint: true, max: 1 })]] as const
    : []),
];

function bun(options: object): () => unknown {
  const { SQL } =
    (globalThis as unknown as { Bun: { SQL: new (url: string, options: object) => unknown } }).Bun;
  return () => new SQL(server.url, options);
}

/** What comes of a connection. */
class Ear implements LinkRequest {
  readonly abandon = new AbortController();
  readonly abandoned = this.abandon.signal;
  readonly heard: string[] = [];
  readonly ends: unknown[] = [];
  #wake = () => {};

  notified(channel: string, payload: string): void {
    this.heard.push(`${channel} ${payload}`);
    this.#wake();
  }

  down(error: unknown): void {
    this.ends.push(error);
    this.#wake();
  }

  /** Resolves when something has come. */
  async next(): Promise<void> {
    if (this.heard.length + this.ends.length > 0) return;
    await new Promise<void>((resolve) => this.#wake = resolve);
  }
}

async function end(client: unknown): Promise<void> {
  await (client as { end?: () => Promise<void> }).end?.();
}

for (const [name, make] of CLIENTS) {
  test(`${name}: statements in one message, and rows as text`, async () => {
    const client = make();
    const link = await route(client as PostgresTarget).open(new Ear());
    const text =
      "SELECT 1 AS a; SELECT 'ü' AS a_b, NULL::text AS a, 'x' AS a, true::text, (2^62)::bigint::text, ''";
    assert.deepEqual(await link.query(text), [["ü", null, "x", "true", "4611686018427387904", ""]]);
    assert.deepEqual(await link.query("SELECT n::text AS n FROM generate_series(1, 3) n"), [["1"], ["2"], [
      "3",
    ]]);
    assert.deepEqual(await link.query("SELECT 'x' WHERE false"), []);
    assert.deepEqual(await link.query("SELECT 'x'; SELECT 'y' WHERE false"), []);
    assert.deepEqual(await link.query("DO 'BEGIN END'; SET LOCAL work_mem = '1MB'; SELECT 'x'"), [["x"]]);
    link.close();
    await end(client);
  });

  test(`${name}: what fails is undone, and harms no other`, async () => {
    const client = make();
    const link = await route(client as PostgresTarget).open(new Ear());
    await link.query("TRUNCATE t");
    const bad = "INSERT INTO t VALUES (1); SELECT 1 / 0; INSERT INTO t VALUES (2)";
    const asked = [link.query(bad), link.query("SELECT 'x'"), link.query(bad), link.query("SELECT 'y'")];
    const [first, second, third, fourth] = await Promise.allSettled(asked);
    for (const failed of [first, third]) {
      assert.ok(failed?.status === "rejected");
      assert.equal(failed.reason.code, "22012");
      assert.equal(failed.reason.message, "division by zero");
    }
    assert.deepEqual([second, fourth].map((one) => one?.status === "fulfilled" && one.value), [[["x"]], [[
      "y",
    ]]]);
    assert.deepEqual(await link.query("SELECT count(*)::text FROM t"), [["0"]]);
    link.close();
    await end(client);
  });

  test(`${name}: a client that was closed is of no more use`, async () => {
    const client = make();
    const link = await route(client as PostgresTarget).open(new Ear());
    await link.query("SELECT ''");
    await end(client);
    if (name.startsWith("postgres with rows") || !(client as { end?: unknown }).end) return link.close();
    await assert.rejects(link.query("SELECT ''"), (error: Error & { retryable?: boolean }) => {
      if (name.startsWith("SQL of Bun")) return /Connection closed/.test(error.message);
      assert.match(error.message, /client that was handed in has been closed/);
      assert.equal(error.retryable, false);
      return true;
    });
    link.close();
    await assert.rejects(link.query("SELECT ''"), /was closed/);
  });

  if (name.startsWith("SQL of Bun")) continue;

  test(`${name}: notifications come over a connection of our own, whose end is told once`, async () => {
    const client = make();
    const ear = new Ear();
    const { open, listen } = route(client as PostgresTarget);
    const calls = await open(new Ear());
    const link = await listen!(ear);
    await link.query(`LISTEN "a 'b'"`);
    await calls.query(`NOTIFY "a 'b'", 'ü'; NOTIFY "a 'b'"; NOTIFY other`);
    await ear.next();
    await until(async () => ear.heard.length === 2, () => `${ear.heard}`);
    assert.deepEqual(ear.heard, ["a 'b' ü", "a 'b' "]);
    ear.heard.length = 0;

    assert.ok(link.pid);
    await calls.query(`SELECT pg_terminate_backend(${link.pid})`);
    await ear.next();
    const ended = await link.query("SELECT ''").catch((error) => error);
    assert.ok(ended instanceof Error && (ended as { unsent?: boolean }).unsent);
    link.close();
    calls.close();
    await end(client);
    assert.equal(ear.ends.length, 1);
  });

  test(`${name}: what was closed is not told to have ended`, async () => {
    const client = make();
    const ear = new Ear();
    const link = await route(client as PostgresTarget).listen!(ear);
    const slow = link.query("SELECT pg_sleep(60)");
    link.close();
    await assert.rejects(slow);
    await assert.rejects(link.query("SELECT ''"), /closed|Closed|end/);
    await until(
      async () =>
        await server.sql(`SELECT count(*) FROM pg_stat_activity WHERE pid = ${link.pid}`) === "0" ||
        await server.sql(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'",
          ) === "",
      () => "the connection stands",
    );
    assert.deepEqual(ear.ends, []);
    await end(client);
  });
}

test("a statement that was cut off is in doubt, and one that follows was not sent", SLOW, async () => {
  await using proxy = await Proxy.start(server);
  const ear = new Ear();
  const link = await route(url(proxy)).open(ear);
  const slow = link.query("SELECT pg_sleep(60)").catch((error) => error);
  await until(
    async () =>
      await server.sql("SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'") !== "0",
    () => "it does not come",
  );
  proxy.reset();
  assert.notEqual((await slow).unsent, true);
  assert.equal((await link.query("SELECT ''").catch((error) => error)).unsent, true);
  assert.equal(ear.ends.length, 1);
});

test("a process with connections at rest ends by itself", SLOW, async () => {
  const [binary, args] = script(new URL("./exit_child.ts", import.meta.url), [
    server.url,
    "url",
    "postgres",
    "pg",
  ]);
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk) => said += chunk);
  const [code] = await once(child, "close");
  assert.deepEqual([code, said.trim()], [0, "done"]);
});

test("an opening that is abandoned ends at once, however far it has come", SLOW, async () => {
  await using proxy = await Proxy.start(server);
  proxy.cut();
  for (const target of [url(proxy), postgres(url(proxy)), new pg.Pool({ connectionString: url(proxy) })]) {
    const ear = new Ear();
    const opening = route(target as PostgresTarget).listen!(ear);
    await until(async () => proxy.connections.length > 0, () => "it does not connect");
    ear.abandon.abort(new Error("abandoned"));
    await assert.rejects(opening, /abandoned/);
    proxy.heal();
    await until(async () => proxy.connections.length === 0, () => "the connection stands");
    proxy.cut();
    await end(target);
  }
  const ear = new Ear();
  ear.abandon.abort(new Error("abandoned"));
  await assert.rejects(route(url(proxy)).open(ear), /abandoned/);

  const beginnings = [
    "S",
    message("R", 0, 0, 0, 5, 1, 2, 3, 4),
    message("R", 0, 0, 0, 0) + message("S", 97, 0, 98, 0),
  ];
  for (const beginning of beginnings) {
    const peer = await Peer.start((socket) => socket.write(beginning, "latin1"));
    const ear = new Ear();
    const mode = beginning === "S" ? "require" : "disable";
    const opening = route(`${peer.url}?sslmode=${mode}`).open(ear);
    await peer.heard(beginning === "S" ? 2 : 1);
    ear.abandon.abort(new Error("abandoned"));
    await assert.rejects(opening, /abandoned/);
    await peer.left();
    await peer[Symbol.asyncDispose]();
  }
  const never = () => new Promise<string>(() => {});
  for (const target of [never, { host: HOST, port: server.port, user: "postgres", password: never }]) {
    const ear = new Ear();
    const opening = route(target as PostgresTarget).open(ear);
    ear.abandon.abort(new Error("abandoned"));
    await assert.rejects(opening, /abandoned/);
  }
});

// Goes red if: what the server says until it is ready is believed.
test("what does not speak as Postgres does is told from it", SLOW, async () => {
  const sasl = message("R", 0, 0, 0, 10, ...bytes("SCRAM-SHA-256"), 0, 0);
  const ready = message("R", 0, 0, 0, 0) + message("Z", 73);
  const more = (text: string) => message("R", 0, 0, 0, 11, ...bytes(text));
  const wrong: [string, string | ((said: string, times: number) => string | undefined), RegExp][] = [
    ["a web server", "HTTP/1.1 400 Bad Request\r\n\r\n", /does not speak the protocol/],
    ["Redis", "-ERR unknown command\r\n", /does not speak the protocol/],
    ["a message without an end", "R\x7f\xff\xff\xff", /does not speak the protocol/],
    ["a message too short", "R\0\0\0\x03", /does not speak the protocol/],
    ["an end", "", /closed the connection before/],
    ["no kind of login", message("R", 0, 0), /kind of login/],
    ["GSSAPI", message("R", 0, 0, 0, 7), /kind of login.*scram-sha-256/],
    ["another SASL", message("R", 0, 0, 0, 10, ...bytes("OAUTHBEARER"), 0, 0), /kind of login/],
    ["no proof at all", (_, times) => times === 1 ? sasl + ready : undefined, /not proved/],
    ["half a login", (_, times) => times === 1 ? sasl : more("s=,i=x"), /cannot be read/],
    ["half a login unasked", more("r=x,s=c2FsdA==,i=4096"), /cannot be read/],
    ["another nonce", (_, times) => times === 1 ? sasl : more("r=x,s=c2FsdA==,i=4096"), /cannot be read/],
    [
      "a hundred million hashes",
      (said, times) => times === 1 ? sasl : more(`r=${/r=(.*)$/.exec(said)![1]}x,s=c2FsdA==,i=100000000`),
      /hashed 100000000 times/,
    ],
    [
      "a login without proof",
      (said, times) => {
        const theirs = /r=(.*)$/.exec(said)?.[1];
        return times === 1 ? sasl : times === 2 ? more(`r=${theirs}x,s=c2FsdA==,i=4096`) : ready;
      },
      /not proved/,
    ],
    [
      "a login with a wrong proof",
      (said, times) => {
        const theirs = /r=(.*)$/.exec(said)?.[1];
        const final = message("R", 0, 0, 0, 12, ...bytes("v=c2FsdA=="));
        return times === 1 ? sasl : times === 2 ? more(`r=${theirs}x,s=c2FsdA==,i=4096`) : final + ready;
      },
      /SASL_SIGNATURE_MISMATCH/,
    ],
  ];
  for (const [what, answer, told] of wrong) {
    let times = 0;
    await using peer = await Peer.start((socket, chunk) => {
      const said = typeof answer === "string" ? answer : answer(chunk, ++times);
      if (said === "") socket.end();
      else if (said !== undefined) socket.write(said, "latin1");
    });
    const target = `postgres://u:pa55@${HOST}:${peer.port}/d?sslmode=disable`;
    await assert.rejects(route(target).open(new Ear()), (error: Error) => {
      assert.match(error.message, told, what);
      return true;
    });
    await peer.left();
  }
});

test("passwords, also from a function that is asked at each connection", async () => {
  await server.sql(`
    CREATE ROLE scram LOGIN PASSWORD 'pa55 ü';
    SET password_encryption = md5; CREATE ROLE md5 LOGIN PASSWORD 'pa55'; CREATE ROLE password LOGIN PASSWORD 'pa55';`);
  for (const [user, right] of [["scram", "pa55 ü"], ["md5", "pa55"], ["password", "pa55"]] as const) {
    const to = { host: HOST, port: server.port, user, database: "postgres" };
    let asked = 0;
    const password = () => ++asked === 1 ? Promise.resolve(right) : right;
    const { open, listen } = route({ ...to, password });
    for (const opener of [open, listen!]) (await opener(new Ear())).close();
    assert.equal(asked, 2);
    const clients = [postgres({ ...to, password }), new pg.Pool({ ...to, password })] as const;
    for (const client of clients) {
      const link = await route(client as PostgresTarget).listen!(new Ear());
      assert.deepEqual(await link.query("SELECT current_user::text"), [[user]]);
      link.close();
      await end(client);
    }
    await assert.rejects(route({ ...to, password: "pa55-no" }).open(new Ear()), { code: "28P01" });
    await assert.rejects(route(to).open(new Ear()), /asks for a password, and none was given/);
    const nothing = () => undefined as unknown as string;
    await assert.rejects(route({ ...to, password: nothing }).open(new Ear()), /returned undefined/);
    const { href } = new URL(
      `postgres://${user}:${encodeURIComponent(right)}@${HOST}:${server.port}/postgres`,
    );
    (await route(href).open(new Ear())).close();
  }
  await assert.rejects(route(`${server.url}-not`).open(new Ear()), { code: "3D000" });
});

test("what a server is told of a connection, and nothing from the environment", async () => {
  const before = { ...process.env };
  Object.assign(process.env, { PGTARGETSESSIONATTRS: "any", PGAPPNAME: "no", PGOPTIONS: "-c work_mem=3MB" });
  const link = await route(`${server.url}?application_name=mine&options=-c%20work_mem%3D1MB`).open(new Ear());
  const ask = "SELECT current_setting('application_name'), current_setting('work_mem')";
  assert.deepEqual(await link.query(ask), [["mine", "1MB"]]);
  link.close();
  const usual = await route(server.url).open(new Ear());
  assert.deepEqual(await usual.query(ask), [["holdfast", "4MB"]]);
  usual.close();
  for (const name of ["PGTARGETSESSIONATTRS", "PGAPPNAME", "PGOPTIONS"]) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
});

test("of several servers the one that can be written to", SLOW, async () => {
  await using late = await Proxy.start(server);
  late.cut();
  const waited = assert.rejects(route(`${url(late)}?connect_timeout=1`).open(new Ear()), /1000 ms/);
  await using pair = await PostgresPair.start();
  await using hole = await Proxy.start(pair.primary);
  await using dead = await Proxy.start(pair.primary);
  dead.refuse();
  hole.cut();
  const { primary, replica } = pair;
  const hosts = [dead, replica, hole, primary].map(({ port }) => ({ host: HOST, port }));
  const { open } = route({ hosts, user: "postgres" });
  const ear = new Ear();
  const links: Link[] = [await open(ear)];
  const ask = "SELECT inet_server_port()::text";
  assert.deepEqual(await links[0]!.query(ask), [[`${primary.port}`]]);
  links.push(await open(ear));
  assert.deepEqual(await links[1]!.query(ask), [[`${primary.port}`]], "it is tried first");

  await pair.promote();
  for (const link of links) link.close();
  const next = await open(ear);
  assert.deepEqual(await next.query(ask), [[`${replica.port}`]], "after an end, the next one is");
  next.close();
  assert.deepEqual(ear.ends, []);

  await assert.rejects(route({ hosts: [hosts[0]!, { host: HOST, port: 1 }], user: "postgres" }).open(ear), {
    message: /refused|closed/i,
  });
  await waited;
});

function url({ port }: { port: number }): string {
  return `postgres://postgres@${HOST}:${port}/postgres`;
}

/** A message of the protocol, as latin1 text. */
function message(type: string, ...body: number[]): string {
  const length = body.length + 4;
  return type + String.fromCharCode(0, 0, length >> 8, length & 255, ...body);
}

function bytes(text: string): number[] {
  return [...text].map((letter) => letter.charCodeAt(0));
}

/** Answers what it wants to. */
class Peer implements AsyncDisposable {
  readonly #server = createServer({ allowHalfOpen: false });
  readonly #sockets = new Set<Socket>();
  #heard = 0;

  static async start(answer: (socket: Socket, chunk: string) => void): Promise<Peer> {
    const peer = new Peer();
    peer.#server.on("connection", (socket) => {
      peer.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => peer.#sockets.delete(socket));
      socket.on("data", (chunk) => {
        if (peer.#heard++ === 0 || chunk[0] !== 22) answer(socket, chunk.toString("latin1"));
      });
    });
    peer.#server.listen(0, HOST);
    await once(peer.#server, "listening");
    return peer;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get url(): string {
    return `postgres://u:pa55@${HOST}:${this.port}/d`;
  }

  /** So many chunks have come. */
  async heard(times: number): Promise<void> {
    await until(async () => this.#heard >= times, () => "nothing comes");
  }

  /** Nothing is connected. */
  async left(): Promise<void> {
    await until(async () => this.#sockets.size === 0, () => "the connection stands");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}
