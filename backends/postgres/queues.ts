import type { Call, LeaseRequest, Outcome } from "../../internal/backend.ts";
import { departure } from "../shared/departure.ts";
import { refused } from "../shared/errors.ts";
import type { OwnClaim, Queued } from "../shared/own_claim.ts";
import type { Ears, Found, Queues, Send, View } from "../shared/queues.ts";
import type { News, Standing } from "./claim.ts";
import { asciiJson, literal } from "./client/literal.ts";
import { rowKey } from "./names.ts";
import { DURABLE } from "./scripts/durable.ts";
import { ASKS } from "./scripts/enter.ts";
import type { Store } from "./store.ts";

/** How many claims one statement renews: two to four milliseconds of the server's time. */
const BATCH = 250;

/**
 * The queues of a database, as one lease reaches them: rows, each with its own expiry by the server's clock. What the
 * rule makes of a queue is found out in the server, and who may hold is told by a notification.
 */
export class PostgresQueues implements Queues {
  readonly ttl: number;
  /** A notification says of a claim that it holds, whoever was ahead. */
  readonly hearsOwn = true;
  readonly #store: Store;
  readonly #client: string;
  readonly #ears: Ears;
  readonly #standings = new Map<string, Standing>();

  constructor(store: Store, { ttl, client }: LeaseRequest, ears: Ears) {
    this.ttl = ttl;
    this.#store = store;
    this.#client = client;
    this.#ears = ears;
  }

