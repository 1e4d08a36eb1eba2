/**
 * The floor plan of `backends/README.md`, held on the sources: the rooms of a backend, what a client may know, and
 * who may import whom. A new room, word or import is right once it stands here with its reason.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { dirname, join } from "node:path/posix";
import { ROOT } from "./runner/packages.ts";

/** Rooms that mean the same in each store that has them: files, or folders. */
const ROOMS: Readonly<Record<string, string>> = {
  address: "Reads what the factory was given: an address, options, a client, a locator.",
  traits: "What the store promises: apart, so that it is known without loading the store.",
  scheme: "Reads the store's URLs, without loading the store.",
  names: "What claims and keys are called in the store.",
  entries: "Makes a queue in order of arrival of what the store has listed.",
  queues: "The store's queues: enters, reads, leaves, waits, renews.",
  claim: "What this process knows of one of its claims, in a store with a `lease` of its own.",
  lease:
    "Implements `Lease`, where `QueueLease` does not fit: the rule runs in the server, or there is no queue.",
  fence: "Keeps late copies of attempts out.",
  notices: "Tells a victim of its thief.",
  observer: "Lists and watches for others than holders and waiters.",
  doctor: "Says what a lock there is worth: apart, so that no program which takes one carries it.",
  scripts: "What is executed in the server.",
  client: "Speaks to the store, and knows nothing of locks.",
};

/** Rooms of one store, with the reason why it has them. */
const OWN_ROOMS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  shared: {
    own_claim: "What a lease knows of its claims.",
    queues: "The port that a store's `queues` implements.",
    queue_lease: "The lease over that port.",
    doctor: "What a finding is, and a lock that is taken to try it.",
    errors: "The shape of refusals.",
    departure: "How a claim waits to be woken by a message.",
    echo: "Whether messages still come.",
    server_time: "What is known of a server's clock.",
    scheme: "How a store is named by a URL, what all stores have in common there.",
    tls: "What URLs say of it.",
    url: "Takes a URL apart.",
  },
  memory: {},
  sqlite: {
    tables: "The statements, in one file because they are one schema.",
    registry: "One backend object's own entries, and whom to wake.",
    peers: "Processes wake each other: SQLite tells nobody of a change.",
  },
  redis: {
    backend: "The class, apart from the door because Redlock takes what `redis()` has made.",
    channels: "Sharded channels of a Cluster, one for each key that is waited for.",
  },
  redlock: {
    ballots: "The number that orders what a claim has asked of the nodes.",
    votes: "Gathers, adopts and retracts the votes of a claim.",
    spread: "Brings a lock of a bare majority to the other nodes.",
    waiters: "How claims wait for messages, in one line of this process for each key.",
  },
  etcd: { txns: "The transactions, apart from what is made of their answers." },
  zookeeper: {
    guards: "Watches on own nodes, which prove them there.",
    own_node: "The node of one claim.",
    own_nodes: "Each claim gets one node, whatever becomes of the connection meanwhile.",
  },
  postgres: {
    store: "What the leases of a backend share: the connections, and whom notifications are for.",
    guarded: "Work in a transaction that commits only while a lock is held.",
  },
  consul: {
    departures: "Few connections have to do for many waiters.",
    theft: "A transaction takes 64 operations, so a theft is no plain enter.",
    tries: "A try costs three requests, so a crowd of them shares one.",
  },
};

/** What a client must not know. Looked for in the parts of names, and in comments. */
const LOCK_WORD =
  /^(claim(s|ed|ing)?|(un)?lock(s|ed|ing|er)?|holders?|waiters?|steals?|stealing|stolen|thief|thieves|theft|victims?|fenc(e|es|ed|ing)|semaphores?|mutex|ballots?|contended|handovers?)$/i;

/** Locks that are not ours, exactly as they are written. */
const OTHER_LOCKS: Readonly<Record<string, readonly string[]>> = {
  postgres: [
    "@holdfast/lock", // what a message names
    "lock_timeout", // the server's own, on rows, tables and numbers, as the next ones
    "advisory_lock",
    "have locked",
    "has locked",
  ],
  consul: ['"lock"', "LockDelay"], // the verb of a transaction, and an option of a session
  sqlite: [
    "each other's locks", // locks of the file, by processes and connections: SQLite's own, as the next two
    "SQLite's locks",
    "locked",
    "the lock file", // what users know the database as, in messages to them
    "new LockManager(...)", // what a message advises
  ],
};

