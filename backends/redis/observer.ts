import type { Call, Entry, Watcher } from "../../internal/backend.ts";
import { Limiter } from "../../internal/limiter.ts";
import type { Connection } from "./client/connection.ts";
import { list, numbers, text, unexpected, whole } from "./client/replies.ts";
import type { Script } from "./client/script.ts";
import { claimOf, keyOf, literal, queueKey, queuePattern } from "./names.ts";

/** How many keys and how many claims one call reads: for less than a millisecond. */
const PAGE = 50;

/** How many listing calls there are at once. */
const WIDTH = 8;

/** A claim in a queue. */
interface Row {
  readonly key: string;
  /** See `scripts/queue.ts`. */
  readonly name: string;
  readonly token: number;
  /** Milliseconds. */
  readonly left: number;
  readonly metadata: string;
  readonly holds: boolean;
}

/** Lists and watches queues. */
export class Observer {
  readonly #connection: Connection;
  readonly #script: Script;

  /** `script` lists. */
  constructor(connection: Connection, script: Script) {
    this.#connection = connection;
    this.#script = script;
  }

  /** As {@linkcode Backend.list}. */
  async list(scope: string, call: Call): Promise<Entry[]> {
    const link = await this.#connection.link(call);
    const keys = scope.endsWith("/")
      ? (await link.scan(literal(link.keyPrefix) + queuePattern(scope))).map((queue) =>
        keyOf(queue.slice(link.keyPrefix.length))
      )
      : [scope];
    const limiter = new Limiter(WIDTH);
    const found = await Promise.all(
      Array.from(pages(keys, link.cluster ? 1 : PAGE), (some) => {
        return limiter.run(() => this.#entries(some, call));
      }),
    );
    return found.flat();
  }

  /** As {@linkcode Backend.watch}. */
  watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    const listener = { heard: () => watcher.changed(), deaf: (error: unknown) => watcher.failed(error) };
    return this.#connection.listen((keyPrefix) => keyPrefix + queueKey(key), listener, call);
  }

  /** The name of the claim with that id in the queue of a key. */
  async nameOf(key: string, id: string, call: Call): Promise<string | undefined> {
    for await (const { name } of this.#rows([key], call)) if (claimOf(name)?.id === id) return name;
    return undefined;
  }

  async #entries(keys: readonly string[], call: Call): Promise<Entry[]> {
    return (await Array.fromAsync(this.#rows(keys, call))).flatMap(entry);
  }

  /** The claims of some keys, at most {@linkcode PAGE}, in a Cluster of one: by key, and in the order of the queue. */
  async *#rows(keys: readonly string[], call: Call): AsyncGenerator<Row> {
    for (let at = 0, from = 0; at < keys.length;) {
      const some = keys.slice(at);
      const args = [some.length, ...some.map(queueKey), from, PAGE];
      const reply = await this.#connection.run(this.#script, args, call);
      call.signal.throwIfAborted();
      const [more, next, ...queues] = list(reply, 1);
      if (whole(more) === 1) continue; // there was more to do first, of which this call has done a part
      if (queues.length === 0) throw unexpected(reply);
      for (const [n, claims] of queues.entries()) yield* rows(some[n]!, list(claims, 0));
      from = whole(next);
      at += queues.length - (from > 0 ? 1 : 0);
    }
  }
}

function* pages(keys: readonly string[], size: number): Generator<string[]> {
  for (let at = 0; at < keys.length; at += size) yield keys.slice(at, at + size);
}

function* rows(key: string, fields: unknown[]): Generator<Row> {
  for (let at = 0; at < fields.length; at += 5) {
    const [name, place, ends, metadata, holding] = list(fields.slice(at, at + 5), 5);
    const [token, left, holds] = numbers([place, ends, holding], 3) as [number, number, number];
    yield { key, name: text(name), token, left, metadata: text(metadata), holds: holds === 1 };
  }
}

/** Nothing, if another program has written into the queue what is no claim. */
function entry({ key, name, token, left, metadata, holds }: Row): Entry[] {
  const claim = claimOf(name);
  if (claim === undefined) return [];
  const held = holds ? { held: true, token: BigInt(token) } : { held: false };
  return [{ key, ...claim, metadata: metadata || undefined, ...held, remaining: Math.max(0, left) }];
}
