import type { Backend, Mode } from "./backend.ts";
import { checkNames, isObject } from "./checks.ts";
import type { Clock } from "./clock.ts";
import { meant } from "./near_misses.ts";

/** What JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/**
 * Where a manager reports what it cannot tell any caller: `console`, a pino or winston logger, or anything like
 * `console`. Nobody is told anything without one. Each message begins with "holdfast: ", and its details are an
 * object: `key` (and `keys`, if several), `token` as a string, `error`, and what is named here.
 *
 * | level | message | when |
 * |---|---|---|
 * | debug | acquired | a lock was acquired; `waited` milliseconds |
 * | debug | released | a lock was released; `lasted` milliseconds |
 * | warn | lost | a lock can no longer be proven held; `reason` |
 * | warn | a call failed, it will be repeated | an acquisition could not ask the store |
 * | warn | an acquisition waits for a lock that its own manager holds (locks are not reentrant) | it may wait for ever |
 * | warn | a release failed, it will be repeated | the store could not be told of a release: the ttl frees the lock at the latest |
 * | warn | a withdrawal failed, it will be repeated | the same of an acquisition that was given up, or of a lock that was lost |
 * | warn | a heartbeat failed | locks were not renewed: they are held until their deadline, and the next heartbeat comes sooner |
 * | warn | a lease is left to its ttl | the store could not be told that a manager is closed, or that a lease has ended |
 * | warn | a campaign failed, it will be repeated | the store is away, and nobody is elected |
 * | warn | a watch failed, it will be repeated | changes may come late |
 * | warn | a watch ended | the store refuses it for good |
 * | warn | (of the backend: Postgres) | notifications do not come through a pooler, or not now: waiting takes longer |
 */
export interface Logger {
  /** Grants and releases. */
  debug?(message: string, details: Record<string, unknown>): void;
  /** Losses, failed calls that will be repeated, what may be a mistake. */
  warn?(message: string, details: Record<string, unknown>): void;
}

/** Options of an acquisition. */
export interface AcquireOptions {
  /** One holder, or any number of readers. @default {"exclusive"} */
  readonly mode?: Mode;
  /** A counting semaphore: hold only while at most this many hold. @default {1} */
  readonly limit?: number;
  /** Milliseconds the store keeps the lock after the holder's last sign of life. @default {10_000} */
  readonly ttl?: number;
  /** Renew until released. Otherwise the lock ends after its ttl unless `lock.renew()` is called. @default {true} */
  readonly renew?: boolean;
  /** Ends the waiting: the acquisition rejects with its `reason`. Without effect once acquired. */
  readonly signal?: AbortSignal;
  /**
   * For others to see with `inspect()` and `watch()`: JSON, at most 4 KiB. `object` stands for what an `interface`
   * describes, which TypeScript does not take for `Json`; what is in it is checked all the same.
   */
  readonly metadata?: Json | object;
  /** Take the lock from whoever holds it or stands before us. @default {false} */
  readonly steal?: boolean;
  /**
   * Milliseconds from the grant for which the key stays taken however soon the lock is released: what runs
   * once a period does not run twice where clocks differ. The handle is over at its release all the same.
   * It holds while the process lives, and for the ttl after that. @default {0}
   */
  readonly atLeast?: number;
}

/** Options of a manager. */
export interface LockManagerOptions {
  /** Only managers with one prefix compete. @default {"holdfast"} */
  readonly prefix?: string;
  /** Default for acquisitions, in milliseconds. @default {10_000} */
  readonly ttl?: number;
  /** Default for acquisitions. */
  readonly metadata?: Json | object;
  /** Milliseconds of unbroken store failure after which an acquisition rejects; 0: at once. @default {10_000} */
  readonly retryFor?: number;
  /** Where to report. */
  readonly logger?: Logger;
  /** Another source of time, for tests. */
  readonly clock?: Clock;
  /** Another source of jitter, for tests: numbers from 0 up to 1. */
  readonly random?: () => number;
}

/** What is wanted of each key of an acquisition, checked and complete. */
export interface Want {
  readonly mode: Mode;
  readonly limit: number;
  readonly ttl: number;
  readonly renew: boolean;
  readonly signal: AbortSignal | undefined;
  /** JSON text. */
  readonly metadata: string | undefined;
  readonly steal: boolean;
  /** Milliseconds. */
  readonly atLeast: number;
}

