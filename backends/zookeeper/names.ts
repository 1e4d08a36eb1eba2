import type { Claim, LossReason } from "../../internal/backend.ts";
import type { Queued } from "../shared/own_claim.ts";

/**
 * A claim is an ephemeral child of its key's node: `_c_<id>-lock-<sequence>` for an exclusive one, as
 * Curator's `InterProcessMutex` names it, so that both exclude each other. What else a claim asks for
 * stands in the middle, where Curator does not look: `_c_<id>-shared-lock-`, `_c_<id>-limit3-lock-`.
 */
export interface ZooKeeperQueued extends Queued {
  /** As of {@linkcode Claim.id}; the name itself where another recipe has made it. */
  readonly id: string;
  /** Of the parent's children, the how manieth this was: 32 bits, which wrap. */
  readonly sequence: number;
  /** Whether the claim has removed those ahead of it. */
  readonly thief: boolean;
}

const CLAIM = /^_c_([0-9a-f-]+?)-(?:(shared)-|limit(\d+)-)?(steal-)?lock-$/;
/** `%010d`, which has a sign once the number has wrapped. */
const SEQUENCE = /(?:(?<=[-_])-\d{9,10}|\d{10})$/;

/** The name before the sequence number that the server appends. */
export function nameOf({ id, limit, steal }: Claim): string {
  const width = limit === Infinity ? "shared-" : limit === 1 ? "" : `limit${limit}-`;
  return `_c_${id}-${width}${steal ? "steal-" : ""}lock-`;
}

/** Whether the node is the claim's, whatever number it got. */
export function isOf(name: string, claim: Claim): boolean {
  return name.startsWith(`_c_${claim.id}-`);
}

/** Many claims may have asked for one list. */
const queues = new WeakMap<readonly string[], readonly ZooKeeperQueued[]>();

/** A key's children, in order of arrival. What has no sequence number is not a claim. */
export function queueOf(children: readonly string[]): readonly ZooKeeperQueued[] {
  const known = queues.get(children);
  if (known !== undefined) return known;
  const queue: ZooKeeperQueued[] = [];
  for (const name of children) {
    const sequence = SEQUENCE.exec(name)?.[0];
    if (sequence === undefined) continue;
    const [, id = name, shared, limit, thief] = CLAIM.exec(name.slice(0, -sequence.length)) ?? [];
    queue.push({
      name,
      id,
      sequence: Number(sequence),
      limit: shared ? Infinity : Number(limit ?? 1),
      thief: thief !== undefined,
    });
  }
  queues.set(children, queue.sort(byArrival));
  return queue;
}

/** The node of `prefix/key`. ZooKeeper keeps `/zookeeper` for itself; no encoded key reads `%7A`. */
export function pathOf(chroot: string, key: string): string {
  return `${chroot}/${key.replace(/^zookeeper\//, "%7Aookeeper/")}`;
}

/** What has become of a claim that is not in the queue: a thief behind its place says it. */
export function endOf(name: string, queue: readonly ZooKeeperQueued[]): LossReason {
  const [gone] = queueOf([name]);
  return queue.some((other) => other.thief && byArrival(gone!, other) < 0) ? "stolen" : "revoked";
}

function byArrival(a: ZooKeeperQueued, b: ZooKeeperQueued): number {
  return (a.sequence - b.sequence) | 0;
}
