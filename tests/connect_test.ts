/** `connect`: what URLs say, what is refused and how, what is loaded when, and that each store is reached. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import process from "node:process";
import fc from "fast-check";
import { open, openingOf, SCHEMES, withoutSecrets } from "../backends/schemes.ts";
import type { Scheme, SettingKind } from "../backends/shared/scheme.ts";
import { connect } from "../connect.ts";
import { LockManager } from "../mod.ts";
import { shown } from "./redis/refusal.ts";
import { ROOT } from "./runner/packages.ts";
import { script, thisRuntime } from "./servers/script.ts";

/** What a factory is given for a URL. */
const READ: readonly (readonly [url: string, ...given: unknown[]])[] = [
  ["memory:"],
  ["sqlite:", undefined],
  ["sqlite:///var/lib/app/locks.db", resolve("/var/lib/app/locks.db")],
  ["sqlite:/var/lib/app/locks.db", resolve("/var/lib/app/locks.db")],
  ["sqlite:///a%20b/100%25/c%3Fd%23e@f.db", resolve("/a b/100%/c?d#e@f.db")],
  ["sqlite:locks.db", resolve("locks.db")],
  ["sqlite:../locks.db", resolve("../locks.db")],
  ["redis://h", { host: "h", port: 6379 }, {}],
  ["  REDIS://h\n", { host: "h", port: 6379 }, {}],
  ["valkey://h/", { host: "h", port: 6379 }, {}],
  [
    "redis://us%40er:p%3Aa%2F%23%25+@[::1]:7/3?connectTimeout=900&rememberFor=5000",
    { host: "[::1]", port: 7, username: "us@er", password: "p:a/#%+", db: 3, connectTimeout: 900 },
    { rememberFor: 5000 },
  ],
  ["redis://u:p,w@h", { host: "h", port: 6379, username: "u", password: "p,w" }, {}],
  ["redis://u:p@w@h", { host: "h", port: 6379, username: "u", password: "p@w" }, {}],
  ["redis://h?db=3&family=6&protocol=2", { host: "h", port: 6379, db: 3, family: 6, protocol: 2 }, {}],
  ["rediss://h", { host: "h", port: 6379, tls: {} }, {}],
  [
    "valkeys://h?ca=/ca.pem&servername=s&rejectUnauthorized=false",
    { host: "h", port: 6379, tls: { servername: "s", rejectUnauthorized: false } },
    {},
  ],
  ["redis://h?tls=true&ca=/ca.pem", { host: "h", port: 6379, tls: {} }, {}],
  [
    "redis+sentinel://user:pw@s1,[::2]:5/main/2?sentinelUsername=u&sentinelPassword=p%26",
    {
      sentinels: [{ host: "s1", port: 26379 }, { host: "[::2]", port: 5 }],
      name: "main",
      username: "user",
      password: "pw",
      db: 2,
      sentinelUsername: "u",
      sentinelPassword: "p&",
    },
    {},
  ],
  [
    "rediss+sentinel://s/my%20main",
    { sentinels: [{ host: "s", port: 26379 }], name: "my main", tls: {}, sentinelTLS: {} },
    {},
  ],
  [
    "rediss+sentinel://s/main?sentinelTLS=false",
    { sentinels: [{ host: "s", port: 26379 }], name: "main", tls: {} },
    {},
  ],
  [
    "rediss+cluster://:pw@a,b:7",
    { cluster: [{ host: "a", port: 6379 }, { host: "b", port: 7 }], password: "pw", tls: {} },
    {},
  ],
  [
    "redlock://:pw@a,b:7/1?maxTtl=5000&family=4",
    [
      { host: "a", port: 6379, password: "pw", db: 1, family: 4 },
      { host: "b", port: 7, password: "pw", db: 1, family: 4 },
    ],
    { maxTtl: 5000 },
  ],
  ["redlocks://a", [{ host: "a", port: 6379, tls: {} }], {}],
  ["etcd://h", { hosts: ["http://h:2379"] }],
  [
    "etcds://u:p%20@a,[fe80::1%25eth0]:7?servername=s",
    {
      hosts: ["https://a:2379", "https://[fe80::1%eth0]:7"],
      username: "u",
      password: "p ",
      tls: { servername: "s" },
    },
  ],
  ["zookeeper://h", { address: "h:2181", chroot: "" }],
  [
    "zookeeper://u:p:w@a,[::1]:7/b%20c/d?tickTime=500",
    { address: "a:2181,[::1]:7", chroot: "/b c/d", username: "u", password: "p:w", tickTime: 500 },
  ],
  ["consul://h", "http://h:8500", {}],
  ["consuls://h", "https://h:8501", {}],
  [
    "consul://u:p%40@h:7/behind?token=t%2B&dc=east&ns=n&prefix=team-a&node=web-1",
    "http://u:p%40@h:7/behind?dc=east&ns=n",
    { token: "t+", prefix: "team-a", node: "web-1" },
  ],
  ["postgres://u:p%40@a,b:7/db", "postgres://u:p%40@a,b:7/db", {}],
  [
    "postgresql://u@/db?host=/run&schema=s&application_name=a+b&listen=postgres%3A%2F%2Fu%3Ap%40h",
    "postgresql://u@/db?host=%2Frun&application_name=a%2Bb",
    { schema: "s", listen: "postgres://u:p@h" },
  ],
];

