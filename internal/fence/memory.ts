import { checkInput, refuseStale, type SyncFence } from "./fence.ts";

/**
 * A fence for a service of one process: it remembers as long as the process runs, one number for each key.
 * What must outlive the process, or has several, has its fence in the database.
 *
 * ```ts
 * import { acquire } from "@holdfast/lock";
 * import { memoryFence } from "@holdfast/lock/fence";
 *
 * const fence = memoryFence();
 * const ledger: string[] = [];
 * function write(key: string, token: bigint, text: string) {
 *   fence.checkSync(key, token); // throws a StaleTokenError; nothing comes between this line and the next
 *   ledger.push(text);
 * }
 *
 * await using lock = await acquire("ledger");
 * write(lock.key, lock.token, "paid");
 * ```
 *
 * A write that takes its time, such as one to a disk, is joined to its check only if writes to a key are done
 * one after the other.
 */
export function memoryFence(): SyncFence {
  const greatest = new Map<string, bigint>();
  const checkSync = (key: string, token: bigint): void => {
    checkInput(key, token);
    refuseStale(key, token, greatest.get(key) ?? 0n);
    greatest.set(key, token);
  };
  return { checkSync, check: async (key, token) => checkSync(key, token) };
}
