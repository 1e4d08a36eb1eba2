import type { Call, Entry, Watcher } from "../../internal/backend.ts";
import { holders } from "../../internal/queue.ts";
import { refused } from "../shared/errors.ts";
import { literal } from "./client/literal.ts";
import { digest, range, rowKey } from "./names.ts";
import { RELAXED } from "./scripts/durable.ts";
import type { Store } from "./store.ts";

/** Lists and watches queues. */
export class Observer {
  readonly #store: Store;
  readonly #watchers = new Set<Watcher>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** As {@linkcode Backend.list}. */
  async list(scope: string, call: Call): Promise<Entry[]> {
    const { connection, schema } = this.#store;
    const [from, to] = range(scope);
    const rows = await connection.query(
      `SELECT * FROM ${schema}.list(${literal(from)}, ${literal(to)})`,
      call,
    );
    const found = rows.map(([key, id, token, limit, left, client, metadata]) => ({
      key: key!,
      id: id!,
      client: client!,
      limit: limit === "Infinity" ? Infinity : Number(limit),
      metadata: metadata ?? undefined,
      token: BigInt(token!),
      remaining: Math.max(0, Math.ceil(Number(left) / 1_000)),
    }));
    return [...Map.groupBy(found, ({ key }) => key).values()].flatMap((queue) => {
      const held = holders(queue);
      return queue.map(({ token, ...entry }, n) =>
        n < held ? { ...entry, held: true, token } : { ...entry, held: false }
      );
    });
  }

  /** As {@linkcode Backend.watch}. */
  async watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    const { connection, ear, schema } = this.#store;
    if (!await ear.ready(call)) {
      throw refused("watch a lock", "Postgres tells nothing through this pooler, or this client", {
        hint: "give `listen` an address without the pooler",
        retryable: false,
      });
    }
    const row = literal(rowKey(key));
    const stop = this.#store.watch(digest(key), () => watcher.changed());
    this.#watchers.add(watcher);
    ear.listen();
    const forget = () => {
      stop();
      return this.#watchers.delete(watcher);
    };
    try {
      const name = rowKey(key) === key ? "NULL" : literal(key);
      await connection.evaluate([`${schema}.watch(${row}, ${name}, ${literal(ear.channel)})`], call);
      if (!ear.stands) throw refused("watch a lock", "the connection by which Postgres tells has ended");
    } catch (error) {
      forget();
      throw error;
    }
    return {
      [Symbol.asyncDispose]: async () => {
        if (!forget() || this.#store.watches(digest(key))) return;
        // What fails here is made up for by whoever next changes the queue: nobody listens any more.
        const unwatch = `${schema}.unwatch(${row}, ${literal(ear.channel)})`;
        await connection.evaluate([unwatch, RELAXED], { signal: call.signal, timeout: 1_000 }).catch(
          () => {},
        );
      },
    };
  }

  /** Nothing is heard any more. */
  failed(error: unknown): void {
    const watchers = [...this.#watchers];
    this.#watchers.clear();
    for (const watcher of watchers) watcher.failed(error);
  }
}
