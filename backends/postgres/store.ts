import type { Call } from "../../internal/backend.ts";
import type { Standing } from "./claim.ts";
import { Connection } from "./client/connection.ts";
import { Ear, type EarRoute } from "./client/ear.ts";
import { Gather } from "./client/gather.ts";
import { identifier } from "./client/literal.ts";
import type { Route } from "./client/link.ts";
import { DURABLE, RELAXED } from "./scripts/durable.ts";
import { schemaSql, VERSION } from "./scripts/schema.ts";

/** How many queues are made before some old ones are looked for that can be forgotten. */
const NEW_QUEUES = 8;

/** What it means that nothing is heard. */
const LATE = "who waits for a lock learns of it by its renewals only, a third of a ttl late";

const MINUTE = 60_000;

/** No caller waits for it. */
const BEHIND: Call = { signal: new AbortController().signal, timeout: 1_000 };

/** What the leases of a backend share. */
export class Store {
  readonly connection: Connection;
  readonly ear: Ear;
  /** Attempts and releases, of all leases together. */
  readonly enters: Gather;
  readonly leaves: Gather;
  /** As it stands in SQL. */
  readonly schema: string;
  /** Every claim that was sent and not seen to end, by id. */
  readonly standings: Map<string, Standing> = new Map();
  readonly #watching = new Map<string, Set<() => void>>();
  readonly #memory: number;
  #made = 0;
  #swept = performance.now();
  readonly #warn: (message: string) => void;
  /** Listening fails, and the logger knows. */
  #failing = false;

  /** `memory`: milliseconds for which a queue without claims is kept, since it is likely to be used again. */
  constructor(
    route: Route,
    ear: EarRoute,
    { memory, warn, deaf }: {
      memory: number;
      warn: (message: string) => void;
      deaf: (error: unknown) => void;
    },
  ) {
    this.schema = identifier(route.schema);
    this.#memory = memory;
    this.#warn = warn;
    this.connection = new Connection(route, { version: VERSION, sql: schemaSql(this.schema) });
    this.enters = new Gather(this.connection, DURABLE);
    this.leaves = new Gather(this.connection, RELAXED);
    this.ear = new Ear(ear, {
      heard: (payload) => this.#heard(payload),
      deaf: (error) => {
        for (const standing of this.standings.values()) {
          standing.missed = true;
          standing.wake?.(undefined);
        }
        deaf(error);
      },
      awaits: () => this.#watching.size > 0 || this.standings.values().some(({ wake }) => wake !== undefined),
      absent: () =>
        warn(
          `Postgres tells nothing through this pooler, or this client: ${LATE}; give \`listen\` an address without`,
        ),
    });
  }

  /** Whether notifications come from now on; `false` also if that fails this time, since renewals tell too. */
  async hears(call: Call): Promise<boolean> {
    try {
      const hears = await this.ear.ready(call);
      this.#failing = false;
      return hears;
    } catch (error) {
      if (!this.#failing) this.#warn(`${(error as Error).message}: until that is mended, ${LATE}`);
      this.#failing = true;
      return false;
    }
  }

  /** Has a function called whenever a notification says that the queue with this digest has changed. */
  watch(digest: string, changed: () => void): () => void {
    const all = this.#watching.get(digest) ?? new Set();
    this.#watching.set(digest, all.add(changed));
    return () => {
      if (all.delete(changed) && all.size === 0 && this.#watching.get(digest) === all) {
        this.#watching.delete(digest);
      }
    };
  }

  /** Whether a queue is watched. */
  watches(digest: string): boolean {
    return this.#watching.has(digest);
  }

  /** A queue was made. Now and then, others are forgotten. */
  grown(): void {
    if (++this.#made % NEW_QUEUES === 0) this.#sweep();
  }

  /** Something was asked: once a minute, those that nobody uses any more are looked for as well. */
  used(): void {
    if (performance.now() - this.#swept > MINUTE) this.#sweep();
  }

  #sweep(): void {
    this.#swept = performance.now();
    this.connection.evaluate([`${this.schema}.sweep(${this.#memory * 1_000})`, RELAXED], BEHIND).catch(
      () => {},
    ); // others will
  }

  /** Closes the connections. */
  close(): void {
    this.ear.close();
    this.connection.close();
    this.standings.clear();
    this.#watching.clear();
  }

  #heard(payload: string): void {
    const [what, about = "", token] = payload.split(" ");
    if (what === "changed") { for (const changed of this.#watching.get(about) ?? []) changed(); }
    const standing = this.standings.get(about);
    if (standing === undefined) return;
    if (what === "stolen") standing.stolen();
    else if (what === "granted" && /^\d+$/.test(token ?? "")) {
      standing.told = BigInt(token!);
      standing.wake?.(standing.told);
    }
  }
}
