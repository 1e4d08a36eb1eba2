/** How one gets to SQLite: where the file may be; and files that are no lock file, or not a usable one. */
import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { sqlite } from "../../backends/sqlite.ts";
import { absolutePath, defaultPath } from "../../backends/sqlite/address.ts";
import { BackendError, type Lease, LockManager } from "../../mod.ts";
import { CALL, claim } from "../support.ts";
import { Scene } from "./scene.ts";

/** A lock file as it is after use. */
async function used(scene: Scene): Promise<void> {
  await using backend = scene.backend();
  const lease = await scene.lease(backend);
  await lease.attempt(claim(), CALL);
  await lease.close(CALL);
}

function sql(path: string, statements: string): void {
  const database = new DatabaseSync(path);
  database.exec(statements);
  database.close();
}

/** Everything in the folder of a scene, to see that it stays as it is. */
function contents(scene: Scene): Record<string, string> {
  const entries = readdirSync(scene.folder, { withFileTypes: true });
  return Object.fromEntries(
    entries.map((entry) => [
      entry.name,
      entry.isFile() ? readFileSync(join(scene.folder, entry.name), "base64") : "a folder",
    ]),
  );
}

/** Runs as somebody who has no more rights than the permissions of a file say. */
async function unprivileged(run: () => Promise<void>): Promise<void> {
  const isRoot = process.geteuid!() === 0;
  if (isRoot) process.setegid!(65_534), process.seteuid!(65_534);
  try {
    await run();
  } finally {
    if (isRoot) process.seteuid!(0), process.setegid!(0);
  }
}

/** Every call says so for good, and what to do. */
async function refuses(scene: Scene, says: RegExp, readable: boolean = false): Promise<void> {
  await using backend = scene.backend();
  const lease = await scene.lease(backend);
  const expected = (error: unknown): true => {
    assert.ok(error instanceof BackendError, String(error));
    assert.match(error.message, says);
    assert.ok(error.message.includes(JSON.stringify(scene.path)), `names the path: ${error.message}`);
    assert.equal(error.retryable, false, error.message);
    return true;
  };
  await assert.rejects(lease.attempt(claim(), CALL), expected);
  await assert.rejects(lease.attempt(claim({ wait: false }), CALL), expected);
  if (!readable) await assert.rejects(backend.list("holdfast/", CALL), expected);
  await assert.rejects(backend.watch("holdfast/k", { changed() {}, failed() {} }, CALL), expected);
}

/** Files that are refused, and stay as they are. */
const FOREIGN: Record<string, [make: (path: string) => void, says: RegExp]> = {
  "a text": [
    (path) => writeFileSync(path, "not a database\n".repeat(500)),
    /not an SQLite database, or a damaged one/,
  ],
  "a few bytes": [
    (path) => writeFileSync(path, "SQLite format 3\0"),
    /not an SQLite database, or a damaged one/,
  ],
  "another program's database": [
    (path) => sql(path, "CREATE TABLE t (a); INSERT INTO t VALUES (1)"),
    /of another program/,
  ],
  "another program's database in WAL mode": [
    (path) => sql(path, "PRAGMA journal_mode = WAL; PRAGMA application_id = 7; CREATE TABLE claims (a)"),
    /of another program/,
  ],
};

describe("a file that is not ours is refused and left alone", () => {
  for (const [what, [make, says]] of Object.entries(FOREIGN)) {
    test(what, async () => {
      await using scene = new Scene();
      make(scene.path);
      const before = contents(scene);
      await refuses(scene, says);
      assert.deepEqual(contents(scene), before);
    });
  }

  test("a newer version's lock file", async () => {
    await using scene = new Scene();
    await used(scene);
    sql(scene.path, "PRAGMA user_version = 2");
    const before = contents(scene);
    await refuses(scene, /another version of Holdfast \(format 2, this one reads 1\)/);
    assert.deepEqual(contents(scene), before);
  });

  test("a folder", async () => {
    await using scene = new Scene();
    mkdirSync(scene.path);
    await refuses(scene, /cannot be opened|folder/);
  });
});

describe("a damaged lock file is refused", () => {
  test("with pages overwritten", async () => {
    await using scene = new Scene();
    await used(scene);
    const bytes = readFileSync(scene.path);
    bytes.fill(0xa5, 100);
    writeFileSync(scene.path, bytes);
    await refuses(scene, /damaged/);
  });

  // Red if: a call whose failure has ended its lease as well counts as an end alone: it would be made anew for ever.
  test("with the first page whole, so that only the rows cannot be read", async () => {
    await using scene = new Scene();
    await used(scene);
    const bytes = readFileSync(scene.path);
    bytes.fill(0xa5, 4096);
    writeFileSync(scene.path, bytes);
    await using locks = new LockManager(scene.backend());
    for (const call of ["acquire", "tryAcquire"] as const) {
      await assert.rejects(locks[call]("k"), { name: "BackendError", message: /damaged/, retryable: false });
    }
  });

  test("cut short", async () => {
    await using scene = new Scene();
    await used(scene);
    truncateSync(scene.path, 4096);
    await refuses(scene, /damaged/);
  });
});

