import { encodeName, type Fence } from "./fence.ts";
import { remember } from "./register.ts";

/** A client of the package `consul`, as far as it is used. */
export interface ConsulKeys {
  /** Its keys. */
  readonly kv: {
    /** Resolves with the entry, if there is one. */
    get(options: { key: string; consistent: boolean }): Promise<unknown>;
    /** Puts a value in the place of that with this index, 0 for none; resolves with whether it did. */
    set(options: { key: string; value: string; cas: number }): Promise<unknown>;
  };
}

/** What holds as long as no later holder was here: an operation for one's own transaction. */
export interface ConsulGuard {
  /** As `/v1/txn` has it. */
  readonly KV: { readonly Verb: "check-index"; readonly Key: string; readonly Index: number };
}

/** What {@linkcode consulFence} gives. */
export interface ConsulFence extends Fence {
  /**
   * Checks, and gives what joins the write to it. It may be used for many writes of the holder. Should a
   * transaction fail (status 409), `check` says whether that was why.
   *
   * @throws {StaleTokenError} if a later holder was here before
   */
  guard(key: string, token: bigint): Promise<ConsulGuard>;
}

/**
 * A fence in Consul. The write is a transaction of one's own, joined to the check by an operation:
 *
 * ```ts
 * import { acquire } from "@holdfast/lock";
 * import { consulFence } from "@holdfast/lock/fence";
 * import Consul from "consul";
 *
 * const client = new Consul({ host: "127.0.0.1", port: 8500 });
 * const fence = consulFence(client);
 * await using lock = await acquire("config");
 * const guard = await fence.guard(lock.key, lock.token);
 * try {
 *   const write = { KV: { Verb: "set", Key: "config/mode", Value: btoa("maintenance") } };
 *   await client.transaction.create([guard, write] as never); // whose types want something else
 * } catch (error) {
 *   await fence.check(lock.key, lock.token); // throws a StaleTokenError if that was why
 *   throw error;
 * }
 * client.destroy();
 * ```
 *
 * It remembers one key of Consul for each key of a lock, `holdfast-fence/` and its name; do not delete those.
 *
 * @throws {TypeError} if it is no such client
 */
export function consulFence(client: ConsulKeys): ConsulFence {
  const kv = client?.kv;
  if (typeof kv?.get !== "function" || typeof kv.set !== "function") {
    throw new TypeError("Expected a client of the package consul, or an object with kv.get and kv.set");
  }
  const guard = async (key: string, token: bigint): Promise<ConsulGuard> => {
    const path = `holdfast-fence/${encodeName(key)}`;
    const index = await remember(
      {
        async read() {
          const found = await kv.get({ key: path, consistent: true }) as Entry | null | undefined;
          return found ? { value: found.Value, version: found.ModifyIndex } : undefined;
        },
        write: (value, version = 0) => kv.set({ key: path, value, cas: version }),
      },
      key,
      token,
    );
    return { KV: { Verb: "check-index", Key: path, Index: index } };
  };
  return { guard, check: async (key, token) => void await guard(key, token) };
}

interface Entry {
  readonly Value: string;
  readonly ModifyIndex: number;
}
