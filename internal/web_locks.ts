import type { Mode } from "./backend.ts";
import { LockLostError } from "./errors.ts";
import type { Lock } from "./lock.ts";
import type { AcquireOptions, Json, Want } from "./options.ts";

/** Options of `request()`: those of the Web Locks specification, and what a distributed lock needs. */
export interface RequestOptions {
  /** One holder, or any number of readers. @default {"exclusive"} */
  readonly mode?: Mode;
  /** Do not wait: the callback is given `null` if the lock is not to be had at once. @default {false} */
  readonly ifAvailable?: boolean;
  /** Take the lock from its holders. @default {false} */
  readonly steal?: boolean;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
  /** As in {@linkcode AcquireOptions.ttl}. */
  readonly ttl?: number;
  /** As in {@linkcode AcquireOptions.metadata}. */
  readonly metadata?: Json;
}

/** Runs while the lock is held. */
export type RequestCallback<L, T> = (lock: L) => T;

/** What `request()` needs of its manager. */
export interface Requester {
  /** For a checked name and checked options. */
  acquire(name: string, want: Want, wait: boolean): Promise<Lock | undefined>;
  /** Fills in the manager's defaults. */
  check(options: AcquireOptions): Want;
}

/** `request(name, callback)` and `request(name, options, callback)`, by the specification's steps. */
export async function request(manager: Requester, args: unknown[]): Promise<unknown> {
  const { name, options, callback } = convert(args);
  const { mode, ifAvailable, steal, signal } = options;
  if (name.startsWith("-")) throw notSupported("a name may not start with '-'");
  if (steal && ifAvailable) throw notSupported("'steal' and 'ifAvailable' cannot be used together");
  if (steal && mode !== "exclusive") throw notSupported("'steal' is for exclusive locks only");
  if (signal !== undefined && (steal || ifAvailable)) {
    throw notSupported("'signal' cannot be used with 'steal' or 'ifAvailable'");
  }
  signal?.throwIfAborted();
  const { ttl, metadata } = options;
  const want = manager.check({
    mode,
    steal,
    ...(signal !== undefined && { signal }),
    ...(ttl !== undefined && { ttl }),
    ...(metadata !== undefined && { metadata }),
  });
  const lock = await manager.acquire(name, want, !ifAvailable);
  return lock === undefined ? await callback(null) : await hold(lock, callback);
}

/** The callback under the lock; a loss rejects at once, whatever the callback is doing. */
async function hold(lock: Lock, callback: (lock: Lock | null) => unknown): Promise<unknown> {
  const { signal } = lock;
  let ended!: () => void;
  const lost = new Promise<never>((_, reject) => {
    ended = () => lossOf(signal) !== undefined && reject(lossOf(signal));
  });
  lost.catch(() => {});
  if (signal.aborted) ended();
  else signal.addEventListener("abort", ended);
  const result = (async () => await callback(lock))();
  try {
    await Promise.race([result.catch(() => {}), lost]);
    // The clock may know of a loss that the event loop has not come to yet.
    if (signal.aborted && lossOf(signal) !== undefined) throw lossOf(signal);
    return await result;
  } finally {
    signal.removeEventListener("abort", ended);
    await lock[Symbol.asyncDispose]();
  }
}

/** What a lost lock rejects with; `undefined` for one that was released. */
function lossOf({ reason }: AbortSignal): unknown {
  if (!(reason instanceof LockLostError)) return undefined;
  return reason.why === "stolen"
    ? new DOMException("The lock was stolen by another request", "AbortError")
    : reason;
}

/** The conversions that Web IDL does before the specification's first step, in its order. */
function convert(args: unknown[]): {
  name: string;
  options: RequestOptions & { mode: Mode; ifAvailable: boolean; steal: boolean };
  callback: (lock: Lock | null) => unknown;
} {
  const name = `${args[0]}`;
  const given = args.length === 2 ? {} : args[1] ?? {};
  const callback = args.length === 2 ? args[1] : args[2];
  if (typeof given !== "object" && typeof given !== "function") {
    throw new TypeError("Expected options to be an object");
  }
  const { ifAvailable, mode = "exclusive", signal, steal, ttl, metadata } = given as Record<string, unknown>;
  if (`${mode}` !== "exclusive" && `${mode}` !== "shared") {
    throw new TypeError(`Expected "mode" to be "exclusive" or "shared", got ${JSON.stringify(mode)}`);
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TypeError('Expected "signal" to be an AbortSignal');
  }
  if (typeof callback !== "function") throw new TypeError("Expected a callback function");
  return {
    name,
    options: {
      ifAvailable: Boolean(ifAvailable),
      mode: `${mode}` as Mode,
      signal,
      steal: Boolean(steal),
      ttl: ttl as number | undefined,
      metadata: metadata as Json | undefined,
    },
    callback: callback as (lock: Lock | null) => unknown,
  };
}

function notSupported(why: string): DOMException {
  return new DOMException(`Cannot request the lock: ${why}`, "NotSupportedError");
}
