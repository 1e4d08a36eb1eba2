import type { Queued } from "../shared/own_claim.ts";
import type { KeyValue } from "./client/messages.ts";
import { readName } from "./names.ts";

/** A key of a queue. */
export interface EtcdQueued extends Queued {
  /** Its create revision: its place in the order, and its fencing token. */
  readonly created: bigint;
  /** The revision from which on a watch of it misses nothing. */
  readonly since: bigint;
}

/** The queue in these keys, read at a revision, in order of arrival. */
export function queueOf(keys: readonly KeyValue[], revision: string = "0"): EtcdQueued[] {
  const since = BigInt(revision) + 1n;
  return keys
    .map(({ key, create_revision }): EtcdQueued => {
      const name = key.toString();
      return { name, created: BigInt(create_revision), limit: readName(name).limit, since };
    })
    .sort((a, b) => (a.created < b.created ? -1 : 1));
}
