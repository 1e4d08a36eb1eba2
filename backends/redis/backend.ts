import type { Backend, Call, Entry, Lease, LeaseRequest, Traits, Watcher } from "../../internal/backend.ts";
import { Table } from "../../internal/table.ts";
import { Connection } from "./connection.ts";
import { Gather } from "./gather.ts";
import { listing, PAGE, type Row } from "./listing.ts";
import { KeyChannels } from "./key_channels.ts";
import { RedisLease, type Shared, type Track } from "./lease.ts";
import { claimOf, keyOf, literal, queueKey, queuePattern } from "./names.ts";
import { pool } from "./pool.ts";
import type { Route } from "./route.ts";
import { scripts } from "./scripts.ts";

/** How many listing calls there are at once. */
const WIDTH = 8;

const TRAITS: Traits = {
  fencing: "clock",
  order: "fifo",
  inOrder: true,
  semaphore: true,
  minTtl: 100,
  maxTtl: 86_400_000,
  timer: "claim",
  settle: 0,
};

/** See `redis()`. */
export class RedisBackend implements Backend {
  readonly name = "redis";
  readonly traits: Traits = TRAITS;
  readonly users: Set<object> = new Set();
  /** Where this backend keeps its locks. */
  readonly route: Route;
  readonly #connection: Connection;
  readonly #tracks = new Table<Track>();
  readonly #shared: Shared;

  /** `memory`: milliseconds for which a queue that nobody uses remembers its last token. */
  constructor(route: Route, memory: number) {
    this.route = route;
    this.#connection = new Connection(route, {
      message: (text) => this.#heard(text),
      down: () => this.#deaf(),
      awaits: () => this.#tracks.size > 0,
    });
    const made = scripts(memory);
    this.#shared = {
      connection: this.#connection,
      tracks: this.#tracks,
      attempts: new Gather(this.#connection, made.attempt),
      releases: new Gather(this.#connection, made.release),
      scripts: made,
      channels: new KeyChannels(this.#connection, (text) => this.#heard(text)),
    };
  }

  /** Nothing is sent: a lease is a ttl. */
  lease(request: LeaseRequest): Promise<Lease> {
    return Promise.resolve(new RedisLease(request, this.#shared));
  }

  async list(scope: string, call: Call): Promise<Entry[]> {
    const link = await this.#connection.link(call);
    const keys = scope.endsWith("/")
      ? (await link.scan(literal(link.keyPrefix) + queuePattern(scope))).map((queue) =>
        keyOf(queue.slice(link.keyPrefix.length))
      )
      : [scope];
    const found = new Map<string, Entry[]>();
    const failed = await pool(pages(keys, link.cluster ? 1 : PAGE), WIDTH, async (some) => {
      const queues = Map.groupBy(
        await Array.fromAsync(listing(this.#connection, this.#shared.scripts.list, some, call)),
        ({ key }) => key,
      );
      for (const [key, rows] of queues) found.set(key, rows.flatMap(entry));
    });
    if ("failure" in failed) throw failed.failure;
    return keys.flatMap((key) => found.get(key) ?? []);
  }

  watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    const listener = { heard: () => watcher.changed(), deaf: (error: unknown) => watcher.failed(error) };
    return this.#connection.listen((keyPrefix) => keyPrefix + queueKey(key), listener, call);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#connection.close();
    this.#tracks.clear();
    this.#shared.channels.clear();
    return Promise.resolve();
  }

  #heard(text: string): void {
    const [, what, id, token] = /^(granted|stolen) (\S+) ?(\d*)$/.exec(text) ?? [];
    const track = id === undefined ? undefined : this.#tracks.get(id);
    if (track === undefined) return;
    if (what === "stolen") track.lease.hear(track, { state: "gone", why: "stolen" });
    else if (token) track.lease.hear(track, { state: "granted", token: BigInt(token) });
  }

  /** Messages may have been lost: waiters ask again, and connect again by that. */
  #deaf(): void {
    for (const track of this.#tracks.values()) {
      track.missed = true;
      track.wake?.();
    }
  }
}

function* pages(keys: readonly string[], size: number): Generator<string[]> {
  for (let at = 0; at < keys.length; at += size) yield keys.slice(at, at + size);
}

/** Nothing, if somebody else has written into the queue what is no claim. */
function entry({ key, name, token, left, metadata, holds }: Row): Entry[] {
  const claim = claimOf(name);
  if (claim === undefined) return [];
  const held = holds ? { held: true, token: BigInt(token) } : { held: false };
  return [{ key, ...claim, metadata: metadata || undefined, ...held, remaining: Math.max(0, left) }];
}
