import type { LossReason } from "../../mod.ts";
import type { Network } from "./network.ts";
import type { Ears, ServerLease, StoreTraits } from "./records.ts";
import type { World } from "./world.ts";

/** Milliseconds, see `Traits.settle`: a ZooKeeper tick. Twice in a tick a follower tells its leader. */
export const SETTLE = 1_000;

/** Milliseconds for which a fault waits for its moment. */
const PATIENCE = 4_000;

/** The leases of a store, and when they end. */
export class Sessions {
  readonly all: Set<ServerLease> = new Set();
  readonly #world: World;
  readonly #network: Network;
  readonly #traits: StoreTraits;
  readonly #ended: (lease: ServerLease, why: LossReason) => void;
  #opened = 0;
  /** Renewals that a follower has not passed on yet. */
  #untold = new Set<ServerLease>();
  #telling = false;
  /** The follower is cut off from its leader: neither writes nor renewals get through. */
  severed = false;
  /** It will be, for that many milliseconds. */
  #severs: number | undefined;

  constructor(
    world: World,
    network: Network,
    traits: StoreTraits,
    ended: (lease: ServerLease, why: LossReason) => void,
  ) {
    this.#world = world;
    this.#network = network;
    this.#traits = traits;
    this.#ended = ended;
  }

  /** The store's clock. */
  get time(): number {
    return this.#world.now * this.#traits.rate;
  }

  /** Opens a lease. */
  open(ttl: number, ears: Ears): ServerLease {
    const lease: ServerLease = {
      process: ears.process,
      hear: (id, outcome) => ears.hear(id, outcome),
      lost: (why, id, token) => ears.lost(why, id, token),
      number: ++this.#opened,
      epoch: 0,
      ttl: ttl * this.#traits.grants,
      expires: this.time + ttl * this.#traits.grants,
      gone: undefined,
      entries: new Set(),
    };
    this.all.add(lease);
    if (this.#traits.kind !== "claim") this.#expect(lease);
    return lease;
  }

  /** Restarts the timer, or will. */
  touch(lease: ServerLease): void {
    if (this.#traits.kind !== "settle") lease.expires = this.time + lease.ttl;
    else {
      // The worst moment: a renewal has been answered, the next one is, and neither has been passed on.
      if (this.#untold.has(lease)) this.#cut();
      this.#untold.add(lease);
      this.#pass();
    }
  }

  /** The lease is over. */
  end(lease: ServerLease, why: LossReason, tell = false): void {
    if (lease.gone !== undefined) return;
    lease.gone = why;
    this.all.delete(lease);
    this.#ended(lease, why);
    if (tell) this.#network.push(lease.process, "end of the lease", () => lease.lost(why));
  }

  /** A restarted store gives every lease its full time again, as etcd does. */
  restart(): void {
    for (const lease of this.all) lease.expires = Math.max(lease.expires, this.time + lease.ttl);
  }

  /** Cuts the follower off, at the worst moment of the next seconds. */
  sever(ms: number): void {
    this.#severs = ms;
    this.#world.at(this.#world.now + PATIENCE, () => this.#cut(), false);
  }

  /** Follower and leader meet again. */
  heal(): void {
    this.#severs = undefined;
    this.severed = false;
    this.#tell();
  }

  #cut(): void {
    if (this.#severs === undefined) return;
    this.severed = true;
    this.#world.note("store", `its follower is cut off for ${Math.round(this.#severs)} ms`);
    this.#world.at(this.#world.now + this.#severs, () => this.heal(), false);
    this.#severs = undefined;
  }

  #expect(lease: ServerLease): void {
    const left = (lease.expires - this.time) / this.#traits.rate;
    this.#world.at(this.#world.now + left + this.#traits.late, () => {
      if (lease.gone !== undefined) return;
      if (lease.expires > this.time) this.#expect(lease);
      else this.end(lease, "expired", true);
    }, false);
  }

  #pass(): void {
    if (this.#telling) return;
    this.#telling = true;
    const half = SETTLE / 2;
    this.#world.at((Math.floor(this.#world.now / half) + 1) * half, () => {
      this.#telling = false;
      if (this.severed) this.#pass();
      else this.#tell();
    }, false);
  }

  /** The follower says who has been there; when it joins its leader again, it does so first of all. */
  #tell(): void {
    for (const lease of this.#untold) lease.expires = this.time + lease.ttl;
    this.#untold.clear();
  }
}
