/** What is an address, and what is refused: by name, and never with a part of a password. */
import assert from "node:assert/strict";
import { userInfo } from "node:os";
import { test } from "node:test";
import { type PostgresTarget, route } from "../../backends/postgres/address.ts";
import { address, place } from "../../backends/postgres/client/address.ts";
import type { LinkRequest } from "../../backends/postgres/client/link.ts";
import { shown } from "../redis/refusal.ts";

/** Digits, as a port might be, and a word. */
const SECRET = /4711|pa55/;

const REQUEST: LinkRequest = { abandoned: new AbortController().signal, down() {} };

/** What most addresses say. */
const USUAL = {
  hosts: [{ host: "h", port: 5432 }],
  user: "u",
  database: "u",
  password: undefined,
  mode: "prefer",
  tls: {},
  files: { sslrootcert: undefined, sslcert: undefined, sslkey: undefined },
  isDirect: false,
  parameters: { application_name: "holdfast" },
  connectTimeout: Infinity,
};

function refuses(target: unknown, message: RegExp, name = "TypeError", options?: object): void {
  assert.throws(() => route(target as string, options), (error: Error) => {
    assert.match(error.message, message);
    assert.match(error.message, /^(Cannot|Expected|Unknown) /);
    assert.equal(error.name, name, error.message);
    assert.doesNotMatch(shown(error), SECRET, "nothing secret is shown");
    return true;
  });
}

test("URLs that people write", () => {
  const system = userInfo().username;
  const host = (host: string, port = 5432) => ({ hosts: [{ host, port }] });
  const urls: [string, object, string?][] = [
    ["postgres://u@h", {}, "h:5432/u"],
    ["postgresql://u@h/", {}],
    ["POSTGRES://u@h:/d", { database: "d" }],
    ["  postgres://u@h\n", {}],
    ["postgres://h", { user: system, database: system }],
    ["postgres://h/d", { user: system, database: "d" }],
    ["postgres://u:pa55@h:1/d", { ...host("h", 1), password: "pa55", database: "d" }, "h:1/d"],
    ["postgres://u:pa55:4711@h", { password: "pa55:4711" }],
    ["postgres://u:pa55@4711@h", { password: "pa55@4711" }, "h:5432/u"],
    ["postgres://us%40er:p%3Aa%2F%23%25@h/d%2Fb", { user: "us@er", password: "p:a/#%", database: "d/b" }],
    ["postgres://u@[::1]:7000", host("::1", 7000), "[::1]:7000/u"],
    ["postgres://u@a,b:1", { hosts: [{ host: "a", port: 5432 }, { host: "b", port: 1 }] }, "a:5432,b:1/u"],
    ["postgres://u@a,[::1]:2/d", {
      hosts: [{ host: "a", port: 5432 }, { host: "::1", port: 2 }],
      database: "d",
    }],
    ["postgres://u@a,b?port=7", { hosts: [{ host: "a", port: 7 }, { host: "b", port: 7 }] }],
    ["postgres://u@%2Frun%2Fpostgresql", host("/run/postgresql"), "/run/postgresql:5432/u"],
    ["postgres://u@/d?host=/run/postgresql&port=2", { ...host("/run/postgresql", 2), database: "d" }],
    ["postgres:///?host=a,b&port=1,2&user=u", { hosts: [{ host: "a", port: 1 }, { host: "b", port: 2 }] }],
    ["postgres://h?user=u&password=pa55&dbname=d", { password: "pa55", database: "d" }],
    ["postgres://u@h/d?dbname=d", { database: "d" }],
    ["postgres://u@h?sslmode=require", { mode: "require" }],
    ["postgres://u@h?sslmode=verify-full&sslrootcert=/a", {
      mode: "verify-full",
      files: { ...USUAL.files, sslrootcert: "/a" },
    }],
    ["postgres://u@h?sslrootcert=system", {
      mode: "verify-full",
      files: { ...USUAL.files, sslrootcert: "system" },
    }],
    ["postgres://u@h?sslcert=/c&sslkey=/k", { files: { ...USUAL.files, sslcert: "/c", sslkey: "/k" } }],
    ["postgres://u@h?sslmode=require&sslnegotiation=direct", { mode: "require", isDirect: true }],
    ["postgres://u@h?application_name=a%20b", { parameters: { application_name: "a b" } }],
    ["postgres://u@h?options=-c%20geqo%3Doff", {
      parameters: { application_name: "holdfast", options: "-c geqo=off" },
    }],
    ["postgres://u@h?connect_timeout=3", { connectTimeout: 3_000 }],
    ["postgres://u@h?connect_timeout=0", {}],
    ["postgres://u@h?target_session_attrs=read-write", {}],
    ["postgres://u@h?channel_binding=prefer&gssencmode=disable", {}],
  ];
  for (const [url, expected, at] of urls) {
    assert.deepEqual(address(url), { ...USUAL, ...expected }, url);
    assert.deepEqual(address(new URL("postgres://u:pa55@h:1/d")), address("postgres://u:pa55@h:1/d"));
    if (at) assert.equal(place(address(url)), at);
    assert.doesNotMatch(route(url).place, SECRET);
  }
});