const KEY_UNITS = 512;
/** How much metadata takes at most, as JSON. */
export const METADATA_BYTES = 4_096;
const DAY = 86_400_000;

const ACQUIRE_OPTIONS = ["mode", "limit", "ttl", "renew", "signal", "metadata", "steal", "atLeast"];
const MANAGER_OPTIONS = ["prefix", "ttl", "metadata", "retryFor", "logger", "clock", "random"];

/** Checks one key. */
export function checkKey(key: unknown): asserts key is string {
  if (typeof key !== "string") throw new TypeError(`Expected a key to be a string, got ${show(key)}`);
  if (key === "") throw new RangeError("Expected a key of at least one character, got an empty string");
  checkLength("a key", key);
}

/** Checks the keys of one acquisition: in one order for everybody, without duplicates. */
export function checkKeys(keys: unknown): readonly string[] {
  if (typeof keys === "string") {
    checkKey(keys);
    return Object.freeze([keys]);
  }
  if (!Array.isArray(keys)) throw new TypeError(`Expected a key or an array of keys, got ${show(keys)}`);
  if (keys.length === 0) throw new RangeError("Expected at least one key, got an empty array");
  // By index, so that a hole in the array is looked at too.
  for (let index = 0; index < keys.length; index++) checkKey(keys[index]);
  return Object.freeze([...new Set<string>(keys)]);
}

/** The checked options of managers. */
export interface Defaults {
  readonly prefix: string;
  readonly retryFor: number;
  readonly want: Want;
}

/** Checks a manager's options. */
export function checkManagerOptions(backend: Backend, options: LockManagerOptions): Defaults {
  checkObject("a lock manager", options);
  checkNames("a lock manager", options, MANAGER_OPTIONS, meant);
  const { prefix = "holdfast", retryFor = 10_000, logger, clock, random } = options;
  if (typeof prefix !== "string") {
    throw new TypeError(`Expected "prefix" to be a string, got ${show(prefix)}`);
  }
  checkLength('"prefix"', prefix);
  checkNumber("retryFor", retryFor);
  if (!(retryFor >= 0)) throw outOfRange("retryFor", retryFor, "0 or more milliseconds");
  if (logger !== undefined && (typeof logger !== "object" || logger === null)) {
    throw new TypeError(`Expected "logger" to be an object with debug and warn methods, got ${show(logger)}`);
  }
  if (clock !== undefined && typeof clock?.now !== "function") {
    throw new TypeError(`Expected "clock" to have now, wall and timer methods, got ${show(clock)}`);
  }
  if (random !== undefined && typeof random !== "function") {
    throw new TypeError(`Expected "random" to be a function, got ${show(random)}`);
  }
  const { minTtl, maxTtl } = backend.traits;
  const ttl = options.ttl ?? Math.min(Math.max(10_000, minTtl), maxTtl);
  checkTtl(ttl, backend);
  const metadata = toJson(options.metadata);
  const want: Want = {
    mode: "exclusive",
    limit: 1,
    ttl,
    renew: true,
    signal: undefined,
    metadata,
    steal: false,
    atLeast: 0,
  };
  return { prefix, retryFor, want };
}

/** Checks an acquisition's options, and fills in the defaults. */
export function checkAcquireOptions(
  backend: Backend,
  defaults: Want,
  options: AcquireOptions | undefined,
): Want {
  if (options === undefined) return defaults;
  checkObject("an acquisition", options);
  checkNames("an acquisition", options, ACQUIRE_OPTIONS, meant);
  const { mode = "exclusive", ttl = defaults.ttl, renew = true, signal, steal = false, atLeast = 0 } =
    options;
  if (mode !== "exclusive" && mode !== "shared") {
    throw new TypeError(`Expected "mode" to be "exclusive" or "shared", got ${show(mode)}`);
  }
  checkFlag("renew", renew);
  checkFlag("steal", steal);
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TypeError(`Expected "signal" to be an AbortSignal, got ${show(signal)}`);
  }
  if (ttl !== defaults.ttl) checkTtl(ttl, backend);
  const limit = checkLimit(mode, options.limit, backend);
  if (mode === "shared" && steal) {
    throw new TypeError('Expected "steal" only with mode "exclusive", got it with mode "shared"');
  }
  checkNumber("atLeast", atLeast);
  if (!(atLeast >= 0 && atLeast < Infinity)) throw outOfRange("atLeast", atLeast, "0 or more milliseconds");
  if (!renew && atLeast > ttl) {
    throw outOfRange("atLeast", atLeast, `at most the ttl, ${ttl}, of a lock that is not renewed`);
  }
  const metadata = options.metadata === undefined ? defaults.metadata : toJson(options.metadata);
  return { mode, limit, ttl, renew, signal, metadata, steal, atLeast };
}

