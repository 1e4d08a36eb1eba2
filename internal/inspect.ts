import { type Entry, type Mode, modeOf } from "./backend.ts";
import { ask } from "./calls.ts";
import type { Core } from "./core.ts";
import { decodeKey, encodeKey, encodePart } from "./keys.ts";
import type { Json } from "./options.ts";
import { plainFields } from "./plain.ts";

/** One claim, as anybody may see it. */
export interface Standing {
  /** Names the claim; gives no power over it. */
  readonly id: string;
  /** What it asked for. */
  readonly mode: Mode;
  /** How many may hold together with it: 1, n, or Infinity if shared. */
  readonly limit: number;
  /** What it says about itself. */
  readonly metadata: Json | undefined;
  /** Fencing token, if it holds. */
  readonly token?: bigint;
  /** Milliseconds until the store drops it unless it is renewed, where the store tells. */
  readonly remaining?: number;
  /** For `JSON.stringify`: the token as a string, the limit of a shared claim left out. */
  toJSON(): Json;
}

/** The queue of one key. */
export interface Inspection {
  /** The key. */
  readonly key: string;
  /** Who holds, in queue order. */
  readonly holders: readonly Standing[];
  /** Who waits, in queue order. */
  readonly waiters: readonly Standing[];
  /** For `JSON.stringify`: tokens as strings, the limits of shared claims left out. */
  toJSON(): Json;
}

/**
 * The claims of one key (encoded, `prefix/key`) or of a whole prefix (`prefix/`). `background` as of
 * {@linkcode Alarm.background}.
 */
export function list(core: Core, scope: string, background = false): Promise<Entry[]> {
  return ask(core.alarms, {
    what: () => "list claims",
    timeout: core.callTimeout(10_000),
    background,
    send: (call) => core.backend.list(scope, call),
  });
}

/** Parses what a store keeps as metadata; anybody may have written it. */
export function parseMetadata(text: string | undefined): Json | undefined {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The queue of `key`, or `undefined` if it is empty. */
export async function inspect(core: Core, prefix: string, key: string): Promise<Inspection | undefined> {
  const entries = await list(core, encodeKey(prefix, key));
  if (entries.length === 0) return undefined;
  const holders = entries.filter(({ held }) => held).map(standing);
  const waiters = entries.filter(({ held }) => !held).map(standing);
  return stringifiable({ key, holders, waiters });
}

/** One claim, as Web Locks shows it. */
export interface LockInfo {
  /** The key. */
  readonly name: string;
  /** What it asked for. */
  readonly mode: Mode;
  /** The manager it belongs to. */
  readonly clientId: string;
}

/** All claims under a prefix. */
export interface LockSnapshot {
  /** Who holds. */
  readonly held: LockInfo[];
  /** Who waits. */
  readonly pending: LockInfo[];
}

/** Who holds and who waits under a prefix, in every process. */
export async function query(core: Core, prefix: string): Promise<LockSnapshot> {
  const entries = await list(core, `${encodePart(prefix)}/`);
  return {
    held: entries.filter(({ held }) => held).map(info),
    pending: entries.filter(({ held }) => !held).map(info),
  };
}

function info({ key, limit, client }: Entry): LockInfo {
  return { name: decodeKey(key), mode: modeOf(limit), clientId: client };
}

function standing({ id, limit, metadata, token, remaining }: Entry): Standing {
  return stringifiable({
    id,
    mode: modeOf(limit),
    limit,
    metadata: parseMetadata(metadata),
    ...(token !== undefined && { token }),
    ...(remaining !== undefined && { remaining }),
  });
}

/** Adds `toJSON`, unseen by the console and by who compares. */
function stringifiable<T extends object>(it: T): T & { toJSON(): Json } {
  const toJSON = { value: () => plainFields(Object.entries(it)), configurable: true };
  return Object.defineProperty(it, "toJSON", toJSON) as T & { toJSON(): Json };
}
