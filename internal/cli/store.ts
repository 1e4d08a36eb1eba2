/** The manager that a command asks. */
import process from "node:process";
import { connect } from "../../connect.ts";
import type { LockManager } from "../manager.ts";
import { UsageError } from "./status.ts";

/** What every command may be told. */
export interface Common {
  readonly store?: string;
  readonly prefix?: string;
  readonly json?: boolean;
}

/** Where the locks are. */
export interface Place {
  /** By what the URL was given, for messages. */
  readonly from: string;
  readonly url: string;
  /** As of a manager, if it was given. */
  readonly prefix: string | undefined;
}

/**
 * The store that is named, by the option or by the environment, else the default one.
 *
 * @throws {UsageError} If no other process can see it.
 */
export function placeOf({ store, prefix = process.env.HOLDFAST_PREFIX }: Common): Place {
  const [from, url] = store !== undefined
    ? ["--store", store]
    : process.env.HOLDFAST_STORE
    ? ["HOLDFAST_STORE", process.env.HOLDFAST_STORE]
    : ["the default", "sqlite:"];
  if (/^memory:/i.test(url)) {
    throw new UsageError(`Cannot use ${from}: a lock in memory: is seen by no other process`);
  }
  return { from, url, prefix };
}

/** Opens the store that is named. */
export function open(options: Common): LockManager {
  const { from, url, prefix } = placeOf(options);
  try {
    return connect(url, prefix === undefined ? {} : { prefix });
  } catch (cause) {
    throw new UsageError(`${from}: ${(cause as Error).message}`, { cause });
  }
}
