import type { AcquireOptions, Lock, LockManager } from "../../mod.ts";
import type { Oracle } from "./oracle.ts";
import type { SimProcess } from "./process.ts";
import type { Resource } from "./resource.ts";
import type { World } from "./world.ts";

/** One acquisition and what its holder does. Times in milliseconds. */
export interface Operation {
  readonly keys: readonly string[];
  readonly options: Omit<AcquireOptions, "signal" | "metadata">;
  /** false: `tryAcquire`. */
  readonly wait: boolean;
  /** The caller gives up after this. */
  readonly patience: number | undefined;
  readonly hold: number;
  /** Between two writes to the resource, and how long each takes to arrive. */
  readonly writes: number;
  readonly travels: number;
  /** Whether the holder reads its signal before it writes, or only hears of its abort. */
  readonly reads: boolean;
  /** Whether the holder calls `renew()` before each write. */
  readonly renews: boolean;
}

/** What operations happen to. */
export interface Scene {
  readonly world: World;
  readonly oracle: Oracle;
  readonly resource: Resource;
  /** Operations that are not over. */
  readonly open: Set<string>;
  /** How they ended. */
  readonly tally: Map<string, number>;
}

/** Runs one operation inside a process. `calm`: nothing may go wrong. */
export function operate(
  scene: Scene,
  process: SimProcess,
  manager: LockManager,
  operation: Operation,
  calm: boolean,
): void {
  const name = `${process.name} ${show(operation)} at ${Math.round(scene.world.now)}`;
  scene.open.add(name);
  scene.world.note(process.name, `asks for ${show(operation)}`);
  void run(scene, process, manager, operation).then((end) => {
    scene.world.note(process.name, `is done with ${show(operation)}: ${end}`);
    scene.tally.set(end, (scene.tally.get(end) ?? 0) + 1);
    const expected = operation.wait ? ["released"] : ["released", "not available"];
    if (calm && !expected.includes(end)) scene.world.fail("all goes well without faults", `${name}: ${end}`);
  }, (error) => {
    scene.world.fail("errors are expected ones", `${name}: ${error?.stack ?? error}`);
  }).finally(() => scene.open.delete(name));
}

/** For the history. */
export function show({ keys, options, wait, hold, patience }: Operation): string {
  const { mode, limit, ttl, renew, steal, atLeast } = options;
  return [
    wait ? "" : "try",
    keys.join("+"),
    mode === "shared" ? "shared" : "",
    limit === undefined ? "" : `limit=${limit}`,
    `ttl=${ttl}`,
    renew === false ? "renew=false" : "",
    steal ? "steal" : "",
    `hold=${Math.round(hold)}`,
    atLeast === undefined ? "" : `atLeast=${Math.round(atLeast)}`,
    patience === undefined ? "" : `patience=${Math.round(patience)}`,
  ].filter(Boolean).join(" ");
}

async function run(
  { world, oracle, resource }: Scene,
  process: SimProcess,
  manager: LockManager,
  operation: Operation,
): Promise<string> {
  const { keys, options, wait, patience, hold } = operation;
  const impatience = new AbortController();
  const forget = patience === undefined
    ? undefined
    : process.clock.timer(patience, () => impatience.abort(new Error("out of patience")));
  let lock: Lock | undefined;
  try {
    const how = { ...options, signal: impatience.signal };
    lock = await (wait ? manager.acquire(keys, how) : manager.tryAcquire(keys, how));
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code !== "backend" && code !== "closed" && message !== "out of patience") throw error;
    return code ?? message;
  } finally {
    forget?.cancel();
  }
  if (lock === undefined) return "not available";
  const { signal } = lock;
  world.note(process.name, `has ${keys.join("+")} with token ${[...lock.tokens.values()].join("+")}`);
  oracle.acquired(process, lock, options.atLeast ?? 0);
  // (One that is not to be renewed may have been lost while it was given its full ttl.)
  if (signal.aborted && options.renew !== false) {
    world.fail("what is acquired is held", `${process.name} is given ${keys.join("+")} after its deadline`);
  }
  signal.addEventListener("abort", () => {
    oracle.lost(lock, signal.reason);
    world.note(process.name, `sees ${keys.join("+")} end: ${(signal.reason as Error).message}`);
  });
  await use(process, lock, resource, operation, signal, hold);
  const released = await lock.release().catch((error) => {
    if (error.code !== "backend") throw error;
    return "release failed";
  });
  return released === true ? "released" : released === false ? "lost" : released;
}

/** Writes until the work is done or the lock lost. */
async function use(
  process: SimProcess,
  lock: Lock,
  resource: Resource,
  { writes, travels, reads, renews }: Operation,
  signal: AbortSignal,
  hold: number,
): Promise<void> {
  for (let left = hold; left > 0; left -= writes) {
    if (!signal.aborted) resource.write(process, lock, travels);
    await sleep(process, Math.min(left, writes), signal);
    if (ended(signal)) return;
    if (renews) await lock.renew().catch(() => {});
    if (reads && signal.aborted) return;
  }
}

/** Looks at the flag only: the abort must have come by itself. */
function ended(signal: AbortSignal): boolean {
  return Object.getOwnPropertyDescriptor(AbortSignal.prototype, "aborted")!.get!.call(signal);
}

function sleep(process: SimProcess, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = process.clock.timer(ms, resolve);
    signal.addEventListener("abort", () => {
      timer.cancel();
      resolve();
    }, { once: true });
  });
}