describe("missing permissions are refused with what to do", () => {
  test("a file that cannot be read", async () => {
    await using scene = new Scene();
    await used(scene);
    chmodSync(scene.folder, 0o777);
    chmodSync(scene.path, 0o000);
    await unprivileged(() => refuses(scene, /Give this user permission/));
  });

  test("a file that cannot be written", async () => {
    await using scene = new Scene();
    await used(scene);
    for (const folder of [scene.folder, `${scene.path}-peers`]) chmodSync(folder, 0o777);
    chmodSync(scene.path, 0o444);
    const before = readFileSync(scene.path);
    await unprivileged(() => refuses(scene, /read-only.*Make both writable/, true));
    assert.deepEqual(readFileSync(scene.path), before);
  });

  test("a folder that cannot be written, with a lock file in it", async () => {
    await using scene = new Scene();
    await used(scene);
    chmodSync(scene.path, 0o666);
    chmodSync(scene.folder, 0o555);
    await unprivileged(() => refuses(scene, /read-only|Give this user permission/));
  });

  test("a folder that cannot be written, with nothing in it", async () => {
    await using scene = new Scene();
    chmodSync(scene.folder, 0o555);
    await unprivileged(() => refuses(scene, /Give this user permission|read-only/));
    assert.deepEqual(readdirSync(scene.folder), []);
  });

  test("a folder that cannot be made", async () => {
    await using scene = new Scene();
    writeFileSync(join(scene.folder, "file"), "");
    const inside = new Scene();
    Object.assign(inside, { path: join(scene.folder, "file", "locks.db") });
    await refuses(inside, /Give this user permission/);
    await inside[Symbol.asyncDispose]();
  });
});

test("a refused file works once it has been mended, with the same backend object", async () => {
  await using scene = new Scene();
  writeFileSync(scene.path, "not a database");
  const lease = await scene.lease();
  await assert.rejects(lease.attempt(claim(), CALL), BackendError);
  writeFileSync(scene.path, "");
  assert.equal((await lease.attempt(claim(), CALL)).state, "granted");
});

