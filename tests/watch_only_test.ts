/** A manager keeps its process alive while something is held or waited for. A watch is neither. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Lock, LockManager } from "../mod.ts";
import { redis } from "../backends/redis.ts";
import { open } from "./faults/address.ts";
import { type Ground, type Store, stores } from "./faults/grounds.ts";
import { chosenStores } from "./runner/files.ts";
import { RedisCluster } from "./servers/redis.ts";
import type { Mode, Target, Word } from "./watch_only/child.ts";

/** Milliseconds of ttl at least, of which a process that stands still for a moment has enough left. */
const TTL = 6_000;

/** Milliseconds after which a process that should end by itself surely does not. */
const LINGER = 15_000;

/** Somewhere to watch. */
interface Place extends AsyncDisposable {
  readonly target: Target;
  /** For somebody in another process. */
  other?(): Promise<LockManager>;
  /** See {@linkcode Ground}. */
  readonly route?: Ground["route"] | undefined;
}

interface Kind extends Pick<Store, "name" | "ttl"> {
  /** As `BACKENDS` calls it. */
  readonly store: string;
  start(): Promise<Place>;
}

const kinds: readonly Kind[] = [
  { name: "memory", store: "memory", ttl: TTL, start: async () => ({ target: "memory", ...nothing }) },
  ...stores.map((store) => ({
    name: store.name,
    ttl: ttlOf(store),
    store: store.name,
    start: async () => at(store, await store.shared()),
  })),
  ...stores.filter(({ name }) => name === "redis").flatMap((store): Kind[] => [{
    name: "redis, by Sentinels",
    store: store.name,
    ttl: ttlOf(store),
    start: async () => at(store, await store.failing!()),
  }, {
    name: "redis, a Cluster",
    store: store.name,
    ttl: ttlOf(store),
    async start() {
      const cluster = await RedisCluster.start();
      return {
        target: { cluster: cluster.url },
        other: async () => new LockManager(redis({ cluster: [cluster.url] }), { ttl: ttlOf(store) }),
        [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
      };
    },
  }]),
];

const nothing: AsyncDisposable = { [Symbol.asyncDispose]: () => Promise.resolve() };

function ttlOf({ ttl }: Store): number {
  return Math.max(ttl, TTL);
}

function at(store: Store, ground: Ground): Place {
  return {
    target: ground.address,
    other: async () => new LockManager(await open(ground.address), { ttl: ttlOf(store) }),
    route: ground.route,
    [Symbol.asyncDispose]: () => ground[Symbol.asyncDispose](),
  };
}

for (const { name, store, ttl, start } of kinds) {
  if (!chosenStores().includes(store)) continue;
  test(`${name}: a process with a watch lives while it waits or holds, and no longer`, {
    timeout: 150_000,
  }, async () => {
    await using place = await start();
    await watchesOnly(place, ttl);
    await waitsAndHolds(place, ttl);
    if (place.other) await hears(place, ttl);
    if (place.route) await isCutOff(place, ttl);
  });
}

async function watchesOnly({ target }: Place, ttl: number): Promise<void> {
  await using child = new Child(target, "nothing", ttl);
  await child.says("done");
  await child.ends();
}

/** The lease that the lock was under is still there at the end, and a session where there are sessions. */
async function waitsAndHolds({ target, other }: Place, ttl: number): Promise<void> {
  await using rivals = await other?.();
  const lock = await rivals?.acquire("used");
  await using child = new Child(target, "uses", ttl);
  if (lock) {
    await child.says("waits");
    await renewed(lock); // the child has had the time to end, were it free to
    await lock.release();
  }
  await child.says("renewed");
  await child.says("done");
  await child.ends();
}

/** The watch hears for as long as something else keeps the process alive; a holder elsewhere does not. */
async function hears({ target, other }: Place, ttl: number): Promise<void> {
  await using rivals = await other!();
  await using child = new Child(target, "locked", ttl);
  await child.says("done");
  await using lock = await rivals.acquire("watched");
  await child.says("told");
  await child.ends();
  assert.ok(lock.held, "the lock was held to the end");
}

/** A watch that tries to stand again is not waited for by anybody. */
async function isCutOff(place: Place, ttl: number): Promise<void> {
  await using route = await place.route!();
  await using child = new Child(route.address, "error", ttl);
  await child.says("done");
  for (const proxy of route.proxies) proxy.refuse();
  await child.says("told");
  await child.ends();
}

function renewed(lock: Lock): Promise<unknown> {
  return new Promise((resolve) => lock.addEventListener("renewed", resolve, { once: true }));
}

/** `child.ts`, as a process of its own. */
class Child implements AsyncDisposable {
  readonly #mode: Mode;
  readonly #process: ChildProcess;
  readonly #said = new Set<string>();
  readonly #ended: Promise<string>;
  #heard = Promise.withResolvers<void>();

  constructor(target: Target, mode: Mode, ttl: number) {
    this.#mode = mode;
    const flags = "Deno" in globalThis ? ["run", "-A", "--no-check", "--quiet"] : [];
    const file = fileURLToPath(new URL("./watch_only/child.ts", import.meta.url));
    const child = spawn(process.execPath, [...flags, file, JSON.stringify(target), mode, `${ttl}`], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#process = child;
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      const lines = (text + chunk).split("\n");
      text = lines.pop()!;
      for (const line of lines) this.#said.add(line);
      this.#heard.resolve();
      this.#heard = Promise.withResolvers();
    });
    this.#ended = new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => resolve(signal ?? `status ${code}`));
    });
  }

  /** Resolves once it has. */
  async says(word: Word): Promise<void> {
    while (!this.#said.has(word)) {
      const end = await Promise.race([this.#heard.promise, this.#ended]);
      if (end !== undefined && !this.#said.has(word)) {
        assert.fail(`${this.#mode}: the process ended with ${end} before it said "${word}"`);
      }
    }
  }

  /** Resolves once it has, by itself. */
  async ends(): Promise<void> {
    const late = setTimeout(() => this.#process.kill("SIGKILL"), LINGER);
    const end = await this.#ended;
    clearTimeout(late);
    assert.equal(end, "status 0", `${this.#mode}: SIGKILL says that the process did not end by itself`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#ended;
  }
}
