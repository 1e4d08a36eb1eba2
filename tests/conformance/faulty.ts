import type {
  Backend,
  Call,
  Claim,
  Entry,
  Gone,
  Lease,
  LeaseRequest,
  Outcome,
  Traits,
  Watcher,
} from "../../internal/backend.ts";
import { use } from "../../internal/users.ts";
import type { Partition } from "./harness.ts";

/** A call of a backend. */
export type Verb = "lease" | "attempt" | "changed" | "release" | "renew" | "close" | "list" | "watch";

/**
 * What becomes of one call to the store.
 * - "pass": it arrives, and so does its reply
 * - "refuse": it never arrives; the caller gets an error
 * - "lose": it arrives and is carried out; in place of the reply comes an error
 * - "hang": it never arrives, and nothing comes back
 * - "mute": it arrives and is carried out; nothing comes back
 * - "twice": two copies of it arrive at once; one of the replies comes back
 * - a promise: it arrives at once; its reply comes back when the promise has settled
 */
export type Fate = "pass" | "refuse" | "lose" | "hang" | "mute" | "twice" | Promise<unknown>;

/** Decides the fate of each call. `undefined`: it passes. */
export type Rule = (verb: Verb, claims: readonly Claim[]) => Fate | undefined;

/** One call that was made. */
export interface Seen {
  /** Which. */
  readonly verb: Verb;
  /** The claims it names. */
  readonly claims: readonly Claim[];
}

/**
 * A real backend with a bad network in front of it: loses, delays and duplicates the calls and
 * replies between the core and the backend, and does nothing else.
 */
export class FaultyBackend implements Backend, Partition {
  readonly name: string;
  readonly traits: Traits;
  /** The fate of each call to come. */
  rule: Rule = () => "pass";
  /** Which claims the replies to renewals leave out, as if the store had not been able to say. */
  omit: (claim: Claim) => boolean = () => false;
  /** Every call so far. */
  readonly seen: Seen[] = [];
  /** How often it was disposed of. */
  disposals = 0;
  readonly #real: Backend;
  readonly #leave: () => Promise<void>;
  readonly #listeners = new Set<() => void>();
  readonly #watchers = new Set<Watcher>();
  #cut = false;
  #healed: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(real: Backend) {
    this.name = real.name;
    this.traits = real.traits;
    this.#real = real;
    this.#leave = use(real);
  }

  get backend(): Backend {
    return this;
  }

  cut(): void {
    this.#cut = true;
    const watchers = [...this.#watchers];
    this.#watchers.clear();
    for (const watcher of watchers) watcher.failed(new Error("the connection was cut by the test"));
  }

  heal(): void {
    this.#cut = false;
    this.rule = () => "pass";
    this.omit = () => false;
    this.#healed.resolve();
    this.#healed = Promise.withResolvers();
  }

  /** How many calls of a kind there were. */
  count(verb: Verb): number {
    return this.seen.filter((seen) => seen.verb === verb).length;
  }

  /** Resolves once there were `total` calls of a kind. The case itself has a time limit. */
  async called(verb: Verb, total: number = 1): Promise<void> {
    while (this.count(verb) < total) {
      await new Promise<void>((resolve) => this.#listeners.add(resolve));
      this.#listeners.clear();
    }
  }

  async lease(request: LeaseRequest, call: Call): Promise<Lease> {
    const told = (outcome: Gone, id?: string) => {
      if (!this.#cut) request.told(outcome, id);
    };
    const lease = await this.#carry("lease", [], call, () => this.#real.lease({ ...request, told }, call));
    return this.#wrap(lease);
  }

  list(scope: string, call: Call): Promise<Entry[]> {
    return this.#carry("list", [], call, () => this.#real.list(scope, call));
  }

  async watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    const guarded: Watcher = {
      changed: () => {
        if (!this.#cut) watcher.changed();
      },
      failed: (error) => watcher.failed(error),
    };
    const opened = await this.#carry("watch", [], call, () => this.#real.watch(key, guarded, call));
    this.#watchers.add(guarded);
    return {
      [Symbol.asyncDispose]: () => {
        this.#watchers.delete(guarded);
        return opened[Symbol.asyncDispose]();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disposals++;
    this.heal();
    await this.#leave();
  }

  #wrap(real: Lease): Lease {
    const carry = this.#carry.bind(this);
    const omits = (claim: Claim): boolean => this.omit(claim);
    return {
      get ttl(): number {
        return real.ttl;
      },
      attempt: (claim, call) => carry("attempt", [claim], call, (claims) => real.attempt(claims[0]!, call)),
      changed: (claim, call) => carry("changed", [claim], call, (claims) => real.changed(claims[0]!, call)),
      release: (claim, call) => carry("release", [claim], call, (claims) => real.release(claims[0]!, call)),
      close: (call) => carry("close", [], call, () => real.close(call)),
      async renew(claims, call): Promise<Map<string, Outcome>> {
        const outcomes = await carry("renew", claims, call, (claims) => real.renew(claims, call));
        return new Map(
          [...outcomes].filter(([id]) => !claims.some((claim) => claim.id === id && omits(claim))),
        );
      },
    };
  }

  async #carry<T>(
    verb: Verb,
    claims: readonly Claim[],
    call: Call,
    send: (claims: readonly Claim[]) => Promise<T>,
  ): Promise<T> {
    this.seen.push({ verb, claims });
    for (const listener of [...this.#listeners]) listener();
    const fate = this.#cut ? "hang" : this.rule(verb, claims) ?? "pass";
    if (fate === "refuse") throw new Error(`${verb}: refused by the test`);
    if (fate === "hang") return await this.#silence(call);
    if (fate === "mute") {
      send(claims).catch(() => {});
      return await this.#silence(call);
    }
    if (fate === "twice") send(claims).catch(() => {});
    const reply = await send(claims);
    if (fate === "lose") throw new Error(`${verb}: the reply was lost by the test`);
    if (typeof fate !== "string") await fate;
    return this.#cut ? await this.#silence(call) : reply;
  }

  /** Nothing comes back, until the connection breaks or nobody listens any more. */
  #silence(call: Call): Promise<never> {
    return new Promise((_, reject) => {
      const stop = (): void => reject(new Error("the connection was reset by the test"));
      if (call.signal.aborted) return stop();
      call.signal.addEventListener("abort", stop, { once: true });
      this.#healed.promise.then(stop);
    });
  }
}
