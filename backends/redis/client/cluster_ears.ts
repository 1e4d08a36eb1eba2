import slotOf from "cluster-key-slot";

/** A connection to one node, by which messages come. */
export interface Ear {
  /** Resolves once the server has confirmed. */
  subscribe(channel: string): Promise<unknown>;
  /** The opposite. */
  unsubscribe(channel: string): Promise<unknown>;
  /** Resolves with any answer of the node. */
  ping(): Promise<unknown>;
  /** Closes it. */
  close(): void;
}

/** What is known of a Cluster. */
export interface Slots {
  /** The master that serves a slot; `undefined` if that is not known. */
  node(slot: number): string | undefined;
  /** Connects to it. */
  open(node: string): Promise<Ear>;
  /** Another node serves a slot than was known. */
  refresh(): void;
}

/** By which the channels come that belong to no slot. */
export type Ordinary = Pick<Ear, "subscribe" | "unsubscribe">;

/**
 * By which connections the messages of a Cluster come: those of sharded channels, which have the name of a key in
 * braces, by one to each node in whose slots there are listeners. If one of them ends, or a slot moves, so does the
 * whole link: who listens begins anew.
 */
export class ClusterEars {
  readonly #ordinary: Ordinary;
  /** `undefined`: there are no sharded channels. */
  readonly #slots: Slots | undefined;
  readonly #ears = new Map<string, Promise<Ear>>();
  #closed = false;

  constructor(ordinary: Ordinary, slots: Slots | undefined) {
    this.#ordinary = ordinary;
    this.#slots = slots;
  }

  /** Whether there are sharded channels. */
  get sharded(): boolean {
    return this.#slots !== undefined;
  }

  /** Resolves once nothing more is missed. */
  async subscribe(channel: string): Promise<void> {
    try {
      await (await this.#ear(channel)).subscribe(channel);
    } catch (error) {
      if (!/^MOVED /.test(error instanceof Error ? error.message : "")) throw error;
      this.#slots?.refresh();
      throw new Error("TRYAGAIN the slot of a channel has moved");
    }
  }

  /** The opposite. */
  async unsubscribe(channel: string): Promise<void> {
    await (await this.#ear(channel)).unsubscribe(channel);
  }

  /** Resolves once every node has answered. */
  async ping(): Promise<void> {
    await Promise.all([...this.#ears.values()].map(async (ear) => (await ear).ping()));
  }

  /** Closes all of them. */
  close(): void {
    this.#closed = true;
    for (const ear of this.#ears.values()) ear.then((ear) => ear.close(), () => {});
    this.#ears.clear();
  }

  async #ear(channel: string): Promise<Ordinary> {
    if (this.#slots === undefined || !channel.includes("{")) return this.#ordinary;
    const node = this.#slots.node(slotOf(channel));
    if (node === undefined || this.#closed) throw new Error("TRYAGAIN nobody serves this slot now");
    let ear = this.#ears.get(node);
    if (ear === undefined) {
      ear = this.#slots.open(node);
      this.#ears.set(node, ear);
      ear.catch(() => this.#ears.delete(node));
    }
    return await ear;
  }
}

/** Asks a Cluster whether it has sharded channels: since Redis 7.0, which is the first to say its version like this. */
export const HAS_SHARDS = "return redis.REDIS_VERSION_NUM and 1 or 0";