test("URLs that are refused", () => {
  const urls: [string, RegExp][] = [
    ["", /empty string.*variable/],
    ["  ", /empty string.*variable/],
    ["localhost:5432", /postgres:\/\//],
    ["pa55:4711@h", /postgres:\/\//],
    ["/run/postgresql", /postgres:\/\//],
    ["//h", /postgres:\/\//],
    ["host=h password=pa55", /postgres:\/\//],
    ["mysql://u:pa55@h", /postgres:\/\//],
    ["jdbc:postgresql://h/d?password=pa55", /write postgres:\/\//],
    ["postgresql+psycopg2://u:pa55@h", /write postgres:\/\//],
    ["prisma+postgres://h?api_key=pa55", /URL of the database itself/],
    ["postgres://", /without a host.*127\.0\.0\.1/],
    ["postgres:///d", /without a host/],
    ["postgres://u:pa55@", /without a host/],
    ["postgres://u:pa55@:1", /without a host/],
    ["postgres://u:pa55@a,,b", /without a host/],
    ["postgres://u:pa55@h:x", /host:port/],
    ["postgres://h:pa55", /host:port/],
    ["postgres://u:pa55@[::1", /host:port/],
    ["postgres://u:pa55@::1:5432", /host:port/],
    ["postgres://u:pa55@h/a/b", /one name/],
    // What an unescaped password makes of it.
    ["postgres://u:100%pa55@h", /escaped/],
    ["postgres://u:4711#pa55@h:1", /escaped/],
    ["postgres://u:4711/pa55@h:1", /escaped/],
    ["postgres://u:4711?pa55@h:1", /escaped/],
    ["postgres://u:4711?host=pa55@h:1", /escaped/],
    ["postgres://h#pa55", /escaped/],
    // What is written for several hosts.
    ["postgres://u:pa55@a,u:pa55@b", /stand once/],
    ["postgres://a:1,u:pa55@b", /stand once/],
    // Parameters.
    ["postgres://h?sslmod=require", /"sslmod" .*did you mean "sslmode"/],
    ["postgres://h?schema=public", /"schema".*second argument/],
    ["postgres://h?toString=1", /"toString"/],
    ["postgres://h?sslmode=on", /parameter "sslmode".*verify-full/],
    ["postgres://h?sslmode=verify-full&sslmode=disable", /parameter "sslmode".*contradicts/],
    ["postgres://h?sslmode=require&sslrootcert=system", /verify-full/],
    ["postgres://h?sslnegotiation=direct", /sslmode require/],
    ["postgres://h?sslcert=/c", /sslcert and sslkey/],
    ["postgres://h?channel_binding=require", /channel_binding.*sslmode=verify-full/],
    ["postgres://h?target_session_attrs=standby", /can be written to/],
    ["postgres://h?connect_timeout=x", /seconds/],
    ["postgres://u:pa55@h?user=v", /parameter "user".*contradicts/],
    ["postgres://u:4711@h?password=pa55", /parameter "password".*contradicts/],
    ["postgres://u@h/d?dbname=e", /parameter "dbname".*contradicts/],
    ["postgres://h?host=g", /"host".*contradicts/],
    ["postgres://h:1?port=2", /"port".*contradicts/],
    ["postgres://a,b?port=1,2,3", /"port".*one for each/],
    ["postgres://h?port=x", /host:port/],
    ["postgres://u%00@h", /NUL/],
  ];
  for (const [url, message] of urls) refuses(url, message);
  refuses("postgres://h:0", /port.* 1 to 65535/, "RangeError");
  refuses("postgres://h:65536", /port.* 1 to 65535/, "RangeError");
});

// Goes red if: `undefined` means the default, so that an unset variable locks what nobody else sees.
test("what an unset variable leaves is no address", () => {
  for (const nothing of [undefined, null, ""]) refuses(nothing, /variable of the environment/);
  for (const options of [{ host: undefined }, { port: undefined, user: "u" }, { hosts: undefined }]) {
    refuses(options, /undefined as a Postgres address/);
  }
  refuses({ hosts: [{ host: undefined }] }, /variable of the environment/);
});

test("options", () => {
  const read = (options: object) => address({ user: "u", ...options });
  const here = { hosts: [{ host: "127.0.0.1", port: 5432 }] };
  assert.deepEqual(read({}), { ...USUAL, ...here });
  assert.deepEqual(read({ host: "h", port: undefined, password: undefined }), USUAL);
  assert.deepEqual(read({ host: "[::1]", port: 1 }), { ...USUAL, hosts: [{ host: "::1", port: 1 }] });
  assert.deepEqual(read({ hosts: [{ host: "/run/" }, { host: "h", port: 2 }] }), {
    ...USUAL,
    hosts: [{ host: "/run", port: 5432 }, { host: "h", port: 2 }],
  });
  assert.deepEqual(read({ host: "h", tls: {} }), { ...USUAL, mode: "verify-full" });
  const tls = { ca: "c", servername: "n" };
  assert.deepEqual(read({ host: "h", sslmode: "verify-ca", tls }), { ...USUAL, mode: "verify-ca", tls });
  assert.deepEqual(read({ host: "h", applicationName: "a", options: "-c geqo=off" }), {
    ...USUAL,
    parameters: { application_name: "a", options: "-c geqo=off" },
  });
  const password = () => "pa55";
  assert.equal(read({ password }).password, password);
});

test("options that cannot be, or contradict each other", () => {
  const wrong: [unknown, RegExp][] = [
    [5, /options/],
    [[], /options/],
    [{ url: "postgres://u:pa55@h" }, /Unknown option "url".*URL instead/],
    [{ username: "pa55" }, /Unknown option "username".*`user`/],
    [{ ssl: true }, /Unknown option "ssl".*sslmode/],
    [{ databse: "d" }, /did you mean "database"/],
    [{ port: "5432" }, /"port".*number, got string/],
    [{ host: null }, /"host".*got null/],
    [{ host: "" }, /empty host/],
    [{ host: "postgres://u:pa55@h" }, /"host".*alone/],
    [{ host: "h:4711" }, /"host".*alone/],
    [{ host: "a,b" }, /"host".*alone/],
    [{ user: "" }, /"user".*empty/],
    [{ user: "u", database: "" }, /"database".*empty/],
    [{ password: 4711 }, /"password".*string or function, got number/],
    [{ sslmode: "on" }, /"sslmode".*verify-full/],
    [{ tls: true }, /"tls".*object, got boolean/],
    [{ tls: { rejectUnauthorized: false } }, /Unknown option "rejectUnauthorized"/],
    [{ tls: { servername: "" } }, /"servername"/],
    [{ tls: { cert: "pa55" } }, /cert and key/],
    [{ tls: {}, sslmode: "disable" }, /`tls`.*disable/],
    [{ hosts: [] }, /without any/],
    [{ hosts: ["h"] }, /one of `hosts`.*object, got string/],
    [{ hosts: [{ host: "h" }], port: 1 }, /`hosts` and `host` or `port`/],
  ];
  for (const [options, message] of wrong) refuses(options, message);
  refuses({ port: 0 }, /port.* 1 to 65535, got 0/, "RangeError");
});

test("the second argument", () => {
  const url = "postgres://u:pa55@h";
  assert.equal(route(url).schema, "holdfast");
  assert.equal(route(url, { schema: 'a "b" ü' }).schema, 'a "b" ü');
  refuses(url, /Unknown option "shema".*"schema"/, "TypeError", { shema: "s" });
  refuses(url, /"schema".*string/, "TypeError", { schema: 5 });
  refuses(url, /NUL/, "TypeError", { schema: "a\0b" });
  refuses(url, /"schema".*1 to 63 bytes, got 0/, "RangeError", { schema: "" });
  refuses(url, /"schema".*1 to 63 bytes, got 64/, "RangeError", { schema: "ü".repeat(32) });
  refuses(url, /postgres:\/\//, "TypeError", { listen: "http://u:pa55@h" });
  assert.ok(route(url, { listen: () => Promise.resolve("postgres://h") }).listen);
});

test("what a locator returns is read at each connection, and refused for good", async () => {
  for (const wrong of ["", "http://u:pa55@h", { host: "h", port: "4711" }, [], fake("pool")]) {
    const { open, place } = route(() => Promise.resolve(wrong as string));
    assert.match(place, /locator/);
    await assert.rejects(open(REQUEST), (error: Error & { retryable: boolean }) => {
      assert.match(error.message, /what the locator of Postgres has returned/);
      assert.equal(error.retryable, false);
      assert.doesNotMatch(shown(error), SECRET);
      return true;
    });
  }
});

test("what looks like a client and is none that is taken", () => {
  const method = () => {};
  const strangers: [unknown, RegExp][] = [
    [Promise.resolve(), /a Promise \(await it first\)/],
    [
      class Pool {
        query = method;
        connect() {}
      },
      /the class Pool/,
    ],
    [Object.assign(() => {}, { unsafe: method, savepoint: method }), /a transaction/],
    [Object.assign(() => {}, { unsafe: method, release: method }), /a connection that a client lends/],
    [{ query: method, connect: method, escapeIdentifier: method }, /a single Client of pg.*Pool/],
    [{ query: method, connect: method, escapeIdentifier: method, release: method }, /lends/],
    [{ $client: {}, execute: method, transaction: method }, /Drizzle \(give its `\$client`\)/],
    [{ query: method, exec: method, execProtocol: method, transaction: method }, /PGlite/],
    [Object.assign(() => {}, { raw: method, client: {}, transaction: method }), /Knex/],
    [{ selectFrom: method, transaction: method }, /Kysely/],
    [{ getQueryInterface: method, query: method }, /Sequelize/],
    [{ $queryRaw: method, $connect: method }, /PrismaClient/],
    [{ createQueryRunner: method, query: method }, /TypeORM/],
    [{ query: method }, /an instance of Object/],
    [Object.assign(() => {}, { query: method }), /a function with methods/],
    [fake("bun", { adapter: "mysql" }), /another kind of database/],
    [fake("bun", { adapter: "postgres" }, { savepoint: method }), /a transaction/],
    [fake("bun", { adapter: "postgres" }, { release: method }), /a connection that a client lends/],
  ];
  for (const [stranger, message] of strangers) {
    refuses(stranger, message);
    refuses(stranger, /Pool of the package pg 8/);
    refuses("postgres://h", message, "TypeError", { listen: stranger });
  }
  refuses("postgres://h", /listen through this client/, "TypeError", {
    listen: fake("bun", { adapter: "postgres" }),
  });
});

/** The methods by which a client is known. */
function fake(kind: "bun" | "pool", options: object = {}, more: object = {}): PostgresTarget {
  const names = kind === "bun"
    ? ["unsafe", "begin", "reserve", "flush", "connect", "close"]
    : ["query", "connect", "end", "_pulseQueue"];
  const methods = Object.fromEntries(names.map((name) => [name, () => {}]));
  const target = kind === "bun" ? () => {} : {};
  return Object.assign(target, methods, { options }, more) as unknown as PostgresTarget;
}