test("a URL says what the factory of its store is to be given", () => {
  for (const [url, ...given] of READ) assert.deepEqual(openingOf(url).given, given, url);
  const schemes = new Set(READ.map(([url]) => /\w.*?(?=:)/.exec(url)![0].toLowerCase()));
  for (const { names } of SCHEMES) assert.ok(names.some((name) => schemes.has(name)), names[0]);
});

test("a URL object does as well, where URL can say it", () => {
  assert.deepEqual(openingOf(new URL("redis://:a%2Fb@h:7/1")).given[0], {
    host: "h",
    port: 7,
    password: "a/b",
    db: 1,
  });
});

test("what a store promises is known before it is loaded", async () => {
  for (const url of [...READ.map(([url]) => url), ...SCHEMES.map(({ example }) => example)]) {
    if (url.includes("ca=")) continue; // the file is not there
    const { name, traits, load } = openingOf(url);
    const loaded = await load();
    assert.equal(loaded.name, name, url);
    assert.deepEqual(loaded.traits, traits, url);
    await loaded[Symbol.asyncDispose]();
  }
  assert.equal(open("zookeeper://h?tickTime=500").traits.minTtl, 1_000);
  assert.equal(open("redlock://h?maxTtl=5000").traits.maxTtl, 5_000);
});

