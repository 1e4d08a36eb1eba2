import type { Claim, LossReason, Mode, Outcome } from "../../mod.ts";
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
  readonly key: string;
  readonly mode: Mode;
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
  lost(why: LossReason, id?: string): void;
}

/** A lease, as the store sees it. */
export interface ServerLease extends Ears {
  ttl: number;
  /** By the store's clock. */
  expires: number;
  gone: LossReason | undefined;
  readonly entries: Set<Entry>;
}
