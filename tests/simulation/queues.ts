import type { Call, Gone } from "../../mod.ts";
import type { OwnClaim, Queued } from "../../backends/shared/own_claim.ts";
import type { Ears, Found, Queues, Send } from "../../backends/shared/queues.ts";
import type { Surroundings } from "./client.ts";
import type { SimProcess } from "./process.ts";
import type { Appended, Place, ServerLease } from "./records.ts";

/** An entry, as a client sees it. */
export interface SimQueued extends Queued, Place {}

type Own = OwnClaim<SimQueued>;

/**
 * A store's adapter for the real `QueueLease`: what etcd, Consul and ZooKeeper can do, and nothing else. Entries have
 * names that are used again; what keeps late attempts out is a number of the lease that each attempt bears.
 */
export class SimQueues implements Queues<SimQueued> {
  readonly #process: SimProcess;
  readonly #around: Surroundings;
  readonly #lease: ServerLease;
  readonly #ears: Ears<SimQueued>;
  /** The number of the lease, as far as is known. */
  #epoch = 0;

  constructor(process: SimProcess, around: Surroundings, lease: ServerLease, ears: Ears<SimQueued>) {
    this.#process = process;
    this.#around = around;
    this.#lease = lease;
    this.#ears = ears;
  }

  get ttl(): number {
    return this.#lease.ttl;
  }

  /** What the server says by itself. */
  told({ why }: Gone, id?: string, token?: bigint): void {
    if (id === undefined) return this.#ears.ended(why);
    const own = this.#ears.owned().find(({ claim }) => claim.id === id);
    if (own !== undefined && own.token === token) this.#ears.lost(own, why);
  }

  async enter(own: Own, _call: Call, send: Send): Promise<Found<SimQueued>> {
    const { store } = this.#around;
    for (;;) {
      const request = { ...own.claim, name: this.#nameOf(own), epoch: this.#epoch };
      const said = await send((doubt) =>
        this.#ask<Appended>("attempt", own, (answer) => answer(store.append(this.#lease, request)), doubt)
      );
      if (said.state === "present") return said.view;
      if (said.state === "passed") return { state: "contended" };
      if (said.state === "lease gone") throw this.#ended(said.why);
      this.#epoch = Math.max(this.#epoch, said.epoch);
    }
  }

  async read(own: Own): Promise<Found<SimQueued>> {
    const { store } = this.#around;
    const name = this.#nameOf(own);
    const { inherits } = own;
    return await this.#ask<Found<SimQueued>>("look", own, (answer) => {
      const view = store.view(name, own.token);
      if (view === undefined) answer(store.fate(own.claim.id));
      // All that is asked then is whether it is there.
      else answer(inherits ? { ...view, queue: view.queue.slice(-1) } : view);
    });
  }

  async leave(own: Own): Promise<boolean> {
    const { store } = this.#around;
    const name = this.#nameOf(own);
    const fence = own.doubts > 0;
    const token = fence ? undefined : own.token;
    const { removed, epoch } = await this.#ask<{ removed: boolean; epoch: number }>(
      "release",
      own,
      (answer) => {
        answer(store.leave(this.#lease, name, { token, fence }));
      },
    );
    this.#epoch = Math.max(this.#epoch, epoch);
    return removed;
  }

  async departure(own: Own, ahead: readonly SimQueued[]): Promise<boolean> {
    const { store } = this.#around;
    const ids = ahead.map(({ id }) => id);
    await this.#ask<void>("watch", own, (answer) => store.watch(ids, answer));
    return true;
  }

  async renew(owns: readonly Own[]): Promise<Map<Own, Found<SimQueued>>> {
    const { store, random, partial } = this.#around;
    const asked = owns.filter(() => !random.chance(partial));
    const names = asked.map((own) => [this.#nameOf(own), own.token, own.claim.id] as const);
    const found = await this.#ask<Found<SimQueued>[] | undefined>("renewal", undefined, (answer) => {
      if (this.#lease.gone !== undefined) return answer(undefined);
      store.sessions.touch(this.#lease);
      answer(names.map(([name, token, id]) => store.view(name, token) ?? store.fate(id)));
    });
    if (found === undefined) throw this.#ended("expired");
    return new Map(asked.map((own, at) => [own, found[at]!]));
  }

  async close(): Promise<void> {
    const { store } = this.#around;
    await this.#ask<void>("close", undefined, (answer) => answer(store.close(this.#lease)));
  }

  #ended(why: Gone["why"]): Error {
    this.#ears.ended(this.#lease.gone ?? why);
    return new Error("the lease is gone");
  }

  #nameOf({ claim: { key }, number }: Own): string {
    return `${key}/${this.#lease.number}-${number}`;
  }

  #ask<T>(
    what: string,
    own: Own | undefined,
    handle: (answer: (reply: T) => void) => void,
    doubt?: () => void,
  ): Promise<T> {
    const { network, store, name } = this.#around;
    return network.call<T>(
      this.#process,
      own === undefined ? what : `${what} ${name(own.claim.id)}`,
      // A follower without a leader answers nothing that can be relied on.
      (answer) => void (store.sessions.severed || handle(answer)),
      doubt,
    );
  }
}