  async enter(own: OwnClaim, call: Call, send: Send): Promise<Found> {
    await this.#store.connection.ready(call);
    this.#store.used();
    try {
      // Until all of that is known it counts as a doubt: who asks again meanwhile must not take a second place.
      return await send(async () => await this.#hearing(own, await this.#attempt(own, call), call));
    } finally {
      if (own.doubts === 0 && this.#standing(own).expires === 0) this.#forget(own); // it has not entered
    }
  }

  async read(own: OwnClaim, call: Call): Promise<Found> {
    await this.#store.connection.ready(call);
    return await this.#hearing(own, await this.#look(own, call), call);
  }

  async leave(own: OwnClaim, call: Call): Promise<boolean> {
    const { claim: { key, id }, token = 0n, doubts } = own;
    const until = doubts > 0 ? this.#standing(own).latest : 0;
    const args = `${literal(rowKey(key))}, ${literal(id)}, ${token}, ${until}`;
    const asked = performance.now();
    const [state, time] = words(
      await this.#store.leaves.run(rowKey(key), `${this.#store.schema}.leave(${args})`, call),
      2,
    );
    this.#store.connection.time.learn(Number(time), asked);
    if (state === "guarded") {
      throw nothing("release", "a transaction that works under the lock has not ended");
    }
    this.#forget(own);
    return state === "removed";
  }

  async departure(own: OwnClaim, _: readonly Queued[], signal: AbortSignal): Promise<Found | boolean> {
    const standing = this.#standing(own);
    if (standing.missed) return true;
    const news = standing.told ??
      await departure<News>(standing, { signal, timeout: Infinity }).catch(() => undefined);
    return news === undefined ? !signal.aborted : viewOf(own, news);
  }

  async renew(owns: readonly OwnClaim[], call: Call): Promise<Map<OwnClaim, Found>> {
    const found = new Map<OwnClaim, Found>();
    let failed: unknown;
    for (let at = 0; at < owns.length; at += BATCH) {
      await this.#renewBatch(owns.slice(at, at + BATCH), found, call).catch((error) => failed ??= error);
    }
    if (failed !== undefined && found.size === 0) throw failed;
    return found;
  }

  async close(call: Call): Promise<void> {
    const left = await Promise.allSettled(
      [...this.#standings.values()].map(({ own }) => this.leave(own, call)),
    );
    for (const { own } of this.#standings.values()) this.#forget(own);
    const failed = left.find((one) => one.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** Once, or a second time where the first one met a queue that was being forgotten, or came late. */
  async #attempt(own: OwnClaim, call: Call): Promise<Found> {
    const { connection } = this.#store;
    const { wait, steal } = own.claim;
    const standing = this.#standing(own);
    const end = performance.now() + call.timeout;
    for (let time = 0;; time++) {
      const now = connection.time.at(performance.now());
      // Until then an entry that we have not heard of is surely still there. Later it may have come and gone.
      standing.until ??= now + this.ttl * 1_000 - connection.time.uncertainty;
      const again = own.doubts > 1;
      const asks = (wait ? ASKS.wait : 0) + (steal ? ASKS.steal : 0) + (again ? ASKS.again : 0) +
        (again && standing.until < now ? ASKS.entered : 0);
      const latest = Math.min(now + Math.ceil(call.timeout * 1_000), standing.until);
      standing.latest = Math.max(standing.latest, latest);
      const found = await this.#ask(own, asks, latest, call);
      if (found !== "late" && found !== "again") return found;
      if (own.doubts === 1) standing.until = undefined; // none of its attempts has entered
      if (time > 0 || performance.now() >= end) throw nothing("enter the queue", "the call arrived too late");
    }
  }

  async #ask(own: OwnClaim, asks: number, latest: number, call: Call): Promise<Found | "late" | "again"> {
    const { key, id, limit, metadata } = own.claim;
    const { connection, ear, enters, schema } = this.#store;
    const standing = this.#standing(own);
    const row = rowKey(key);
    standing.missed = false;
    standing.heard = ear.stands;
    const asked = performance.now();
    const sent = connection.time.at(asked);
    const args = [
      literal(row),
      row === key ? "NULL" : literal(key),
      literal(id),
      own.token ?? 0n,
      limit === Infinity ? "'Infinity'" : limit,
      Math.ceil(this.ttl * 1_000),
      latest,
      asks,
      literal(this.#client),
      literal(ear.stands ? ear.channel : ""),
      metadata === undefined ? "NULL" : literal(asciiJson(metadata)),
    ];
    const reply = await enters.run(row, `${schema}.enter(${args.join(", ")})`, call);
    const [state, token, recheck, time] = words(reply, 4);
    connection.time.learn(Number(time), asked);
    if (state === "late" || state === "again") return state;
    if (state === "fresh") this.#store.grown();
    if (token !== "0") {
      standing.expires = Number(time) + this.ttl * 1_000;
      return viewOf(own, BigInt(token!), state === "contended" ? Number(recheck) : undefined);
    }
    if (state === "contended") return { state };
    return this.#gone(own, state!, sent);
  }

  /** Whoever has to wait listens from then on, and asks once more what it may have missed. */
  async #hearing(own: OwnClaim, found: Found, call: Call): Promise<Found> {
    const { ear } = this.#store;
    if ("state" in found || found.queue.length === 1 || !own.claim.wait) return found;
    ear.listen();
    const standing = this.#standing(own);
    if (standing.heard || !await this.#store.hears(call)) return found;
    try {
      return await this.#look(own, call);
    } catch {
      standing.missed = true; // but it has entered, and will be asked about again
      return found;
    }
  }

  /** How a claim stands that has entered. */
  async #look(own: OwnClaim, call: Call): Promise<Found> {
    const found = await this.#ask(own, ASKS.entered, 0, call);
    return typeof found === "string" ? GONE : found;
  }

  async #renewBatch(owns: readonly OwnClaim[], found: Map<OwnClaim, Found>, call: Call): Promise<void> {
    // In one order for all: two statements that lock the same rows would wait for each other.
    const sorted = owns.map((own) => ({ own, row: rowKey(own.claim.key), token: own.token ?? 0n }))
      .sort((a, b) => a.row < b.row ? -1 : a.row > b.row ? 1 : Number(a.token - b.token));
    const lists = [
      `string_to_array(${literal(sorted.map(({ row }) => row).join(" "))}, ' ')`,
      `'{${sorted.map(({ token }) => token).join(",")}}'`,
      `string_to_array(${literal(sorted.map(({ own }) => own.claim.id).join(" "))}, ' ')`,
    ];
    const { connection, schema } = this.#store;
    this.#store.used();
    const asked = performance.now();
    const sent = connection.time.at(asked);
    const [reply] = await connection.evaluate(
      [`${schema}.renew(${Math.ceil(this.ttl * 1_000)}, ${lists.join(", ")})`, DURABLE],
      call,
    );
    const [time, ...said] = words(reply!, sorted.length + 1);
    connection.time.learn(Number(time), asked);
    for (const [n, { own, token }] of sorted.entries()) {
      const [state, recheck] = [said[n]![0], said[n]!.slice(1)];
      if (state === "m" || state === "s") {
        found.set(own, this.#gone(own, state === "s" ? "stolen" : "missing", sent));
        continue;
      }
      this.#standing(own).expires = Number(time) + this.ttl * 1_000;
      found.set(own, viewOf(own, token, state === "w" ? Number(recheck) : undefined));
    }
  }

  /** What has become of a claim that is not there. `sent`: the server time before that was asked. */
  #gone(own: OwnClaim, state: string, sent: number): Outcome {
    const { expires } = this.#standing(own);
    if (own.doubts === 0) this.#forget(own);
    if (state === "stolen") return { state: "gone", why: "stolen" };
    const isOver = state === "missing" && expires > 0 && expires <= sent;
    return { state: "gone", why: isOver ? "expired" : "revoked" };
  }

  #standing(own: OwnClaim): Standing {
    const { id } = own.claim;
    const known = this.#standings.get(id);
    if (known !== undefined) return known;
    const standing: Standing = {
      own,
      latest: 0,
      until: undefined,
      expires: 0,
      heard: false,
      told: undefined,
      missed: false,
      wake: undefined,
      stolen: () => {
        this.#ears.lost(own, "stolen");
        if (own.doubts === 0) this.#forget(own);
      },
    };
    this.#standings.set(id, standing);
    this.#store.standings.set(id, standing);
    return standing;
  }

  #forget({ claim: { id } }: OwnClaim): void {
    this.#standings.delete(id);
    this.#store.standings.delete(id);
  }
}

const GONE: Outcome = { state: "gone", why: "revoked" };

/** Who waits is behind one other, whoever that is, until it is told. */
function viewOf(own: OwnClaim, token: bigint, recheck?: number): View {
  const mine: Queued = { name: own.claim.id, limit: own.claim.limit };
  const ahead: Queued[] = recheck === undefined
    ? []
    : [{ name: "the one ahead", limit: 1, remaining: Math.ceil(recheck / 1_000) }];
  return { queue: [...ahead, mine], token };
}

/** A refusal that had no effect, and may have gone by another time. */
function nothing(what: string, said: string): Error {
  return Object.assign(refused(what, said), { unsent: true });
}

/** The words of a reply, so many. */
function words(reply: string | null, count: number): string[] {
  const found = reply?.split(" ") ?? [];
  if (found.length !== count) throw refused("ask Postgres", "the answer is not what was asked for");
  return found;
}
