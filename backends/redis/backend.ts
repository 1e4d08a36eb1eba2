import type {
  Backend,
  Call,
  Entry,
  Lease,
  LeaseRequest,
  Outcome,
  Traits,
  Watcher,
} from "../../internal/backend.ts";
import { Table } from "../../internal/table.ts";
import { ATTEMPT } from "./attempt.ts";
import { Connection } from "./connection.ts";
import { Gather } from "./gather.ts";
import { RedisLease, type Shared, type Track } from "./lease.ts";
import type { Opener } from "./link.ts";
import { keyOf, queueKey, queuePattern } from "./names.ts";
import { pool } from "./pool.ts";
import { RELEASE } from "./release.ts";
import { LIST } from "./scripts.ts";

/** How many keys one listing call reads, and how many such calls there are at once. */
const PAGE = 100;
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
  /** Opens a link to where this backend keeps its locks. */
  readonly open: Opener;
  /** Which server that is, without credentials. */
  readonly place: string;
  readonly #connection: Connection;
  readonly #tracks = new Table<Track>();
  readonly #shared: Shared;

  constructor(open: Opener, place: string) {
    this.open = open;
    this.place = place;
    this.#connection = new Connection({ open, place }, {
      message: (text) => this.#heard(text),
      down: () => this.#deaf(),
    });
    this.#shared = {
      connection: this.#connection,
      tracks: this.#tracks,
      attempts: new Gather(this.#connection, ATTEMPT),
      releases: new Gather(this.#connection, RELEASE),
    };
  }

  /** Nothing is sent: a lease is a ttl. */
  lease(request: LeaseRequest): Promise<Lease> {
    return Promise.resolve(new RedisLease(request, this.#shared));
  }

  async list(scope: string, call: Call): Promise<Entry[]> {
    const link = await this.#connection.link(call);
    const keys = scope.endsWith("/")
      ? (await link.scan(link.keyPrefix + queuePattern(scope))).map((queue) =>
        keyOf(queue.slice(link.keyPrefix.length))
      )
      : [scope];
    const found = new Map<string, Entry[]>();
    const failed = await pool(pages(keys, link.cluster ? 1 : PAGE), WIDTH, async (some) => {
      const reply = await this.#connection.run(
        LIST,
        [some.length, ...some.map(queueKey)],
        call,
      ) as unknown[][];
      some.forEach((key, index) => found.set(key, rows(key, reply[index]!)));
    });
    if ("failure" in failed) throw failed.failure;
    return keys.flatMap((key) => found.get(key)!);
  }

  watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    const listener = { heard: () => watcher.changed(), deaf: (error: unknown) => watcher.failed(error) };
    return this.#connection.listen(queueKey(key), listener, call);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#connection.close();
    this.#tracks.clear();
    return Promise.resolve();
  }

  #heard(text: string): void {
    const [what, id, token] = text.split(" ");
    const track = this.#tracks.get(id!);
    const news: Outcome = what === "granted"
      ? { state: "granted", token: BigInt(token!) }
      : { state: "gone", why: "stolen" };
    track?.lease.hear(track, news);
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

/** The reply of {@linkcode LIST} for one key. */
function rows(key: string, [holding, ...fields]: unknown[]): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at < fields.length; at += 6) {
    const [id, token, left, limit, client, metadata] = fields.slice(at, at + 6) as string[];
    const held = at / 6 < Number(holding);
    entries.push({
      key,
      id: id!,
      client: client!,
      mode: Number(limit) === 0 ? "shared" : "exclusive",
      limit: Number(limit) || Infinity,
      metadata: metadata || undefined,
      held,
      ...(held && { token: BigInt(token!) }),
      remaining: Math.max(0, Number(left)),
    });
  }
  return entries;
}