describe("the file may be anywhere", () => {
  const names = [
    "with spaces and 'quotes\".db",
    "file:locks.db?mode=memory#x%20.db",
    ":memory:",
    "café-锁-🔒.db",
    "new/folders/on/the/way.db",
    `${"long".repeat(50)}.db`,
  ];
  for (const name of names) {
    test(name, async () => {
      await using scene = new Scene();
      const path = join(scene.folder, name);
      const [a, b] = [scene.backend(path), scene.backend(pathToFileURL(path))];
      const [first, second] = [claim(), claim()];
      const [ours, theirs] = [await scene.lease(a), await scene.lease(b)];
      await ours.attempt(first, CALL);
      assert.equal((await theirs.attempt(second, CALL)).state, "contended");
      assert.ok(readdirSync(dirname(path)).includes(basename(path)));
      const woken = theirs.changed(second, CALL);
      await ours.release(first, CALL);
      assert.equal((await woken as { state: string }).state, "granted", "it is woken, too");
    });
  }

  // Red if: who comes by another way meets nobody, or takes the others for those of another file.
  test("by symbolic links to it, its folder, or nothing yet, it is the same file", async () => {
    await using scene = new Scene();
    mkdirSync(join(scene.folder, "real"));
    symlinkSync("real", join(scene.folder, "folder"));
    symlinkSync(join("real", "locks.db"), join(scene.folder, "link.db"));
    const ways = ["link.db", "folder/locks.db", "real/locks.db", "real/../folder/locks.db"];
    const leases: Lease[] = [];
    for (const way of ways) leases.push(await scene.lease(scene.backend(`${scene.folder}/${way}`)));
    for (const [index, lease] of leases.entries()) {
      const first = claim();
      assert.equal((await lease.attempt(first, CALL)).state, "granted");
      const next = leases[(index + 1) % leases.length]!;
      const second = claim();
      assert.equal((await next.attempt(second, CALL)).state, "contended");
      const woken = next.changed(second, CALL);
      await lease.release(first, CALL);
      assert.equal((await woken as { state: string }).state, "granted");
      await next.release(second, CALL);
    }
    assert.deepEqual(readdirSync(scene.folder).toSorted(), ["folder", "link.db", "real"]);
  });

  test("without a path: HOLDFAST_DB, else the user's state folder", () => {
    const { HOLDFAST_DB, XDG_STATE_HOME } = process.env;
    const set = (values: Record<string, string | undefined>) => {
      for (const [name, value] of Object.entries(values)) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    };
    try {
      set({ HOLDFAST_DB: "/there/locks", XDG_STATE_HOME: "/state" });
      assert.equal(defaultPath(), "/there/locks");
      if (process.platform !== "linux") return;
      set({ HOLDFAST_DB: undefined });
      assert.equal(defaultPath(), "/state/holdfast/locks.db");
      set({ XDG_STATE_HOME: "relative" });
      assert.equal(defaultPath(), join(homedir(), ".local/state/holdfast/locks.db"));
      set({ XDG_STATE_HOME: undefined, HOLDFAST_DB: "" });
      assert.equal(defaultPath(), join(homedir(), ".local/state/holdfast/locks.db"));
    } finally {
      set({ HOLDFAST_DB, XDG_STATE_HOME });
    }
  });

  const here = (name: string) => join(process.cwd(), name);
  const meant: [given: string | URL, path: string][] = [
    ["/a/b.db", "/a/b.db"],
    ["b.db", here("b.db")],
    ["./b.db", here("b.db")],
    ["../b.db", join(process.cwd(), "..", "b.db")],
    ["~/b.db", join(homedir(), "b.db")],
    ["file:./dev.db", here("dev.db")],
    ["file:dev.db", here("dev.db")],
    ["file:///a/b%20c.db", "/a/b c.db"],
    ["FILE:/a/b.db", "/a/b.db"],
    [new URL("file:///a/b.db"), "/a/b.db"],
    ["./:memory:", here(":memory:")],
    ["./~", here("~")],
    ["./redis:x", here("redis:x")],
    ["/a/redis://x", "/a/redis:/x"],
  ];
  test("what can be meant is accepted", { skip: process.platform === "win32" && "paths of its own" }, () => {
    for (const [given, path] of meant) assert.equal(absolutePath(given), path, String(given));
  });

  // Red if: a file of an odd name appears where a program was started, and is nobody else's lock.
  const refused: [given: unknown, says: RegExp][] = [
    ["", /empty/],
    ["  ", /empty/],
    [":memory:", /memory\(\)/],
    ["~", /folder/],
    ["~/", /folder/],
    ["~other/x.db", /home folder/],
    ["folder/", /folder/],
    ["file:///folder/", /folder/],
    ["file:x.db?mode=memory", /mode=memory/],
    ["file:x.db?cache=shared", /cache=shared/],
    ["file:x.db#y", /#y/],
    ["file::memory:", /memory\(\)/],
    ["file:///a%00b", /NUL/],
    ["a\0b", /NUL/],
    ["redis://127.0.0.1", /"redis:"/],
    ["sqlite:x.db", /"sqlite:"/],
    ["https://example.com/x.db", /"https:"/],
    [new URL("https://example.com/x.db"), /URL of a file/],
    [new URL("file://host/x.db"), /local/],
    [null, /got null/],
    [7, /got 7/],
    [{ path: "x" }, /string or a URL/],
  ];
  test("what cannot is refused by name, and nothing is made", async () => {
    await using scene = new Scene();
    const before = process.cwd();
    process.chdir(scene.folder);
    try {
      for (const [given, says] of refused) {
        assert.throws(() => sqlite(given as string), (error: unknown) => {
          assert.ok(error instanceof TypeError, `${given}: ${error}`);
          assert.match(error.message, says, String(given));
          return true;
        });
      }
      assert.deepEqual(readdirSync(scene.folder), []);
    } finally {
      process.chdir(before);
    }
  });

  test("a variable that names none is an error for good, and says which", () => {
    const { HOLDFAST_DB } = process.env;
    process.env.HOLDFAST_DB = ":memory:";
    try {
      assert.throws(() => sqlite(), { code: "backend", retryable: false, message: /HOLDFAST_DB.*:memory:/ });
    } finally {
      if (HOLDFAST_DB === undefined) delete process.env.HOLDFAST_DB;
      else process.env.HOLDFAST_DB = HOLDFAST_DB;
    }
  });

  test("nothing is opened before the first call", async () => {
    await using scene = new Scene();
    await using backend = scene.backend();
    await scene.lease(backend);
    assert.deepEqual(readdirSync(scene.folder), []);
  });
});