/** Checks what a campaign is given. */
export function checkCampaign(
  backend: Backend,
  defaults: Want,
  options: AcquireOptions,
  lead: unknown,
): asserts lead is (...args: never[]) => unknown {
  checkObject("a campaign", options);
  checkAcquireOptions(backend, defaults, options);
  if (typeof lead !== "function") throw new TypeError(`Expected "lead" to be a function, got ${show(lead)}`);
}

function checkLimit(mode: Mode, limit: number | undefined, { name, traits }: Backend): number {
  if (limit === undefined) return mode === "shared" ? Infinity : 1;
  if (mode === "shared") {
    throw new TypeError('Expected "limit" only with mode "exclusive", got it with mode "shared"');
  }
  checkNumber("limit", limit);
  if (!Number.isSafeInteger(limit) || limit < 1) {
    throw outOfRange("limit", limit, `a whole number from 1 to ${Number.MAX_SAFE_INTEGER}`);
  }
  if (limit > 1 && !traits.semaphore) {
    throw outOfRange(
      "limit",
      limit,
      `1 on ${name}: majorities cannot count to more (of three nodes, three holders can have two each)`,
    );
  }
  return limit;
}

function checkTtl(ttl: unknown, { name, traits }: Backend): void {
  checkNumber("ttl", ttl);
  const least = traits.minTtl;
  const most = Math.min(traits.maxTtl, DAY);
  if (!((ttl as number) >= least && (ttl as number) <= most)) {
    throw outOfRange("ttl", ttl, `${least} to ${most} milliseconds on ${name}`);
  }
}

/** Metadata as JSON text. */
function toJson(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    throw new TypeError(`Expected "metadata" to be JSON, got ${show(value)}`, { cause });
  }
  if (text === undefined || !isJson(value)) {
    throw new TypeError(`Expected "metadata" to be JSON, got ${show(value)}`);
  }
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > METADATA_BYTES) {
    throw new RangeError(`Expected "metadata" to take at most ${METADATA_BYTES} bytes as JSON, got ${bytes}`);
  }
  return text;
}

/** Whether JSON keeps the value as it is, or as its own `toJSON` says. */
function isJson(value: unknown): boolean {
  if (value === null || typeof value === "string" || typeof value === "boolean") return true;
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object") return false;
  if ("toJSON" in value) return true;
  if (Array.isArray(value)) return value.every(isJson);
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return false;
  return Object.values(value).every((item) => item === undefined || isJson(item));
}

function checkObject(of: string, options: unknown): void {
  if (isObject(options)) return;
  const hint = typeof options === "number"
    ? ` (did you mean { ttl: ${options} } or { signal: AbortSignal.timeout(${options}) }?)`
    : typeof options === "function"
    ? " (what takes a callback is request)"
    : typeof options === "string"
    ? " (several keys go into an array)"
    : "";
  throw new TypeError(`Expected the options of ${of} to be an object, got ${show(options)}${hint}`);
}

function checkNumber(name: string, value: unknown): void {
  if (typeof value !== "number") throw new TypeError(`Expected "${name}" to be a number, got ${show(value)}`);
}

function checkFlag(name: string, value: unknown): void {
  if (typeof value !== "boolean") {
    throw new TypeError(`Expected "${name}" to be true or false, got ${show(value)}`);
  }
}

function checkLength(what: string, text: string): void {
  if (text.length <= KEY_UNITS) return;
  throw new RangeError(`Expected ${what} of at most ${KEY_UNITS} UTF-16 code units, got ${text.length}`);
}

function outOfRange(name: string, value: unknown, accepted: string): RangeError {
  return new RangeError(`Expected "${name}" to be ${accepted}, got ${show(value)}`);
}

/** A value in an error: enough to recognise it. */
function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  return String(value);
}
