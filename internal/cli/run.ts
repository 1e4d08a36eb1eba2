/** `holdfast run`: a command under a lock. */
import { hostname } from "node:os";
import { basename } from "node:path";
import process from "node:process";
import { LockLostError, LOSSES } from "../errors.ts";
import type { Lock } from "../lock.ts";
import type { LockManager } from "../manager.ts";
import type { Json } from "../options.ts";
import { Command, Unstarted } from "./command.ts";
import { showDuration } from "./durations.ts";
import { Output } from "./output.ts";
import { ENDING, listen } from "./signals.ts";
import { messageOf, STATUS, statusOf, UsageError } from "./status.ts";
import { type Common, open } from "./store.ts";
import { quoted } from "./text.ts";
import { holders, isOf, showWaiting } from "./waiting.ts";

/** Options of `run`; durations are milliseconds. */
export interface RunOptions extends Common {
  readonly try?: boolean;
  readonly wait?: number;
  readonly shared?: boolean;
  readonly limit?: number;
  readonly ttl?: number;
  readonly atLeast?: number;
  readonly grace: number;
  readonly metadata?: Readonly<Record<string, Json>>;
  readonly quiet?: boolean;
}

/** What `run` says of itself in the metadata. */
export const OWN = ["host", "pid", "command", "since"] as const;

/** Milliseconds, the ttl where nothing is said. */
const USUAL = 10_000;

/**
 * Milliseconds, the least that is more than none: the claim outlives a holdfast that is killed, for its ttl, while the
 * watchdog ends the command. A release gives it up at once all the same.
 */
const OUTLIVING = Number.MIN_VALUE;

/** Waits for the lock, runs the command, and gives the lock back; resolves with the exit status. */
export async function run(
  keys: readonly string[],
  words: readonly string[],
  options: RunOptions,
): Promise<number> {
  if (process.platform === "win32") {
    throw new UsageError("Cannot run a command on Windows: it has no signals");
  }
  const { ttl, atLeast = 0 } = options;
  if (ttl !== undefined && ttl < atLeast) {
    const why = "nothing renews the lock when the command has ended";
    const [least, got] = [atLeast, ttl].map(showDuration);
    throw new UsageError(
      `Expected --ttl to be as long as --at-least, ${least}, or longer, got ${got}: ${why}`,
    );
  }
  const output = new Output(options.json === true);
  /** Aborts with the signal that ends the waiting. */
  const interruption = new AbortController();
  let command: Command | undefined;
  let lock: Lock | undefined;
  using _ = listen((signal) => {
    if (command !== undefined) {
      // It is not continued under a lock that was lost meanwhile: that has begun to end it.
      if (signal !== "SIGCONT" || !lock!.signal.aborted) command.pass(signal);
    } else if (ENDING.includes(signal)) interruption.abort(signal);
    else if (signal === "SIGTSTP") process.kill(process.pid, "SIGSTOP");
  });
  const locks = open(options);
  try {
    lock = await take(locks, keys, words, options, output, interruption.signal);
    if (interruption.signal.aborted) return statusOf(interruption.signal.reason);
    if (lock === undefined) return STATUS.contended;
    // It was granted while this process was stopped, say, and is over.
    lock.signal.throwIfAborted();
    command = await Command.start({
      words,
      env: environment(lock),
      grace: options.grace,
      lasts: lasting(lock),
      warn: (message) => void output.tell(message, { type: "warning", message }),
    });
    // It came while the command was being started.
    if (interruption.signal.aborted) command.pass(interruption.signal.reason);
    return await under(lock, command, output);
  } catch (error) {
    if (!(error instanceof Unstarted)) throw error;
    await output.tell(error.message, { type: "error", message: error.message });
    return error.status;
  } finally {
    output.clear();
    await locks.close();
  }
}

