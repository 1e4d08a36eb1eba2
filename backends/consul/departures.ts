import { setTimeout as sleep } from "node:timers/promises";
import type { OwnClaim } from "../shared/own_claim.ts";
import type { ConsulApi } from "./client/api.ts";
import type { Bounds } from "./client/http.ts";
import { follow } from "./client/follow.ts";
import { prefixOf, treeOf } from "./names.ts";
import type { ConsulQueued } from "./entries.ts";

/** How many of those ahead are watched one by one. */
const ONE_BY_ONE = 4;

/** Connections to wait over, at most: Consul takes 200 from one address, unless told otherwise. */
const CONNECTIONS = 64;

/** Milliseconds; Consul's own limit is ten minutes. */
const LONGEST = 300_000;

/** For many at once, milliseconds: so long does the last of them leave a question behind. */
const TOGETHER = 5_000;

/** Consul adds up to a sixteenth to what it is asked to wait. */
const JITTER = 17 / 16;

/** Who is waited for, and where. */
export interface Ahead {
  /** What the backend puts before every key. */
  readonly root: string;
  readonly ahead: readonly ConsulQueued[];
  /** Milliseconds. */
  readonly ttl: number;
  readonly signal: AbortSignal;
}

/** Of whom a claim was told that one has gone, and how often in a row that was wrong. */
interface Hint {
  readonly gone: readonly ConsulQueued[];
  readonly wrong: number;
}

/** Waits for others to leave their queues: each over a connection of its own while there are few. */
export class Departures {
  readonly #api: ConsulApi;
  readonly #crowds = new Map<string, Crowd>();
  readonly #hints = new WeakMap<OwnClaim<ConsulQueued>, Hint>();
  #open = 0;
  /** Ends the questions of the crowds. */
  #ending = new AbortController();
  /** When Consul will notice of each question that was given up: until then its connection counts there. */
  #lingering: number[] = [];

  constructor(api: ConsulApi) {
    this.#api = api;
  }

  /**
   * Resolves when one of them has left the queue, or with `false` when it is time to ask again
   * anyway: a little before the ttl, when the core does that, so that the question ends by itself
   * and its connection can be used again.
   */
  async untilOneGone(own: OwnClaim<ConsulQueued>, where: Ahead): Promise<boolean> {
    await this.#restAfterWrongHint(own, where);
    const gone = await this.#oneGone(own, where);
    if (gone) this.#hints.set(own, { ...this.#hints.get(own) ?? { wrong: 0 }, gone: where.ahead });
    return gone;
  }

  /** What was said to have changed, and has not, would be said again at once, and for ever. */
  async #restAfterWrongHint(own: OwnClaim<ConsulQueued>, { ahead, signal }: Ahead): Promise<void> {
    const hint = this.#hints.get(own);
    if (hint === undefined) return;
    const names = new Set(ahead.map(({ name }) => name));
    const wrong = hint.gone.every(({ name }) => names.has(name)) ? hint.wrong + 1 : 0;
    this.#hints.set(own, { gone: hint.gone, wrong });
    if (wrong > 0) await sleep(Math.min(25 * 2 ** wrong, 1_000), undefined, { signal, ref: false });
  }

  async #oneGone(own: OwnClaim<ConsulQueued>, { root, ahead, ttl, signal }: Ahead): Promise<boolean> {
    const bounds: Bounds = { signal };
    const wait = Math.min(ttl * 0.85, LONGEST);
    const wanted = ahead.length <= ONE_BY_ONE ? ahead.length : 1;
    const now = performance.now();
    this.#lingering = this.#lingering.filter((until) => until > now);
    if (this.#open + this.#lingering.length + wanted > CONNECTIONS) {
      return await this.#crowd(prefixOf(root, ahead[0]!.name)).untilOneGone(ahead, bounds);
    }
    this.#open += wanted;
    try {
      return wanted === ahead.length
        ? await Promise.race(ahead.map((one) => this.#gone(one, wait, bounds)))
        : await this.#oneLeft(treeOf(root, own.claim.key), ahead, wait, bounds);
    } finally {
      this.#open -= wanted;
      if (bounds.signal.aborted || wanted > 1) {
        this.#lingering.push(...Array<number>(wanted).fill(now + wait * JITTER));
      }
    }
  }

  /** Ends what nobody waits for any more. A later wait begins anew. */
  close(): void {
    this.#ending.abort();
    this.#ending = new AbortController();
    this.#crowds.clear();
  }

  async #gone({ name, changed }: ConsulQueued, wait: number, bounds: Bounds): Promise<boolean> {
    for await (const view of follow(this.#api, { name, tree: false, index: changed, wait }, bounds)) {
      if (!view.names.includes(name)) return true;
      if (view.late) break;
    }
    return false;
  }

  async #oneLeft(
    name: string,
    ahead: readonly ConsulQueued[],
    wait: number,
    bounds: Bounds,
  ): Promise<boolean> {
    for await (const view of follow(this.#api, { name, tree: true, index: 0, wait }, bounds)) {
      if (oneLeft(ahead, { names: new Set(view.names), index: view.index })) return true;
      if (view.late) break;
    }
    return false;
  }

  #crowd(prefix: string): Crowd {
    let crowd = this.#crowds.get(prefix);
    if (crowd === undefined) this.#crowds.set(prefix, crowd = new Crowd(this.#api, prefix, this.#ending));
    return crowd;
  }
}

/** The names below a prefix, as of an index of the store. */
interface Sight {
  readonly names: ReadonlySet<string>;
  readonly index: number;
}

/** Any number of waiters who share one connection, over which all changes below a prefix are heard. */
class Crowd {
  readonly #api: ConsulApi;
  readonly #prefix: string;
  readonly #members = new Set<{ see(sight: Sight): void; fail(error: unknown): void }>();
  #last: Sight = { names: new Set(), index: 0 };
  readonly #bounds: Bounds;
  #listening = false;

  constructor(api: ConsulApi, prefix: string, bounds: Bounds) {
    this.#api = api;
    this.#prefix = prefix;
    this.#bounds = bounds;
  }

  async untilOneGone(ahead: readonly ConsulQueued[], { signal }: Bounds): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const member = {
      see: (sight: Sight): void => {
        if (oneLeft(ahead, sight)) resolve(true);
      },
      fail: reject,
    };
    const stop = (): void => resolve(false);
    signal.addEventListener("abort", stop, { once: true });
    this.#members.add(member);
    if (!this.#listening) void this.#listen();
    member.see(this.#last);
    try {
      return await promise;
    } finally {
      signal.removeEventListener("abort", stop);
      this.#members.delete(member);
    }
  }

  async #listen(): Promise<void> {
    this.#listening = true;
    try {
      const subject = { name: this.#prefix, tree: true, index: 0, wait: TOGETHER };
      for await (const { names, index } of follow(this.#api, subject, this.#bounds)) {
        this.#last = { names: new Set(names), index };
        for (const { see } of this.#members) see(this.#last);
        if (this.#members.size === 0) break;
      }
    } catch (error) {
      for (const { fail } of this.#members) fail(error);
    }
    this.#listening = false;
  }
}

/** Whether one of them has been there, and is not any more. Who came after the sight is not in it either. */
function oneLeft(ahead: readonly ConsulQueued[], { names, index }: Sight): boolean {
  return ahead.some(({ name, token }) => token <= index && !names.has(name));
}
