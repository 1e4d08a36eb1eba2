/**
 * What a store has to offer. A backend owns atomicity, the wire calls, the token and the wake-up;
 * the core owns validation, ids, deadlines, renewal, retries, cancellation, loss and events.
 * No timer and no retry of a lock operation belongs in a backend, and nothing of it keeps the process
 * alive: the core does, while something is asked, waited for or held.
 *
 * Every call is safe to repeat, and every call may be abandoned: the core stops listening at
 * `call.timeout` and treats the outcome as unknown. A rejected call is an unknown outcome too.
 */

/** Several holders at once ("shared", readers) or one ("exclusive"; several with a `limit`). */
export type Mode = "exclusive" | "shared";

/** The mode of a claim: readers are those whose number has no limit. */
export function modeOf(limit: number): Mode {
  return limit === Infinity ? "shared" : "exclusive";
}

/** How strong a fencing token is; see {@linkcode Traits.fencing}. */
export type Fencing = "consensus" | "durable" | "clock" | "process";

/** Why a lock was lost. */
export type LossReason = "expired" | "revoked" | "stolen";

/** What a store promises, as data: read by the core and by the conformance suite. */
export interface Traits {
  /**
   * Until when tokens rise: "consensus" until the store is restored from a backup, "durable" while
   * its file lives, "clock" while the servers' clocks do not step back, "process" while it runs.
   */
  readonly fencing: Fencing;
  /** "fifo": claims are served in order of arrival. "none": whoever wins. */
  readonly order: "fifo" | "none";
  /**
   * Whether calls arrive in the order in which they are sent. If not, the core sends the claims of a
   * process for one key one after the other.
   */
  readonly inOrder: boolean;
  /** Whether a finite `limit` above 1 (a counting semaphore) can be kept. */
  readonly semaphore: boolean;
  /** Smallest ttl, in milliseconds. */
  readonly minTtl: number;
  /** Greatest ttl, in milliseconds. */
  readonly maxTtl: number;
  /**
   * What restarts the store's timer. "claim": every acknowledged call that names the claim.
   * "lease": only the opening and the renewal of the lease; an attempt does not.
   */
  readonly timer: "claim" | "lease";
  /**
   * Milliseconds. An acknowledged renewal counts only once another one, sent at least this much after
   * its answer, is acknowledged too. 0: it counts at once.
   */
  readonly settle: number;
}

/** One call to the store. */
export interface Call {
  /** Aborts when the core does not wait for the answer any more; the outcome is then unknown. */
  readonly signal: AbortSignal;
  /** Milliseconds, from now, after which the core stops waiting. `Infinity` for `changed`. */
  readonly timeout: number;
}

/** A call about one claim. */
export interface Attempt extends Call {
  /**
   * The store has acknowledged the claim's place. If that is gone now, it was taken away, and an attempt
   * answers {@linkcode Gone} rather than enter again. Otherwise the claim may never have been sent, or its
   * attempts were not answered: it may have entered, and copies may still be under way.
   */
  readonly entered: boolean;
}

/** A request for a lock: a place in the queue of its key. Immutable: every call about it may name a copy. */
export interface Claim {
  /** Unguessable, `[0-9a-f-]`, never used twice, stable across retries. */
  readonly id: string;
  /** Prefix and key, encoded by `keys.ts`: `prefix/key` in printable ASCII, injective. */
  readonly key: string;
  /** 1 exclusive, n semaphore, Infinity shared. The one number the queue rule looks at. */
  readonly limit: number;
  /** Milliseconds, as asked. */
  readonly ttl: number;
  /** JSON text for others to see, at most 4 KiB. */
  readonly metadata: string | undefined;
  /** Id of the manager that claims, shown by `query()`. */
  readonly client: string;
  /** Remove everyone ahead, in one step, and hold. */
  readonly steal: boolean;
  /** false: take a place only if that place holds at once; leave nothing otherwise. */
  readonly wait: boolean;
  /** Keep it until its ttl has run out even where its process is known to be gone: it is about the time. */
  readonly outlives?: boolean;
}

/** The claim holds. */
export interface Grant {
  /** Discriminates {@linkcode Outcome}. */
  readonly state: "granted";
  /** Fencing token: of two grants that exclude each other, the later has the greater. */
  readonly token: bigint;
}

