/**
 * `compose.yaml` and `cronjob.yaml` without containers: a folder stands for the image, the commands are those of the
 * files, and the store is a real Redis.
 */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { DCLinter } from "dclint";
import { parse } from "yaml";
import { connect } from "../../connect.ts";
import { parseDuration } from "../../internal/cli/durations.ts";
import { chosenStores } from "../runner/files.ts";
import { BIN, ROOT } from "../runner/packages.ts";
import { binary } from "../servers/install.ts";
import { run, until } from "../servers/process.ts";
import { dataFolder } from "../servers/reaper.ts";
import { RedisServer } from "../servers/redis.ts";
import { script } from "../servers/script.ts";
import { Instance, text } from "./recipe.ts";

const { services } = parse(text("compose.yaml"), { merge: true });
const cronJob = parse(text("cronjob.yaml"));
const job = cronJob.spec.jobTemplate.spec;
const [container] = job.template.spec.containers;

/** What the first process of each container is. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  scheduler: [...services.scheduler.entrypoint, ...services.scheduler.command],
  report: [...services.report.entrypoint, ...services.report.command],
  cronjob: [...container.command, ...container.args],
};

/** The programs of the image beside holdfast: one works until it is stopped, the other once, or fails. */
const PROGRAMS: Readonly<Record<string, string>> = {
  "scheduler.js":
    `process.on("SIGTERM", () => process.exit()); setInterval(() => {}, 1e6); console.log("works");`,
  "report.js": `console.log("reported"); process.exitCode = Number(process.env.FAILS ?? 0);`,
};

/** The image, and instances of it. */
class Scene implements AsyncDisposable {
  readonly folder: string = dataFolder("image");
  readonly #started: Instance[] = [];
  readonly #env: Record<string, string>;

  constructor(server: RedisServer, path: string = "") {
    const folders = [path, BIN, process.env.PATH ?? ""].join(delimiter);
    this.#env = { HOLDFAST_STORE: server.url, PATH: folders, TINI_SUBREAPER: "1" };
    for (const [name, program] of Object.entries(PROGRAMS)) writeFileSync(join(this.folder, name), program);
    const [binary, words] = script(new URL("../../cli.ts", import.meta.url));
    const holdfast = join(this.folder, "node_modules/.bin/holdfast");
    mkdirSync(dirname(holdfast), { recursive: true });
    writeFileSync(holdfast, `#!/bin/sh\nexec '${[binary, ...words].join("' '")}' "$@"\n`, { mode: 0o755 });
  }

  start(name: string, env: Readonly<Record<string, string>> = {}): Instance {
    const instance = new Instance(COMMANDS[name]!, { folder: this.folder, env: { ...this.#env, ...env } });
    this.#started.push(instance);
    return instance;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const instance of this.#started) await instance[Symbol.asyncDispose]();
  }
}

// Red if: a field has a name that there is not, or a value of another type.
test("both files are what their readers expect", async () => {
  const linter = new DCLinter({ rules: {}, quiet: true, debug: false, exclude: [] });
  const found = linter.lintFiles([`${ROOT}/examples/compose.yaml`], false);
  const errors = found.flatMap(({ messages }) => messages).filter(({ type }) => type === "error");
  assert.deepEqual(errors.map(({ message }) => message), []); // what is no error is a matter of taste
  const folder = dataFolder("types");
  const types = `import type { CronJob } from "kubernetes-types/batch/v1";`;
  writeFileSync(
    join(folder, "job.ts"),
    `${types}\nexport const job: CronJob = ${JSON.stringify(cronJob)};\n`,
  );
  const paths = { "kubernetes-types/*": [`${ROOT}/node_modules/kubernetes-types/*`] };
  const compilerOptions = { strict: true, noEmit: true, module: "nodenext", types: [], paths };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["job.ts"] }));
  await run(`${BIN}/tsc`, ["-p", folder], { timeout: 240_000 });
});

// Red if: a command is killed before it can end, a second start finds the key free, or the next one finds it taken.
test("the times in both files fit each other", () => {
  assert.ok(seconds(services.scheduler.stop_grace_period) > option("scheduler", "--grace"));
  assert.equal(option("report", "--ttl"), option("report", "--at-least"));
  assert.equal(option("cronjob", "--ttl"), option("cronjob", "--at-least"));
  assert.ok(option("cronjob", "--at-least") > 2 * cronJob.spec.startingDeadlineSeconds);
  assert.equal(cronJob.spec.schedule, "0 * * * *");
  assert.ok(option("cronjob", "--at-least") < 3_600);
});

if (chosenStores().includes("redis")) {
  // Red if: both work, or who stands by does not take over when `docker stop` ends the first.
  test("compose: one scheduler works, and another when it is stopped", async () => {
    await using server = await RedisServer.start();
    await using locks = connect(server.url);
    await using scene = new Scene(server);
    const replicas = Array.from(
      { length: services.scheduler.deploy.replicas },
      () => scene.start("scheduler"),
    );
    const first = await Promise.any(replicas.map((one) => one.prints(/works/).then(() => one)));
    const [second, ...more] = replicas.filter((one) => one !== first);
    assert.deepEqual(more, []);
    const waits = async () => (await locks.inspect("scheduler"))?.waiters.length === 1;
    await until(waits, () => "nobody stands by");
    assert.deepEqual(second!.lines, []);
    first.signal("SIGTERM");
    assert.equal(await first.ended, 0);
    await second!.prints(/works/);
  });

  // Red if: two hosts run it, the key is free when it is done, or one cannot tell why a host has not run it.
  test("compose: of two hosts and a late one, one reports, and the others say so by their status", async () => {
    await using server = await RedisServer.start();
    await using scene = new Scene(server);
    assert.deepEqual(await threeTimes(scene, "report"), [0, 75, 75]);
  });

  if (process.platform === "linux") {
    // Red if: two pods run it, one that has nothing to do is a failure, or a failure is none.
    test("cronjob: of two pods and a late one, one reports, all succeed, and a failure is one", async () => {
      await using server = await RedisServer.start();
      await using scene = new Scene(server, dirname(await binary("tini")));
      assert.deepEqual(await threeTimes(scene, "cronjob"), [0, 0, 0]);
      await using failing = scene.start("cronjob", { HOLDFAST_PREFIX: "another day", FAILS: "3" });
      assert.equal(await failing.ended, 3);
    });
  }
}

/** The statuses of two that start together and one that starts later, of which one does the work. */
async function threeTimes(scene: Scene, name: string): Promise<(number | NodeJS.Signals)[]> {
  const early = [scene.start(name), scene.start(name)];
  await Promise.all(early.map(({ ended }) => ended));
  const all = [...early, scene.start(name)];
  const statuses = await Promise.all(all.map(({ ended }) => ended));
  assert.deepEqual(all.flatMap(({ lines }) => lines), ["reported"]);
  return statuses.sort();
}

/** What a command says, in seconds. */
function option(command: string, name: string): number {
  const words = COMMANDS[command]!;
  return seconds(words[words.indexOf(name) + 1]!);
}

function seconds(duration: string): number {
  return parseDuration(duration)! / 1_000;
}
