import type { Bounds, ConsulApi } from "./api.ts";
import { follow } from "./follow.ts";
import { prefixOf, queueOf } from "./names.ts";
import type { Contender } from "./queue.ts";

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

/** Waits for others to leave their queues: each over a connection of its own while there are few. */
export class Waiting {
  readonly #api: ConsulApi;
  readonly #crowds = new Map<string, Crowd>();
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
  async untilOneGone(
    root: string,
    key: string,
    contenders: readonly Contender[],
    { ttl, ...bounds }: Bounds & { readonly ttl: number },
  ): Promise<boolean> {
    const wait = Math.min(ttl * 0.85, LONGEST);
    const wanted = contenders.length <= ONE_BY_ONE ? contenders.length : 1;
    const now = performance.now();
    this.#lingering = this.#lingering.filter((until) => until > now);
    if (this.#open + this.#lingering.length + wanted > CONNECTIONS) {
      return await this.#crowd(prefixOf(root, contenders[0]!.name)).untilOneGone(contenders, bounds);
    }
    this.#open += wanted;
    try {
      return wanted === contenders.length
        ? await Promise.race(contenders.map((one) => this.#gone(one, wait, bounds)))
        : await this.#oneLeft(queueOf(root, key), contenders, wait, bounds);
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

  async #gone({ name, changed }: Contender, wait: number, bounds: Bounds): Promise<boolean> {
    for await (const view of follow(this.#api, { name, tree: false, index: changed, wait }, bounds)) {
      if (!view.names.includes(name)) return true;
      if (view.late) break;
    }
    return false;
  }

  async #oneLeft(
    name: string,
    contenders: readonly Contender[],
    wait: number,
    bounds: Bounds,
  ): Promise<boolean> {
    for await (const view of follow(this.#api, { name, tree: true, index: 0, wait }, bounds)) {
      if (oneLeft(contenders, { names: new Set(view.names), index: view.index })) return true;
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

  async untilOneGone(contenders: readonly Contender[], { signal }: Bounds): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const member = {
      see: (sight: Sight): void => {
        if (oneLeft(contenders, sight)) resolve(true);
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
function oneLeft(contenders: readonly Contender[], { names, index }: Sight): boolean {
  return contenders.some(({ name, token }) => token <= index && !names.has(name));
}
