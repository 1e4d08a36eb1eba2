/**
 * What the recipes are for: several instances, of which one is killed or stopped. Over Redis, or over a file in a run
 * that has no Redis.
 */
import assert from "node:assert/strict";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { connect } from "../../connect.ts";
import type { LockManager } from "../../mod.ts";
import { chosenStores } from "../runner/files.ts";
import { PostgresServer } from "../servers/postgres.ts";
import { HOST, until } from "../servers/process.ts";
import { dataFolder } from "../servers/reaper.ts";
import { RedisServer } from "../servers/redis.ts";
import { type Instance, start } from "./recipe.ts";

/** More than a test lets an instance do. */
const ENDLESS = ["1000000"];

const chosen = chosenStores();
const redis = chosen.includes("redis") ? await RedisServer.start() : undefined;
const postgres = chosen.includes("postgres")
  ? await PostgresServer.start({ args: ["-c", "fsync=off"] })
  : undefined;
after(async () => {
  await redis?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

/** Instances of one recipe, and locks of this process over the same store. */
class Scene implements AsyncDisposable {
  readonly folder: string = dataFolder("example");
  readonly locks: LockManager;
  readonly #name: string;
  readonly #store: string;
  readonly #started: Instance[] = [];

  /** In a file of its own, if no URL of a server is given. */
  constructor(name: string, url?: string) {
    this.#name = name;
    this.#store = url ?? `sqlite://${this.folder}/locks.db`;
    this.locks = connect(this.#store);
  }

  start({ args, env }: { args?: readonly string[]; env?: Record<string, string> } = {}): Instance {
    const setting = { folder: this.folder, args, env: { HOLDFAST_STORE: this.#store, ...env } };
    const recipe = start(this.#name, setting);
    this.#started.push(recipe);
    return recipe;
  }

  /** The lines of a file that the instances write, none before they do. */
  lines(file: string): string[] {
    const path = `${this.folder}/${file}`;
    return existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : [];
  }

  /** Resolves once so many wait. */
  async waiters(key: string, count: number): Promise<unknown[]> {
    let seen: unknown[] = [];
    await until(
      async () => (seen = [...(await this.locks.inspect(key))?.waiters ?? []]).length === count,
      () => `Expected ${count} waiters for ${key}, there are ${JSON.stringify(seen)}`,
      60_000,
    );
    return seen;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const recipe of this.#started) await recipe[Symbol.asyncDispose]();
    await this.locks.close();
  }
}

const url = redis?.url;
if (url !== undefined || chosen.includes("sqlite")) {
  // Red if: the key is free once the job is done, or once its process has ended.
  test("cron_once: of two machines and a late one, one runs the job", async () => {
    await using scene = new Scene("cron_once", url);
    const early = [scene.start(), scene.start()];
    for (const machine of early) assert.equal(await machine.ended, 0);
    const late = scene.start();
    assert.equal(await late.ended, 0);
    const said = [...early, late].flatMap(({ lines }) => lines);
    assert.equal(said.filter((line) => line === "reported").length, 1);
    assert.equal(said.filter((line) => line.startsWith("not here: ")).length, 2);
  });

  // Red if: two lead at once, a killed leader is not replaced, or the next one begins anew.
  test("leader: one leads, another goes on when it is killed, and resigns when it is stopped", async () => {
    await using scene = new Scene("leader", url);
    const both = [scene.start({ args: ENDLESS }), scene.start({ args: ENDLESS })];
    const leads = both.map((one) => one.prints(/^has done 2$/).then(() => one));
    const first = await Promise.any(leads);
    const second = both.find((one) => one !== first)!;
    await scene.waiters("scheduler", 1);
    first.signal("SIGKILL");
    await first.ended;
    const done = scene.lines("schedule.log").filter((pid) => Number(pid) === first.pid).length;
    await second.prints(RegExp(`^has done ${done + 2}$`));
    second.signal("SIGTERM");
    assert.equal(await second.ended, 0);
    assert.deepEqual(second.lines.slice(0, 2), ["leads", `has done ${done + 1}`]);
    assert.equal(second.lines.at(-1), "stopped");
    assert.deepEqual(shifts(scene.lines("schedule.log")), [first.pid, second.pid]);
  });

  // Red if: they do not wait for each other, or who has waited does not look.
  test("init_once: of three that start at once, one makes it", async () => {
    await using scene = new Scene("init_once", url);
    const gate = await scene.locks.acquire("settings");
    const all = [scene.start(), scene.start(), scene.start()];
    await scene.waiters("settings", 3);
    await gate.release();
    for (const one of all) assert.equal(await one.ended, 0);
    const said = all.flatMap(({ lines }) => lines).sort();
    assert.deepEqual(said, ["made", "was made before", "was made before"]);
  });

  // Red if: two serve one entity, or nobody those of a worker that has been killed.
  test("worker_per_entity: each has one worker, and another one when that is killed", async () => {
    await using scene = new Scene("worker_per_entity", url);
    const entities = ["amsterdam", "berlin", "cairo", "delhi"];
    const workers = [1, 2, 3].map(() => scene.start({ args: ENDLESS }));
    const serves = (some: readonly Instance[], entity: string) =>
      Promise.any(some.map((one) => one.prints(RegExp(`^serves ${entity}$`)).then(() => one)));
    const first = await Promise.all(entities.map((entity) => serves(workers, entity)));
    const victim = first[0]!;
    victim.signal("SIGKILL");
    await victim.ended;
    const others = workers.filter((worker) => worker !== victim);
    const second = await Promise.all(
      first.map((worker, at) => worker === victim ? serves(others, entities[at]!) : worker),
    );
    for (const [at, entity] of entities.entries()) {
      const who = [...new Set([first[at]!.pid, second[at]!.pid])];
      let log: number[] = [];
      const written = async () => (log = shifts(scene.lines(`${entity}.log`))).at(-1) === who.at(-1);
      await until(written, () => `${entity} was served by ${log}, expected ${who}`);
      assert.deepEqual(log, who.slice(-log.length), entity); // the first may have written nothing
    }
  });

  // Red if: more than two work at once, if only one does, or if nobody can see who.
  test("at_most_n: two work, the others wait, and all can see who they are", async () => {
    await using scene = new Scene("at_most_n", url);
    const ask = { limit: 2, metadata: { name: "test" } };
    const [one, two] = [
      await scene.locks.acquire("exports", ask),
      await scene.locks.acquire("exports", ask),
    ];
    const names = ["a", "b", "c", "d"];
    const all = names.map((name) => scene.start({ args: [name] }));
    const waiters = await scene.waiters("exports", 4) as { metadata: { name: string } }[];
    assert.deepEqual(waiters.map(({ metadata }) => metadata.name).sort(), names);
    await one.release();
    const next = await Promise.any(all.map((job) => job.prints(/^exported/).then(() => job)));
    assert.equal(next.lines[0], 'at work: {"name":"test"}');
    assert.match(next.lines[1]!, /^at work: {"name":"[a-d]"}$/);
    await two.release();
    for (const job of all) assert.equal(await job.ended, 0);
    const log = scene.lines("exports.log");
    let working = 0;
    const most = Math.max(...log.map((line) => working += line.startsWith("begin") ? 1 : -1));
    assert.ok(most <= 2, log.join("\n"));
    assert.equal(log.length, 8);
  });

  // Red if: a page is written under a lock that is lost, or is done again by who has it next.
  test("long_job: writes nothing once its lock is lost, and goes on where another has stopped", async () => {
    await using scene = new Scene("long_job", url);
    await using source = await Source.start();
    const job = scene.start({ env: { SOURCE: source.url } });
    for (const page of [1, 2]) (await source.asked(page)).end(`page ${page}`);
    const third = await source.asked(3);
    job.signal("SIGSTOP");
    const lock = await scene.locks.acquire("import");
    third.end("page 3"); // is there when the job looks again
    job.signal("SIGCONT");
    await job.prints(/^has lost the lock/);
    assert.deepEqual(scene.lines("imported.txt"), ["page 1", "page 2"]);
    appendFileSync(`${scene.folder}/imported.txt`, "page 3\n");
    await lock.release();
    (await source.asked(4)).end("page 4");
    assert.equal(await job.ended, 0);
    assert.deepEqual(job.lines.slice(-2), ["page 4 of 4", "done"]);
    assert.deepEqual(scene.lines("imported.txt"), ["page 1", "page 2", "page 3", "page 4"]);
    assert.deepEqual(source.pages, [1, 2, 3, 4]);
  });
}

if (postgres !== undefined) {
  // Red if: they do not wait for each other, or who has waited does not look how far the database is.
  test("migrate: of three that are deployed at once, one migrates, and all start", async () => {
    await using scene = new Scene("migrate", postgres.url);
    const gate = await scene.locks.acquire("migration");
    const all = [scene.start(), scene.start(), scene.start()];
    await scene.waiters("migration", 3);
    await gate.release();
    for (const one of all) assert.equal(await one.ended, 0);
    const ready = "starts with version 2";
    assert.deepEqual(
      all.map(({ lines }) => lines.join(", ")).sort(),
      [`migrated to version 1, migrated to version 2, ${ready}`, ready, ready],
    );
    assert.equal(await postgres.sql("SELECT string_agg(version::text, ' ') FROM migrations"), "1 2");
  });
}

/** Who has written the lines, each once for all that it wrote in a row. */
function shifts(lines: readonly string[]): number[] {
  return lines.map(Number).filter((pid, at, all) => pid !== all[at - 1]);
}

/** Serves pages when it is told to. */
class Source implements AsyncDisposable {
  /** What has been asked for. */
  readonly pages: number[] = [];
  readonly #answers: ServerResponse[] = [];
  readonly #server = createServer((request, response) => {
    this.pages.push(Number(request.url!.slice(1)));
    this.#answers.push(response);
  });

  static async start(): Promise<Source> {
    const source = new Source();
    await new Promise<void>((resolve) => source.#server.listen(0, HOST, resolve));
    return source;
  }

  get url(): string {
    return `http://${HOST}:${(this.#server.address() as AddressInfo).port}/`;
  }

  /** Resolves with the answer to give, once a page has been asked for. */
  async asked(page: number): Promise<ServerResponse> {
    await until(async () => this.pages.includes(page), () => `page ${page} is not asked for`);
    return this.#answers[this.pages.indexOf(page)]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
