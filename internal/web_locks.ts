import type { Mode } from "./backend.ts";
import { LockLostError } from "./errors.ts";
import type { Lock } from "./lock.ts";
import type { AcquireOptions, Want } from "./options.ts";

/** Options of `request()`: those of the Web Locks specification, and what a distributed lock needs. */
export interface RequestOptions extends AcquireOptions {
  /** Do not wait: the callback is given `null` if the lock is not to be had at once. @default {false} */
  readonly ifAvailable?: boolean;
}

/** Runs while the lock is held. */
export type RequestCallback<L, T> = (lock: L) => T;

/** What `request()` needs of its manager. */
export interface Requester {
  /** Fills in the manager's defaults. */
  check(options: AcquireOptions): Want;
  /** For a checked name and checked options. */
  acquire(name: string, want: Want, wait: boolean): Promise<Lock | undefined>;
  /** The same for a thief, once the store has heard of every request for the name that came before. */
  rob(name: string, want: Want): Promise<Lock | undefined>;
  /** @throws {ManagerClosedError} once it is being closed */
  refuseIfClosed(name: string): void;
}

/** `request(name, callback)` and `request(name, options, callback)`, by the specification's steps. */
export async function request(manager: Requester, args: unknown[]): Promise<unknown> {
  const { name, ifAvailable, options, callback } = convert(args);
  const { mode, steal, signal } = options;
  if (name.startsWith("-")) throw notSupported("a name may not start with '-'");
  if (steal && ifAvailable) throw notSupported("'steal' and 'ifAvailable' cannot be used together");
  if (steal && mode !== "exclusive") throw notSupported("'steal' is for exclusive locks only");
  if (signal !== undefined && (steal || ifAvailable)) {
    throw notSupported("'signal' cannot be used with 'steal' or 'ifAvailable'");
  }
  signal?.throwIfAborted();
  const want = manager.check(options);
  const lock = await (steal ? manager.rob(name, want) : manager.acquire(name, want, !ifAvailable));
  return lock === undefined ? await callback(null) : await hold(manager, lock, callback);
}

/** The callback under the lock; a loss rejects at once, whatever the callback is doing. */
async function hold(
  manager: Requester,
  lock: Lock,
  callback: (lock: Lock | null) => unknown,
): Promise<unknown> {
  const { signal } = lock;
  let ended!: () => void;
  const lost = new Promise<never>((_, reject) => {
    ended = () => lossOf(signal) !== undefined && reject(lossOf(signal));
  });
  lost.catch(() => {});
  if (signal.aborted) ended();
  else signal.addEventListener("abort", ended);
  try {
    // Nothing but `close()` can have released it by now.
    manager.refuseIfClosed(lock.name);
    if (signal.aborted && lossOf(signal) !== undefined) throw lossOf(signal);
    const result = (async () => await callback(lock))();
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
  ifAvailable: boolean;
  options: AcquireOptions & { readonly mode: Mode; readonly steal: boolean };
  callback: (lock: Lock | null) => unknown;
} {
  const name = `${args[0]}`;
  const given = args.length === 2 ? {} : args[1] ?? {};
  const callback = args.length === 2 ? args[1] : args[2];
  if (typeof given !== "object" && typeof given !== "function") {
    throw new TypeError("Expected options to be an object");
  }
  const { ifAvailable, mode = "exclusive", signal, steal, ...ours } = pick(given);
  if (`${mode}` !== "exclusive" && `${mode}` !== "shared") {
    throw new TypeError(`Expected "mode" to be "exclusive" or "shared", got ${JSON.stringify(mode)}`);
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TypeError('Expected "signal" to be an AbortSignal');
  }
  if (typeof callback !== "function") throw new TypeError("Expected a callback function");
  return {
    name,
    ifAvailable: Boolean(ifAvailable),
    options: { ...ours, mode: `${mode}` as Mode, signal, steal: Boolean(steal) } as AcquireOptions & {
      mode: Mode;
      steal: boolean;
    },
    callback: callback as (lock: Lock | null) => unknown,
  };
}

/** The members of the dictionary, inherited ones included. Others are ignored, as everywhere on the web platform. */
function pick(given: object): Record<string, unknown> {
  const { atLeast, ifAvailable, limit, metadata, mode, renew, signal, steal, ttl } = given as Record<
    string,
    unknown
  >;
  return { atLeast, ifAvailable, limit, metadata, mode, renew, signal, steal, ttl };
}

function notSupported(why: string): DOMException {
  return new DOMException(`Cannot request the lock: ${why}`, "NotSupportedError");
}
