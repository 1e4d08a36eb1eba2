import type { Core } from "./core.ts";
import { type Home, KeptLease } from "./kept_lease.ts";

/** So many unused leases may wait for their next use. */
const SPARE = 4;

/** The leases of a manager: the current one for each ttl, and those that are on their way out. */
export class Leases implements Home {
  readonly #core: Core;
  readonly #current = new Map<number, KeptLease>();
  readonly #opening = new Map<number, Promise<KeptLease>>();
  readonly #all = new Set<KeptLease>();

  constructor(core: Core) {
    this.#core = core;
  }

  /** The lease that new claims of this ttl go under, if there is one: no need to wait then. */
  current(ttl: number): KeptLease | undefined {
    const lease = this.#current.get(ttl);
    if (lease === undefined || lease.usable) return lease;
    this.#current.delete(ttl);
    lease.retire();
    return undefined;
  }

  /** Opens one; callers at the same time share it. */
  open(ttl: number): Promise<KeptLease> {
    let opening = this.#opening.get(ttl);
    if (opening === undefined) {
      opening = KeptLease.open(this.#core, ttl, this).then((lease) => {
        this.#all.add(lease);
        if (lease.usable) this.#current.set(ttl, lease);
        return lease;
      }).finally(() => this.#opening.delete(ttl));
      this.#opening.set(ttl, opening);
    }
    return opening;
  }

  /** It has ended. */
  forget(lease: KeptLease): void {
    this.#all.delete(lease);
    if (this.#current.get(lease.ttl) === lease) this.#current.delete(lease.ttl);
  }

  /** A caller whose every ttl is another one would else have a lease for each: those idle for longest end. */
  thin(): void {
    if (this.#current.size <= SPARE) return;
    const idle = [...this.#current.values()].filter(({ idleSince }) => idleSince < Infinity);
    idle.sort((one, other) => one.idleSince - other.idleSince);
    for (const lease of idle.slice(0, Math.max(0, idle.length - SPARE))) lease.retire();
  }

  /** Ends them all. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#opening.values());
    await Promise.all([...this.#all].map((lease) => lease.close()));
  }
}