/** The lock, or `undefined` if it was not to be had; that has been said then. */
async function take(
  locks: LockManager,
  keys: readonly string[],
  words: readonly string[],
  { try: once, wait, shared, limit, ttl, atLeast = 0, metadata: more, quiet }: RunOptions,
  output: Output,
  interruption: AbortSignal,
): Promise<Lock | undefined> {
  const own: Record<typeof OWN[number], Json> = {
    host: hostname(),
    pid: process.pid,
    command: basename(words[0]!),
    since: new Date().toISOString(),
  };
  const metadata: Json = { ...own, ...more };
  const timeout = wait === undefined ? undefined : AbortSignal.timeout(wait);
  const asked = {
    metadata,
    signal: timeout === undefined ? interruption : AbortSignal.any([interruption, timeout]),
    ...(shared && { mode: "shared" as const }),
    ...(limit !== undefined && { limit }),
    // Nothing renews the lock when this process has ended: then the key stays taken for the ttl.
    ...(ttl !== undefined ? { ttl } : atLeast > USUAL && { ttl: atLeast }),
    atLeast: Math.max(atLeast, OUTLIVING),
  };
  const over = new AbortController();
  locks.addEventListener("waiting", () => {
    if (!quiet) void showWaiting(locks, keys, metadata, output, over.signal);
  }, { once: true });
  try {
    const lock = once ? await locks.tryAcquire(keys, asked) : await locks.acquire(keys, asked);
    if (lock !== undefined) return lock;
  } catch (error) {
    if (interruption.aborted) return undefined;
    if (!timeout?.aborted || error !== timeout.reason) throw error;
  } finally {
    over.abort();
    output.clear();
  }
  // Asking tells a lock that somebody has from a store that has not answered: that is an error.
  const queues = await Promise.all(keys.map((key) => locks.inspect(key)));
  if (quiet) return undefined;
  const others = queues.map((queue) => queue?.holders.filter((holder) => !isOf(holder, metadata)) ?? []);
  const at = others.findIndex((holders) => holders.length > 0);
  const tried = once ? "" : ` within ${showDuration(wait!)}`;
  const by = at < 0 ? "" : `: held by ${holders(others[at]!)}`;
  await output.tell(`${at < 0 ? listed(keys) : quoted(keys[at]!)} was not to be had${tried}${by}`, {
    type: "contended",
    key: keys[at] ?? keys[0],
    holders: others[at] ?? [],
  });
  return undefined;
}

/** Keys in a sentence. */
function listed(keys: readonly string[]): string {
  return [...new Set(keys)].map(quoted).join(", ");
}

/** What the command is told of the lock. */
function environment(lock: Lock): Record<string, string> {
  const tokens = Object.fromEntries([...lock.tokens].map(([key, token]) => [key, String(token)]));
  return {
    HOLDFAST_KEY: lock.key,
    HOLDFAST_TOKEN: String(lock.token),
    ...(lock.keys.length > 1 && { HOLDFAST_TOKENS: JSON.stringify(tokens) }),
  };
}

/**
 * Milliseconds after which the watchdog acts if it hears nothing: a little later than this process would, so that one
 * of them does it, and earlier than the store gives the lock to somebody else. What is added is the part of the ttl
 * that the deadline leaves for clocks.
 */
function lasting(lock: Lock): number {
  return lock.remaining + lock.ttl / 100;
}

/** Looks after the command until nothing of it is left, then gives the lock back; resolves with the exit status. */
async function under(lock: Lock, command: Command, output: Output): Promise<number> {
  lock.addEventListener("renewed", () => {
    if (lock.held) command.beat(lasting(lock));
  });
  const lost = new Promise<"lost">((resolve) => {
    const { signal } = lock;
    if (signal.aborted) resolve("lost");
    else signal.addEventListener("abort", () => resolve("lost"), { once: true });
  });
  const status = await Promise.race([command.ended, lost]);
  if (status === "lost") return await end(status);
  if (command.lives) await command.end();
  await command.close();
  try {
    return await lock.release() ? status : await end(status);
  } catch (error) {
    const message = messageOf(error);
    await output.tell(`${message}; its ttl frees the lock`, { type: "error", key: lock.key, message });
    return status;
  }

  async function end(status: number | "lost"): Promise<number> {
    const { reason } = lock.signal;
    const why = reason instanceof LockLostError
      ? LOSSES[reason.why]
      : "the store no longer had it when it was released";
    const what = lock.keys.length > 1 ? `A lock on ${listed(lock.keys)}` : `Lock ${listed(lock.keys)}`;
    const message = `${what} was lost: ${why}`;
    const after = status === "lost" ? "ending the command" : `the command has ended with status ${status}`;
    // Said while it is done: what is said may wait for who reads it.
    const said = output.tell(`${message}; ${after}`, { type: "lost", key: lock.key, message });
    await command.end();
    await command.close();
    await said;
    return STATUS.lost;
  }
}