/** What a client may use of the core, besides `Call`, which is how long a call may take. */
const FOR_CLIENTS = [
  "internal/backend.ts",
  "internal/checks.ts",
  "internal/errors.ts",
  "internal/limiter.ts",
  "backends/shared/echo.ts",
  "backends/shared/errors.ts",
  "backends/shared/server_time.ts",
];

/** What of one store another may use. */
const LENT: Readonly<Record<string, (importer: string, room: string) => boolean>> = {
  // Redlock is many Redis servers, and takes what `redis()` takes, or a `redis()`.
  "redlock redis": (importer, room) =>
    room.startsWith("client/") || room === "address.ts" ||
    importer === "backends/redlock.ts" && room === "backend.ts" ||
    importer === "backends/redlock/scheme.ts" && room === "scheme.ts" ||
    importer === "backends/redlock/doctor.ts" && room.startsWith("doctor/"),
};

/** The command line: it is in the core's folder, and is no part of it. It may use modules of the runtimes. */
const CLI = "internal/cli";

/** What it may use of what stands around the core: stores by their URLs, and what is said of them. */
const FOR_CLI = ["connect.ts", "backends/schemes.ts", "backends/shared/doctor.ts"];

/** The paths of the package's modules. */
const PATHS = [
  "mod.ts",
  "cli.ts",
  "connect.ts",
  "fence.ts",
  "otel.ts",
  ...["internal", "backends"].flatMap(list),
];

/** Their texts. */
const SOURCES = new Map(PATHS.map((path) => [path, readFileSync(`${ROOT}/${path}`, "utf8")]));

/** What is loaded with a module: neither types nor what `import()` names. */
const LOADS = /^(?:import|export)\s(?!type\b)[^;()]*?from\s+"([^"]+)"/gm;

/** Who imports whom, types included. */
const IMPORTS = new Map([...SOURCES].map(([path, text]) => [path, importsOf(path, text)]));

test("each room of a backend has a name that says what is in it, and each name is in use", () => {
  const stores = new Set(PATHS.flatMap((path) => storeOf(path) ?? []));
  assert.deepEqual(Object.keys(OWN_ROOMS).sort(), [...stores].sort());
  const used = new Set<string>();
  for (const path of PATHS) {
    const [top, store, ...rest] = path.split("/");
    if (top !== "backends" || rest.length === 0) continue;
    const room = rest[0]!.replace(/\.ts$/, "");
    const own = OWN_ROOMS[store!]!;
    assert.ok(
      room in own || store !== "shared" && room in ROOMS,
      `${path}: "${room}" is no room of the plan`,
    );
    used.add(room in own ? `${store}/${room}` : room);
  }
  const planned = Object.entries(OWN_ROOMS).flatMap(([store, own]) =>
    Object.keys(own).map((room) => `${store}/${room}`)
  );
  assert.deepEqual([...used].sort(), [...Object.keys(ROOMS), ...planned].sort());
});

test("no client knows a word of locks", () => {
  const unused = new Set(
    Object.entries(OTHER_LOCKS).flatMap(([store, texts]) => texts.map((text) => `${store}: ${text}`)),
  );
  const found = [];
  for (const [path, text] of clients()) {
    let left = text;
    for (const other of OTHER_LOCKS[storeOf(path)!] ?? []) {
      if (!left.includes(other)) continue;
      unused.delete(`${storeOf(path)}: ${other}`);
      left = left.replaceAll(other, "");
    }
    for (const [at, line] of left.split("\n").entries()) {
      const words = line.match(/[A-Z]+(?![a-z])|[A-Z]?[a-z]+/g) ?? [];
      for (const word of words) if (LOCK_WORD.test(word)) found.push(`${path}:${at + 1}: ${word}`);
    }
  }
  assert.deepEqual(found, []);
  assert.deepEqual([...unused], [], "exceptions that nothing needs any more");
});

test("no module imports itself by way of others", () => {
  assert.deepEqual(circles(), []);
});

test("every import is of a module that is there", () => {
  const missing = imports().filter(([, to]) => !SOURCES.has(to));
  assert.deepEqual(missing, []);
});

test("the core imports no backend, and nothing of the command line", () => {
  const core = imports().filter(([from]) => isIn("internal", from) && !isIn(CLI, from));
  assert.deepEqual(core.filter(([, to]) => !isIn("internal", to) || isIn(CLI, to)), []);
});

test("the command line names its store by a URL, as anybody else does, and is loaded by its door alone", () => {
  const cli = imports().filter(([from, to]) => isIn(CLI, from) && !isIn("internal", to));
  assert.deepEqual(cli.filter(([, to]) => !FOR_CLI.includes(to)), []);
  const doors = imports().filter(([from, to]) => isIn(CLI, to) && !isIn(CLI, from));
  assert.deepEqual(doors, [["cli.ts", `${CLI}/program.ts`]]);
});

