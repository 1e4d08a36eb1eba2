import type { Call } from "../../internal/backend.ts";
import type { Connection } from "./client/connection.ts";
import { queueKey } from "./names.ts";

/** The channel of a key, while claims to that key wait. */
interface Opening {
  readonly users: Set<object>;
  readonly ear: Promise<AsyncDisposable>;
  stands: boolean;
}

/**
 * In a Cluster with sharded channels, what those who wait for a key are told goes by the node that serves the key,
 * on a channel of this process for that key. Whoever does not wait needs none.
 */
export class KeyChannels {
  readonly #connection: Connection;
  readonly #heard: (text: string) => void;
  readonly #open = new Map<string, Opening>();

  constructor(connection: Connection, heard: (text: string) => void) {
    this.#connection = connection;
    this.#heard = heard;
  }

  /** Whether nothing is missed by who asks about this key from now on. */
  stands(key: string): boolean {
    return !this.#connection.sharded || this.#open.get(key)?.stands === true;
  }

  /** Resolves once nothing more is missed. */
  async join(key: string, user: object, call: Call): Promise<void> {
    let opening = this.#open.get(key);
    if (opening === undefined) {
      opening = { users: new Set(), ear: this.#listen(key, call), stands: false };
      this.#open.set(key, opening);
    }
    opening.users.add(user);
    try {
      await opening.ear;
      opening.stands = this.#open.get(key) === opening;
    } catch (error) {
      this.leave(key, user);
      throw error;
    }
  }

  /** The user waits no longer. */
  leave(key: string, user: object): void {
    const opening = this.#open.get(key);
    if (!opening?.users.delete(user) || opening.users.size > 0) return;
    this.#open.delete(key);
    void opening.ear.then((ear) => ear[Symbol.asyncDispose](), () => {});
  }

  /** The connection was closed. */
  clear(): void {
    this.#open.clear();
  }

  #listen(key: string, call: Call): Promise<AsyncDisposable> {
    const channel = (keyPrefix: string) => shardOf(this.#connection.channel, keyPrefix + queueKey(key));
    return this.#connection.listen(channel, {
      heard: this.#heard,
      deaf: () => void this.#open.delete(key),
    }, call);
  }
}

/** The channel of a process for one key, in the slot of that. */
function shardOf(channel: string, key: string): string {
  return channel + /\{[^}]*\}/.exec(key)![0];
}