test("what is no such URL is refused at once, and the message says what is accepted", () => {
  const refused: readonly (readonly [url: unknown, message: RegExp, name?: "RangeError"])[] = [
    ["", /^Expected the URL of a store, got an empty string: is a variable of the environment not set\?$/],
    [undefined, /^Expected the URL of a store, got undefined/],
    [null, /got null/],
    [6379, /got number/],
    [
      "locks.db",
      /^Cannot use this as the URL of a store: expected memory:, sqlite:, postgres:, .*, consul:, or/,
    ],
    ["localhost:6379", /^Cannot use this as the URL of a store/],
    ["redsi://h", /^Cannot use the scheme "redsi" \(did you mean "redis"\?\): expected memory:/],
    ["http://h", /"http" \(etcd and Consul are etcd:\/\/host:2379 and consul:/],
    ["https://h", /etcds:\/\/ and consuls:/],
    ["mysql://h", /"mysql" \(there is no backend for it/],
    ["unix:///run/redis.sock", /"unix" \(for a socket of Redis, new LockManager\(redis\(/],
    ["file:///locks.db", /a file is sqlite:\/\/\/path/],
    ["redis-sentinel://h", /redis\+sentinel:\/\/host1,host2\/name/],
    ["jdbc:postgresql://h", /write postgres:\/\//],
    ["memory:1", /^Expected the memory URL to be "memory:" and no more$/],
    ["memory://", /no more/],
    ["sqlite://host/locks.db", /expected sqlite:, sqlite:\/\/\/absolute\/path or sqlite:relative\/path/],
    ["sqlite://u:p@/locks.db", /expected sqlite:/],
    ["sqlite://", /expected sqlite:/],
    ["sqlite:///", /expected sqlite:/],
    ["sqlite:///folder/", /it names a folder/],
    ["sqlite::memory:", /write memory:/],
    ["sqlite:///a.db?mode=ro", /^Unknown parameter 1 of the sqlite URL: it has none/],
    ["sqlite:///a#b", /"#" is written %23/],
    ["sqlite:///%zz", /must be escaped/],
    ["redis://", /^Cannot use a redis URL without a host: redis:\/\/127.0.0.1:6379 is this machine$/],
    ["redis:h", /without a host/],
    ["redis://a,", /without a host/],
    ["redis://:7", /a host is a name or an address/],
    ["redis://::1", /a host is a name or an address/],
    ["redis://h:x", /a host is a name or an address/],
    ["redis://a%40b", /a host is a name or an address/],
    ["redis://h:0", /a port is 1 to 65535/, "RangeError"],
    ["redis://a,b", /several hosts in a redis URL: write redis\+sentinel:, redis\+cluster: or redlock:/],
    ["redis://h/x", /a number is expected after the slash/],
    ["redis://h/3?db=4", /it contradicts the rest/],
    ["redis://h?db=x", /^Expected the parameter "db" of the redis URL to be a number$/],
    ["redis://h?connectTimeout=0", /"connectTimeout" of a Redis address to be 1 to/, "RangeError"],
    ["redis://h?rememberFor=1", /milliseconds from 1000/, "RangeError"],
    ["redis://h?protocol=4", /its value is none that is known/],
    ["redis://h?ca=/ca.pem", /^Cannot use the parameter "ca" of the redis URL without TLS: write rediss:$/],
    ["redis://h?rejectUnauthorized=false", /without TLS/],
    ["rediss://h?rejectUnauthorized=0", /to be true or false/],
    ["rediss://h?cert=/c.pem", /both cert and key, or neither/],
    ["redis://h?password=pw", /"password" \(it stands before the host/],
    ["redis+sentinel://h", /the name of the master is expected after the hosts/],
    ["redis+sentinel://h/name/x", /the name of the master is expected/],
    ["redis+sentinel://h/name?sentinelTLS=true", /write rediss\+sentinel:/],
    ["redis+cluster://h/3", /a Cluster: it has only database 0/],
    ["redlock://a,b:7,a:6379", /^Cannot use a:6379 as two Redlock nodes/],
    ["redlock://a,b?maxTtl=50", /milliseconds from 100 to 86400000/, "RangeError"],
    ["redlock://a,b?rememberFor=5000", /^Unknown parameter 1 of the redlock URL: expected db,/],
    ["etcd://h/path", /etcd has none/],
    ["etcd://u@h", /both username and password, or neither/],
    ["etcd://h?ca=/ca.pem", /write etcds:/],
    ["zookeeper:///chroot", /without a host/],
    ["zookeeper://h/a/../b", /A chroot of zookeeper\(\) reads/],
    ["zookeeper://u@h", /go together/],
    ["zookeeper://h?tickTime=0", /1 to 60000 ms/, "RangeError"],
    ["zookeeper://h?ticktime=500", /"ticktime" \(did you mean "tickTime"\?\)/],
    ["consul://a,b", /several hosts in a consul URL/],
    ["consul://4711@h", /a user without a password .* \?token=/],
    ["consul://h?datacenter=x", /"datacenter" \(give dc\)/],
    ["consul://h?token=a%20b", /printable ASCII/],
    ["consul://h?prefix=..", /a path of plain names/],
    ["postgres://u@", /without a host/],
    ["postgres://u@h/a/b", /one name is expected after the slash/],
    ["postgres://u@h?schema=pg_locks", /names with pg_/],
    ["postgres://u@h?listen=redis%3A%2F%2Fh", /as a Postgres URL/],
    ["postgres://u@h?sslmode=on", /disable, allow, prefer/],
    ["postgres://u@h?ssl=true", /"ssl" \(give sslmode=require/],
    ["postgres://u@h?search_path=s", /\(give schema\)/],
    ["redlock://u:p@h1,u:p@h2,u:p@h3", /user and password stand once, before the first host/],
    ["redis+sentinel://u:p@h1,u:p@h2/name", /stand once/],
    ["redis+cluster://u:p@h1,h2,u:p@h3", /stand once/],
    ["zookeeper://u:p@h1,u:p@h2/chroot", /stand once/],
    ["etcd://u:p@h1,u:p@h2", /stand once/],
    ["postgres://u:p@h1:5432,u:p@h2/db", /stand once/],
    ["redis://h1,u:p@h2", /stand once/],
    ["redlock://h1:7,h2:7,u:p@h3", /stand once/],
    ["etcd://[::1]:7,u:p@h2", /stand once/],
    ["redis://u:p@s,s@h", /are escaped \(@ as %40, the comma as %2C\)$/],
  ];
  for (const [url, message, name = "TypeError"] of refused) {
    assert.throws(() => connect(url as string), (error: Error) => {
      assert.match(error.message, message, `${url}`);
      assert.equal(error.name, name, error.message);
      return true;
    }, `${url}`);
  }
});

/** A URL of each scheme that its parameters can be said to. */
const BASES: Readonly<Record<string, string>> = {
  redis: "rediss://h",
  "redis+sentinel": "rediss+sentinel://h/main",
  "redis+cluster": "rediss+cluster://h",
  redlock: "redlocks://h",
  etcd: "etcds://h",
  zookeeper: "zookeeper://h",
  consul: "consuls://h",
  postgres: "postgres://h",
};

/** A value that a parameter may have, where its kind does not tell. */
const VALUES: Readonly<Record<string, string>> = {
  db: "0",
  family: "4",
  protocol: "2",
  port: "7",
  listen: "postgres%3A%2F%2Fh",
  sslmode: "verify-full",
  sslnegotiation: "postgres",
  target_session_attrs: "any",
  channel_binding: "prefer",
  gssencmode: "prefer",
};

const OF_KIND: Readonly<Record<SettingKind, string>> = {
  text: "a",
  secret: "a",
  number: "5000",
  flag: "true",
  file: "/a.pem",
};

/** A URL with a parameter, and with what has to go with that. */
function urlWith({ names, settings }: Scheme, name: string, value = valueOf(settings, name)): string {
  const base = name === "host" ? "postgres://" : BASES[names[0]!]!;
  const other =
    { cert: "key", key: "cert", sslcert: "sslkey", sslkey: "sslcert", sslnegotiation: "sslmode" }[name];
  return `${base}?${name}=${value}${other ? `&${other}=${valueOf(settings, other)}` : ""}`;
}

function valueOf(settings: Scheme["settings"], name: string): string {
  return VALUES[name] ?? OF_KIND[settings[name]!.kind];
}

test("every parameter of the tables is taken, once, and with a value", () => {
  for (const scheme of SCHEMES) {
    for (const [name, { kind }] of Object.entries(scheme.settings)) {
      const url = urlWith(scheme, name);
      openingOf(url);
      const twice = `${url}&${name}=${valueOf(scheme.settings, name)}`;
      assert.throws(() => openingOf(twice), {
        name: "TypeError",
        message: /^Cannot use the parameter .* twice$/,
      });
      const empty = urlWith(scheme, name, "");
      assert.throws(
        () => openingOf(empty),
        { name: "TypeError", message: /^Expected .* to have a value/ },
        empty,
      );
      if (kind !== "number" && kind !== "flag") continue;
      const wrong = urlWith(scheme, name, "x");
      assert.throws(() => openingOf(wrong), {
        name: "TypeError",
        message: /^Expected .* to be (a number|true or false)$/,
      });
    }
    const unknown = `${scheme.example}${scheme.example.includes("?") ? "&" : "?"}unheard=1`;
    const names = Object.keys(scheme.settings).join(", ");
    assert.throws(() => openingOf(unknown), (error: Error) => error.message.includes(names), unknown);
  }
});

/** Where a secret may stand in URLs: where it belongs, and where it ends up in one that is not right. */
const PLACES: readonly ((scheme: string, secret: string) => string)[] = [
  (scheme, secret) => `${scheme}://u:${secret}@h`,
  (scheme, secret) => `${scheme}://u:${secret}@h/%zz`,
  (scheme, secret) => `${scheme}://u:${secret}@h:99999`,
  (scheme, secret) => `${scheme}://u:${secret}@/x`,
  (scheme, secret) => `${scheme}://u:${secret}@h?unheard=1`,
  (scheme, secret) => `${scheme}://u:${secret}@h/a/b/c?ca=/x`,
  (scheme, secret) => `${scheme}://${secret}:p@h:x`,
  (scheme, secret) => `${scheme}://${secret}@h:x`,
  (scheme, secret) => `${scheme}://u:${secret}`,
  (scheme, secret) => `${scheme}://u:1/${secret}`,
  (scheme, secret) => `${scheme}://u:1/${secret}/../x`,
  (scheme, secret) => `${scheme}:u:${secret}@h`,
  (scheme, secret) => `${scheme}:/u:${secret}@h`,
  (scheme, secret) => `${scheme}u:${secret}@h`,
  (_, secret) => `${secret}`,
  (_, secret) => `${secret}://h`,
  (_, secret) => `u:${secret}@h`,
  (scheme, secret) => `${scheme}://h?password=${secret}`,
  (scheme, secret) => `${scheme}://h?token=${secret}&unheard=1`,
  (scheme, secret) => `${scheme}://h?${secret}`,
  (scheme, secret) => `${scheme}://h?${secret}=1`,
  (scheme, secret) => `${scheme}://h?sentinelPassword=${secret}&passphrase=${secret}&tls=x`,
  (scheme, secret) => `${scheme}://u@h?listen=postgres%3A%2F%2Fu%3A${secret}%40h%3A99999`,
  (scheme, secret) => `${scheme}://u@h?listen=${secret}`,
  (scheme, secret) => `${scheme}://h#${secret}`,
  (_, secret) => `http://u:${secret}@h`,
  (scheme, secret) => `sqlite:${scheme}://u:${secret}@h`,
];

test("no message shows a secret, or a part of one, wherever it stands in a URL that is not right", () => {
  const names = SCHEMES.flatMap(({ names }) => names);
  // Two words that no message has, with what may tear a URL apart between and around them.
  const torn = fc.string({
    unit: fc.constantFrom(..."@:/?#&=%,[]+ \\\"'", "%40", "%2F", "1", "é"),
    maxLength: 4,
  });
  const secrets = fc.tuple(torn, torn, torn).map(([a, b, c]) => `${a}Xyzzy${b}Plugh${c}`);
  const digits = fc.bigInt(1_000_000n, 10n ** 18n).map(String);
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0; // it is the stacks that take the time
  let refused = 0;
  try {
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.constantFrom(...PLACES),
        fc.oneof({ weight: 3, arbitrary: secrets }, { weight: 1, arbitrary: digits }),
        fc.boolean(),
        (scheme, place, secret, escaped) => {
          const url = place(scheme, escaped ? encodeURIComponent(secret) : secret);
          const pattern = /^\d+$/.test(secret) ? new RegExp(secret) : /xyzzy|plugh/i;
          try {
            openingOf(url);
          } catch (error) {
            refused++;
            assert.match((error as Error).name, /^(Type|Range)Error$/, url);
            const said = shown(error);
            assert.doesNotMatch(said, pattern, `${url} -> ${said}`);
          }
          if (place === PLACES[0]) assert.doesNotMatch(withoutSecrets(url), pattern, url);
        },
      ),
      { numRuns: 20_000 },
    );
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  assert.ok(refused > 5_000, `${refused} were refused`);
});

test("a URL is shown without what is secret in it", () => {
  const cases = [
    ["redis://u:p@h:7/3?db=3&connectTimeout=900", "redis://h:7/3?db=3&connectTimeout=900"],
    ["rediss+sentinel://u:p@a,b:7/main?sentinelPassword=p", "rediss+sentinel://a,b:7/main"],
    ["consul://u:p@h?token=t&dc=east", "consul://h?dc=east"],
    [
      "postgres://u:p@a,b/db?password=p&listen=postgres%3A%2F%2Fh&schema=a%20b",
      "postgres://a,b/db?schema=a%20b",
    ],
    ["sqlite:///a%20b.db", "sqlite:///a%20b.db"],
    ["sqlite:", "sqlite:"],
    ["memory:", "memory:"],
    ["redis://u:p", "(not a URL of a store)"],
    ["u:p@h", "(not a URL of a store)"],
  ] as const;
  for (const [url, expected] of cases) assert.equal(withoutSecrets(url), expected);
});

test("options are those of a manager, and are checked at once", async () => {
  assert.throws(() => connect("redis://h", { ttl: 50 }), {
    name: "RangeError",
    message: 'Expected "ttl" to be 100 to 86400000 milliseconds on redis, got 50',
  });
  assert.throws(() => connect("zookeeper://h?tickTime=4000", { ttl: 7_000 }), /8000 to 86400000/);
  assert.throws(() => connect("consul://h", { prefx: "a" } as object), /did you mean "prefix"/);
  assert.throws(() => connect("memory:", null as unknown as undefined), TypeError);
  await using locks = connect("memory:", { prefix: "p", ttl: 1_000 });
  assert.ok(locks instanceof LockManager);
  await using lock = await locks.acquire("k");
  assert.equal(lock.ttl, 1_000);
  assert.equal(lock.fencing, "process");
});

test("it may be awaited", async () => {
  await using locks = await connect("memory:");
  assert.equal(await (await locks.acquire("k")).release(), true);
});

test("what was connected twice is two stores", async () => {
  await using one = connect("memory:");
  await using other = connect("memory:");
  await using lock = await one.acquire("k");
  await using same = await other.tryAcquire("k");
  assert.ok(lock.held && same?.held);
});

test("a file that a URL names is looked for at the first call, and what is wrong with it is told", async () => {
  const missing = resolve("no such.pem");
  for (const scheme of ["rediss", "rediss+sentinel", "rediss+cluster", "redlocks", "etcds", "consuls"]) {
    const path = scheme.endsWith("sentinel") ? "/main" : "";
    await using locks = connect(`${scheme}://h${path}?ca=${encodeURIComponent(missing)}`, { retryFor: 0 });
    await assert.rejects(locks.acquire("k"), {
      name: "BackendError",
      message: /^Cannot read the file .*such\.pem" that "ca" of the URL names: ENOENT/,
    });
    await using others = connect(`${scheme}://h${path}?ca=${encodeURIComponent(`${ROOT}/deno.json`)}`);
    await assert.rejects(others.acquire("k"), { name: "BackendError", message: /a PEM file is expected/ });
  }
});

test("the documentation has the tables as they are", () => {
  const text = readFileSync(`${ROOT}/connect.ts`, "utf8");
  const rows = text.split("\n").filter((line) => line.startsWith(" * | ")).map((line) => line.slice(3));
  const expected = [...schemeTable(), ...parameterTable()].filter((line) => !line.startsWith("|-"));
  assert.deepEqual(rows, expected);
});

function schemeTable(): string[] {
  return [
    "| URL | also | store |",
    ...SCHEMES.map(({ names, example, title }) => {
      const others = names.slice(1).map((name) => `\`${name}:\``).join(" ");
      return `| \`${example}\` | ${others} | ${title} |`;
    }),
  ];
}

/** One row for what is the same in several schemes. */
function parameterTable(): string[] {
  const rows = new Map<string, string[]>();
  for (const { names, settings } of SCHEMES) {
    for (const [name, { kind, says, otherwise = "" }] of Object.entries(settings)) {
      const row = `| \`${name}\` | ${kind} | ${says} | ${otherwise} |`;
      rows.set(row, [...rows.get(row) ?? [], `\`${names[0]}:\``]);
    }
  }
  return [
    "| parameter | kind | what it says | without it | of |",
    ...[...rows].map(([row, of]) => `${row} ${of.join(" ")} |`),
  ];
}

/** Node alone lists what it loads. */
const onNode = thisRuntime === "node" ? test : () => {};

onNode("only the store that is asked is loaded, and none before that", () => {
  const doors = (urls: readonly string[]): string[] =>
    urls.flatMap((url) => /\/backends\/(\w+)\.ts$/.exec(url)?.[1] ?? []).filter((name) => name !== "schemes");
  const packages = (
    urls: readonly string[],
  ): string[] => [...new Set(urls.flatMap((url) => /\/node_modules\/([^/]+)/.exec(url)?.[1] ?? []))];
  const cases: readonly (readonly [url: string, door: string, ...packages: string[]])[] = [
    ["memory:", "memory"],
    ["redis://127.0.0.1:1", "redis", "ioredis"],
    ["redlock://127.0.0.1:1", "redlock", "ioredis"],
    ["etcd://127.0.0.1:1", "etcd"],
    ["zookeeper://127.0.0.1:1", "zookeeper"],
    ["consul://127.0.0.1:1", "consul"],
    ["postgres://u@127.0.0.1:1", "postgres", "postgres"],
  ];
  for (const [url, door, ...some] of cases) {
    const [binary, args] = script(new URL("./connect/loads.ts", import.meta.url), [url]);
    const { stdout, stderr } = spawnSync(binary, args, { encoding: "utf8", env: process.env });
    const [before, after] = stdout === "" ? assert.fail(stderr) : JSON.parse(stdout) as [string[], string[]];
    assert.deepEqual([doors(before), packages(before)], [[], []], url);
    assert.deepEqual(doors(after), [door]);
    for (const each of some) assert.ok(packages(after).includes(each), `${url}: ${packages(after)}`);
    if (some.length === 0) assert.deepEqual(packages(after), []);
  }
});