test("the fences load no store, no package and no module of a runtime, so that they run in workers", () => {
  const foreign = /^(?:import\b[^;"]*|export\b[^;"]*\bfrom )"[^.]|\bimport\(/m;
  const loaded = new Set(["fence.ts"]);
  for (const path of loaded) for (const next of IMPORTS.get(path)!) loaded.add(next);
  assert.deepEqual([...loaded].filter((path) => path !== "fence.ts" && !isIn("internal", path)), []);
  for (const path of loaded) assert.doesNotMatch(SOURCES.get(path)!, foreign, path);
});

test("a client imports itself, and of the core what is not about locks", () => {
  const wrong = imports().filter(([from, to]) => {
    const home = clientOf(from);
    return home !== undefined && !isIn(home, to) && clientOf(to) === undefined && !FOR_CLIENTS.includes(to);
  });
  assert.deepEqual(wrong, []);
  for (const [path, text] of clients()) {
    for (const [, names] of text.matchAll(/import ([^;]*?) from "[./]+\/internal\/backend\.ts"/g)) {
      assert.equal(names, "type { Call }", path);
    }
  }
});

test("no store uses another one's rooms, but for what Redlock has of Redis", () => {
  const wrong = imports().filter(([from, to]) => {
    const [user, owner] = [storeOf(from), storeOf(to)];
    if (user === undefined || owner === undefined || user === owner || owner === "shared") return false;
    return !LENT[`${user} ${owner}`]?.(from, to.slice(`backends/${owner}/`.length));
  });
  assert.deepEqual(wrong, []);
});

test("URLs are read without loading a store or a package, and each loads its own store alone", () => {
  const doors = new Set(PATHS.filter((path) => /^backends\/\w+\.ts$/.test(path) && storeOf(path)));
  const loaded = new Set<string>();
  const load = (path: string): void => {
    if (loaded.has(path)) return;
    loaded.add(path);
    for (const [, specifier] of SOURCES.get(path)!.matchAll(LOADS)) {
      if (specifier!.startsWith(".")) load(join(dirname(path), specifier!));
      else assert.match(specifier!, /^node:/, path);
    }
  };
  load("connect.ts");
  assert.deepEqual([...loaded].filter((path) => doors.has(path)), []);
  const schemes = PATHS.filter((path) => path.endsWith("/scheme.ts") && storeOf(path) !== "shared");
  assert.deepEqual(schemes.map(storeOf).sort(), [...doors].map(storeOf).sort());
  for (const path of schemes) {
    assert.deepEqual(IMPORTS.get(path)!.filter((to) => doors.has(to)), [`backends/${storeOf(path)}.ts`]);
  }
});

/** The paths of a folder's modules. */
function list(folder: string): string[] {
  return readdirSync(`${ROOT}/${folder}`, { recursive: true })
    .map((name) => `${folder}/${String(name).replaceAll("\\", "/")}`)
    .filter((path) => path.endsWith(".ts"));
}

function importsOf(path: string, text: string): string[] {
  const specifiers = text.matchAll(/\b(?:from|import)\s*\(?\s*"(\.[^"]+\.ts)"/g);
  return [...new Set([...specifiers].map(([, specifier]) => join(dirname(path), specifier!)))];
}

function imports(): [from: string, to: string][] {
  return [...IMPORTS].flatMap(([from, all]) => all.map((to): [string, string] => [from, to]));
}

/** For each import that closes a circle: the way round. */
function circles(): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    const at = way.indexOf(path);
    if (at >= 0) found.push([...way.slice(at), path].join(" -> "));
    if (at >= 0 || done.has(path)) return;
    for (const next of IMPORTS.get(path) ?? []) visit(next, [...way, path]);
    done.add(path);
  };
  for (const path of IMPORTS.keys()) visit(path, []);
  return found;
}

function clients(): [path: string, text: string][] {
  return [...SOURCES].filter(([path]) => clientOf(path) !== undefined);
}

/** The client folder that a module is in. */
function clientOf(path: string): string | undefined {
  return /^backends\/[^/]+\/client(?=\/)/.exec(path)?.[0];
}

/** Whose a module is: that of a folder of `backends/`, or of the door beside it. The table of all is nobody's. */
function storeOf(path: string): string | undefined {
  if (path === "backends/schemes.ts") return undefined;
  return /^backends\/([^/]+?)(?:\.ts|\/.*)$/.exec(path)?.[1];
}

function isIn(folder: string, path: string): boolean {
  return path.startsWith(`${folder}/`);
}
