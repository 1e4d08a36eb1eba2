/** The ways in which the command line is started: by a link, compiled, as the first process of a container. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { lacking, OLDEST, oldest } from "../runner/oldest.ts";
import { ROOT } from "../runner/packages.ts";
import { childrenOf } from "../servers/children.ts";
import { run } from "../servers/process.ts";
import { thisRuntime } from "../servers/script.ts";
import { commandLine, Scene } from "./holdfast.ts";

const CLI = fileURLToPath(new URL("../../cli.ts", import.meta.url));

// Deno gets the runtime for such a file from a server of its own, which not every machine can reach: there it is tried
// by hand. Node makes none.
if (thisRuntime === "bun") {
  test("compiled, in one file", async () => {
    await using scene = new Scene();
    const file = join(scene.folder, "holdfast");
    const compile = ["build", "--compile", CLI, "--outfile", file];
    await run(process.execPath, compile, { cwd: ROOT, timeout: 300_000 });
    const command = ["sh", "-c", "echo $HOLDFAST_KEY; exit 3"];
    const { status, out, err } = await scene.spawn(file, ["run", "k", "--", ...command]).ended;
    assert.deepEqual([status, out], [3, "k\n"], err);
    const { status: refused } = await scene.spawn(file, ["run", "k"]).ended;
    assert.equal(refused, 64);
  });
}

// npm makes no links for Deno, which looks for what a module imports beside the link.
if (thisRuntime !== "deno") {
  test("by a link with another name, as package managers make them", async () => {
    await using scene = new Scene();
    const [program, args] = commandLine([]);
    const link = join(scene.folder, "link.ts");
    symlinkSync(args.pop()!, link);
    const { status, out } = await scene.spawn(program, [...args, link, "run", "k", "--", "echo", "ours"])
      .ended;
    assert.deepEqual([status, out], [0, "ours\n"]);
  });
}

const { version } = OLDEST[thisRuntime];

test(`on ${thisRuntime} ${version}`, { skip: lacking(thisRuntime) ?? false, timeout: 300_000 }, async () => {
  await using scene = new Scene();
  const [, args] = commandLine(["run", "k", "--", "sh", "-c", "echo $HOLDFAST_KEY; kill -TERM $$"]);
  const { status, out, err } = await scene.spawn(await oldest(thisRuntime), args).ended;
  assert.deepEqual([status, out, err], [143, "k\n", ""]);
});

/** What makes a namespace of processes, in which what it starts is the first. */
const UNSHARE = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];

test("as the first process of a container it passes signals on, waits for its turn, and ends", {
  skip: cannot(),
}, async () => {
  await using scene = new Scene();
  const start = (words: readonly string[]) => {
    const [program, args] = commandLine(words);
    return scene.spawn("unshare", [...UNSHARE, program, ...args]);
  };
  // An orphan in the group whose status nobody asks for is no reason to wait for ever.
  const orphan =
    "(sh -c 'sleep 0.1' &); trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
  const holdfast = start(["run", "--grace", "500ms", "k", "--", "sh", "-c", orphan]);
  await holdfast.says(/ready/);
  const pid = childrenOf(holdfast.child.pid!)[0]!;
  process.kill(pid, "SIGTERM");
  const { status, out } = await holdfast.ended;
  assert.deepEqual([status, out], [3, "ready\nasked\n"]);

  await using _ = await scene.locks.acquire("k");
  const waiting = start(["run", "k", "--", "echo", "no"]);
  await waiting.says(/waiting for "k"/);
  process.kill(childrenOf(waiting.child.pid!)[0]!, "SIGINT");
  assert.equal((await waiting.ended).status, 130);
});

function cannot(): string | false {
  try {
    execFileSync("unshare", [...UNSHARE, "true"], { stdio: "ignore" });
    return false;
  } catch {
    return "this machine does not let a user make namespaces";
  }
}