/** The claim has its place and does not hold yet; with `wait: false`, it has left no place. */
export interface Contended {
  /** Discriminates {@linkcode Outcome}. */
  readonly state: "contended";
  /**
   * Milliseconds from now after which to ask again even if nothing is heard (a holder's ttl). In an
   * answer to `renew` it says as well that the store has looked at the queue: as good as an attempt.
   */
  readonly recheck?: number;
}

/** The claim is known to be no longer in the store. */
export interface Gone {
  /** Discriminates {@linkcode Outcome}. */
  readonly state: "gone";
  /** What became of it, as far as the store can tell. */
  readonly why: LossReason;
}

/** What the store says of one claim. */
export type Outcome = Grant | Contended | Gone;

/** The heartbeat of many claims. Opened by a manager, one for each ttl in use. */
export interface Lease {
  /** Milliseconds the store really grants. May shrink at a renewal, never grow past the one asked. */
  readonly ttl: number;
  /**
   * Enters the queue or asks for the claim's standing. Idempotent by `claim.id`, which has one place at
   * most, ever: a repeat whose place has come and gone may not take another. After "contended" to a
   * claim that does not wait, no late copy of the attempt may enter, for it will not be released.
   */
  attempt(claim: Claim, call: Attempt): Promise<Outcome>;
  /**
   * Resolves when `attempt` is worth repeating, or with the outcome itself where the store pushes
   * it. Must not miss a change that came after the claim's last `attempt` was answered.
   */
  changed(claim: Claim, call: Call): Promise<Outcome | void>;
  /**
   * Gives up the lock or the place in the queue; never touches another claim. `true`: removed by
   * this call; `false`: it was not there. After it resolves, no late copy of an attempt may enter.
   */
  release(claim: Claim, call: Attempt): Promise<boolean>;
  /**
   * Restarts the store's timer and proves presence of claims that have entered: an outcome by id for each
   * that could be asked about. A claim left out is unknown (it will be asked about with `attempt`). Rejects if
   * nothing is known.
   */
  renew(claims: readonly Claim[], call: Call): Promise<Map<string, Outcome>>;
  /** Ends the lease and every claim under it. */
  close(call: Call): Promise<void>;
}

/** How a lease is opened. */
export interface LeaseRequest {
  /** Milliseconds asked for. */
  readonly ttl: number;
  /** Id of the manager. */
  readonly client: string;
  /**
   * For the backend to call when it learns, outside of any call, that a claim is gone from the
   * store, or with no id: that the whole lease is (a session that expired, a lease revoked).
   * Must be right: a loss is final.
   */
  readonly told: (outcome: Gone, id?: string) => void;
  /** For what the user of the manager should know of the store: its logger is told. */
  readonly warn: (message: string) => void;
}

/** One claim as `inspect()` and `query()` show it. */
export interface Entry {
  /** As {@linkcode Claim.key}. */
  readonly key: string;
  /** As {@linkcode Claim.id}. */
  readonly id: string;
  /** As {@linkcode Claim.client}. */
  readonly client: string;
  /** As {@linkcode Claim.limit}. */
  readonly limit: number;
  /** JSON text. */
  readonly metadata: string | undefined;
  /** Whether it holds; otherwise it waits. */
  readonly held: boolean;
  /** Fencing token of a holder. */
  readonly token?: bigint;
  /** Milliseconds until the store drops it unless renewed, where the store tells. */
  readonly remaining?: number;
}

/** What `watch` reports to. */
export interface Watcher {
  /** The queue of the key may have changed: it is worth listing again. May be called too often. */
  changed(): void;
  /** The watch has ended by itself, and with what. The core opens another. */
  failed(error: unknown): void;
}

/** A store. Nothing connects before the first call. The last manager over it to close disposes of it. */
export interface Backend extends AsyncDisposable {
  /** For messages: "redis", "etcd" ... */
  readonly name: string;
  /** What the store promises. */
  readonly traits: Traits;
  /** Opens a lease. */
  lease(request: LeaseRequest, call: Call): Promise<Lease>;
  /**
   * The entries of one key (`"prefix/key"`) or of all keys under a prefix (`"prefix/"`, recognised
   * by its trailing slash), those of one key in queue order.
   */
  list(scope: string, call: Call): Promise<Entry[]>;
  /** Resolves once the watch stands: from then on no change goes unreported. */
  watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable>;
}
