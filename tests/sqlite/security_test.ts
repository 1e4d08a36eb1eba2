/** Who may do what: a folder for several users, and runtimes that allow little. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { ROOT } from "../runner/packages.ts";
import { runtimes } from "../runner/runtimes.ts";
import { type RuntimeName, thisRuntime } from "../servers/script.ts";
import { Child, own } from "./child.ts";
import { Scene } from "./scene.ts";

const LONG = { ttl: 120_000 };
const isRoot = process.geteuid?.() === 0;

describe(
  "a folder for several users",
  { skip: isRoot ? false : "only the superuser can become others" },
  () => {
    const [A, B, GROUP] = [41_001, 41_002, 41_999];

    // Red if: what one user makes cannot be used by the other, whatever the umask.
    test("of mode 2770 is shared by its group", async () => {
      await using scene = new Scene();
      chmodSync(scene.folder, 0o755);
      const path = join(scene.folder, "shared", "locks.db");
      mkdirSync(join(scene.folder, "shared"));
      chownSync(join(scene.folder, "shared"), 0, GROUP);
      chmodSync(join(scene.folder, "shared"), 0o2770);
      await using a = await Child.start(path);
      await using b = await Child.start(path);
      await a.does("become", `${A}:${GROUP}`);
      await b.does("become", `${B}:${GROUP}`);
      await a.does("acquire", "k", LONG);
      assert.equal((await b.does("tryAcquire", "k", LONG)).held, false);
      await b.does("watch", "k");
      const next = b.does("acquire", "k", LONG);
      await b.hears("waiting");
      await a.does("release", "k");
      assert.ok((await next).held);
      await b.does("release", "k");
      await a.does("acquire", "k", LONG);
      const heir = b.does("acquire", "k", LONG);
      await b.hears("waiting");
      a.signal("SIGKILL");
      assert.ok((await heir).held, "and sees that the other has ended");
      for (const name of readdirSync(join(scene.folder, "shared"), { recursive: true, encoding: "utf8" })) {
        const { mode, gid } = statSync(join(scene.folder, "shared", name));
        assert.equal(gid, GROUP, name);
        assert.equal(mode & 0o077, name.endsWith("-peers") ? 0o070 : 0o060, `${name}: ${mode.toString(8)}`);
      }
    });

    // Red if: there is a moment at which a file or folder is there with the rights of its maker alone.
    test("of mode 2770 is shared by its group from the first moment on, folders made in it included", async () => {
      for (let round = 0; round < 4; round++) {
        await using scene = new Scene();
        chownSync(scene.folder, 0, GROUP);
        chmodSync(scene.folder, 0o2770);
        const path = join(scene.folder, "some", "folder", "locks.db");
        const users = await Promise.all(
          Array.from(
            { length: 6 },
            (_, index) => Child.start(path, { runtime: runtimes[index % 3] }),
          ),
        );
        try {
          for (const [index, user] of users.entries()) await user.does("become", `${A + index}:${GROUP}`);
          const locks = await Promise.all(
            users.map((user) =>
              user.does("acquire", "k", { ttl: 120_000 }).then(
                async ({ token }) => (await user.does("release"), token!),
              )
            ),
          );
          assert.equal(new Set(locks).size, users.length);
        } finally {
          for (const user of users) await user[Symbol.asyncDispose]();
        }
      }
    });

    // Red if: somebody else's file is refused without saying why, or what to do.
    test("of one user refuses another one with a sentence", async () => {
      await using scene = new Scene();
      chmodSync(scene.folder, 0o777);
      await using a = await Child.start(scene.path);
      await using b = await Child.start(scene.path);
      await a.does("become", `${A}:${A}`);
      await b.does("become", `${B}:${B}`);
      await a.does("acquire", "k", LONG);
      await assert.rejects(
        b.does("tryAcquire", "k", LONG),
        /belongs to another user \(uid 41001\).*Several users/,
      );
    });

    // Red if: what the superuser makes in a user's folder locks that user out.
    test("of one user is still that user's after the superuser was there", async () => {
      await using scene = new Scene();
      chownSync(scene.folder, A, A);
      await using root = await Child.start(scene.path);
      await root.does("acquire", "k", LONG);
      await using user = await Child.start(scene.path);
      await user.does("become", `${A}:${A}`);
      assert.equal((await user.does("tryAcquire", "k", LONG)).held, false);
      root.signal("SIGKILL");
      await root.ended;
      assert.ok((await user.does("tryAcquire", "k", LONG)).held);
    });
  },
);

describe("a runtime that allows little", () => {
  const script = fileURLToPath(new URL("./restricted.ts", import.meta.url));
  const binary = own().binary;
  const on = (name: RuntimeName) => thisRuntime === name ? test : () => {};
  // Deno gives a Deno that it starts all rights, wherever it finds its own path among the arguments.
  const run = (args: string[], { env = process.env }: { env?: NodeJS.ProcessEnv } = {}) =>
    promisify(execFile)("sh", ["-c", 'exec "$RUNTIME" "$@"', "sh", ...args], {
      env: { ...env, RUNTIME: binary },
    });

  // Red if: more is needed than the documentation says; a second start is not like the first.
  on("deno")("Deno: reading and writing one folder is enough for the conformance suite", async () => {
    await using scene = new Scene();
    const rights = [`--allow-read=${scene.folder}`, `--allow-write=${scene.folder}`];
    for (const suite of ["once", "once", "conformance"]) {
      const args = ["run", "--no-prompt", "--no-check", "--quiet", ...rights, script, scene.path, suite];
      const { stdout } = await run(args);
      assert.match(stdout, /^passed [1-9]\d*, failed 0$/m, stdout);
    }
  });

  on("deno")("Deno: the default file takes the right to read three variables", async () => {
    await using scene = new Scene();
    const rights = ["--allow-env=HOLDFAST_DB,XDG_STATE_HOME,HOME"];
    for (const flag of ["read", "write"]) rights.push(`--allow-${flag}=${scene.folder}`);
    const env = { ...process.env, HOME: scene.folder };
    delete (env as NodeJS.ProcessEnv).HOLDFAST_DB;
    delete (env as NodeJS.ProcessEnv).XDG_STATE_HOME;
    for (let start = 0; start < 2; start++) {
      const args = ["run", "--no-prompt", "--no-check", "--quiet", ...rights, script, "", "once"];
      assert.match((await run(args, { env })).stdout, /^passed 1, failed 0$/m);
    }
  });

  on("node")("Node: --permission with one folder is enough", async () => {
    await using scene = new Scene();
    const rights = [`--allow-fs-read=${ROOT}/*`, `--allow-fs-read=${scene.folder}/*`];
    const args = ["--disable-warning=ExperimentalWarning", "--permission", ...rights];
    for (let start = 0; start < 2; start++) {
      const { stdout } = await run([
        ...args,
        `--allow-fs-write=${scene.folder}/*`,
        script,
        scene.path,
        "once",
      ]);
      assert.match(stdout, /^passed 1, failed 0$/m, stdout);
    }
    const { stdout } = await run([...args, script, scene.path, "once"]);
    assert.match(stdout, /was not given the right to use it.*--allow-fs-write=FOLDER/, "and at once");
  });

  // Red if: what is missing is retried for seconds, or called something else.
  on("deno")("Deno: without a right, a home folder or a variable: the sentence says what to do", async () => {
    await using scene = new Scene();
    const base = ["run", "--no-prompt", "--no-check", "--quiet"];
    const says = async (args: string[], path: string, env: Record<string, string>, words: RegExp) => {
      const { stdout } = await run([...base, ...args, script, path, "once"], {
        env: { PATH: process.env.PATH!, DENO_DIR: process.env.DENO_DIR ?? "", ...env },
      });
      assert.match(stdout, words);
    };
    await says([], scene.path, { HOME: "/root" }, /not given the right.*--allow-read=FOLDER/);
    await says([], "", { HOME: "/root" }, /may not read HOLDFAST_DB.*--allow-env=/);
    await says(["-A"], "", { HOME: "", HOLDFAST_DB: ":memory:" }, /Cannot use HOLDFAST_DB.*use memory\(\)/);
  });
});
