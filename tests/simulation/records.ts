import type { Claim, LossReason, Outcome } from "../../mod.ts";
import type { SimProcess } from "./process.ts";

/** What kind of store it is. */
export interface StoreTraits {
  /**
   * "claim": each claim has a timer, which every call that names it restarts, and what has expired is
   * dropped when somebody asks (Redis, SQLite). "lease": the timer is the lease's and only a renewal
   * restarts it (etcd, Consul). "settle": so it is, but a renewal reaches the timer later than its
   * answer reaches the client, if at all (a ZooKeeper follower that passes it on to its leader).
   */
  readonly kind: "claim" | "lease" | "settle";
  /** Grants are pushed; otherwise a client watches the claims that keep it waiting. */
  readonly push: boolean;
  /** How its clock goes against true time. */
  readonly rate: number;
  /** Milliseconds by which it may drop a lease too late. */
  readonly late: number;
  /** The ttl it grants, as a share of what is asked. */
  readonly grants: number;
}

/** A claim in the store. */
export interface Entry {
  readonly id: string;
  /** By which a lease over queues knows it; the id, to others. */
  readonly name: string;
  readonly key: string;
  readonly limit: number;
  readonly lease: ServerLease;
  /** Place in the queue and fencing token. */
  readonly token: bigint;
  /** By the store's clock; Infinity where the lease has the timer. */
  expires: number;
  held: boolean;
  /** True time. */
  readonly entered: number;
  granted: number;
}

/** What an attempt says, frozen at its sending. */
export interface Request extends Claim {
  /** As of `Attempt`. */
  readonly entered: boolean;
  /** By the store's clock: it may not enter after this. */
  readonly latest: number;
}

/** What the store says of a claim. */
export type Standing =
  | { readonly state: "present"; readonly queue: readonly Place[]; readonly recheck?: number }
  | { readonly state: "passed" }
  | { readonly state: "late" }
  | { readonly state: "gone"; readonly why: LossReason }
  | { readonly state: "lease gone"; readonly why: LossReason };

/** What an attempt of a lease over queues says. */
export interface Append extends Claim {
  /** Of its entry, which another one may have had. */
  readonly name: string;
  /** The number of the lease that it was sent under. */
  readonly epoch: number;
}

/** What the store says of it. */
export type Appended =
  | { readonly state: "present"; readonly view: { readonly queue: readonly Named[]; readonly token: bigint } }
  | { readonly state: "passed" }
  | { readonly state: "fenced"; readonly epoch: number }
  | { readonly state: "lease gone"; readonly why: LossReason };

/** An entry as a lease over queues sees it. */
export interface Named extends Place {
  readonly name: string;
}

/** An entry as clients see it. */
export interface Place {
  readonly id: string;
  readonly limit: number;
  readonly token: bigint;
}

/** Who looks at what the store really does. */
export interface Witness {
  entered(entry: Entry): void;
  granted(entry: Entry, queue: readonly Entry[]): void;
  left(entry: Entry, why: LossReason | "released"): void;
}

/** What a process' client hears, whatever it has asked. */
export interface Ears {
  readonly process: SimProcess;
  hear(id: string, outcome: Outcome): void;
  lost(why: LossReason, id?: string, token?: bigint): void;
}

/** A lease, as the store sees it. */
export interface ServerLease extends Ears {
  /** Tells it from others. */
  readonly number: number;
  /** What attempts under it have to bear: raised to keep those out that were sent before. */
  epoch: number;
  ttl: number;
  /** By the store's clock. */
  expires: number;
  gone: LossReason | undefined;
  readonly entries: Set<Entry>;
}
