import type { KeyValue } from "./messages.ts";
import type { Claim, Contended, Grant } from "../../internal/backend.ts";
import { watched } from "../../internal/queue.ts";
import { nameOf, readName } from "./names.ts";

/** A key of a queue, as the queue rule looks at it. */
export interface Entrant {
  readonly name: string;
  /** Its create revision: its place in the queue, and its fencing token. */
  readonly created: bigint;
  readonly limit: number;
}

/** A key as an entrant. */
export function entrant({ key, create_revision }: KeyValue): Entrant {
  const name = key.toString();
  return { name, created: BigInt(create_revision), limit: readName(name).limit };
}

/** The queue in these keys, in order of arrival. */
export function queueOf(keys: readonly KeyValue[]): Entrant[] {
  return keys.map(entrant).sort((a, b) => (a.created < b.created ? -1 : 1));
}

/** What a lease knows of one of its claims. */
export class Place {
  readonly claim: Claim;
  /** Its number among the claims of its lease on its key. */
  readonly n: number;
  /** Its key in etcd. */
  readonly name: string;
  /** Its create revision, once etcd has told. */
  created: bigint | undefined;
  held = false;
  /** Attempts whose answer never came: as many copies may still be under way. */
  doubts = 0;
  /** Given up: no attempt may be sent any more. */
  withdrawn = false;
  /** A thief has said so. */
  stolen = false;
  /** Whom to watch while it waits, from this revision on. */
  ahead: readonly string[] = [];
  since = 0n;

  constructor(claim: Claim, lease: string, n: number) {
    this.claim = claim;
    this.n = n;
    this.name = nameOf(claim, lease, n);
  }

  /** What others may know of it. */
  get value(): string {
    const { id, client, metadata } = this.claim;
    return JSON.stringify({ id, client, metadata });
  }

  /** It holds, under the token that etcd gave it. */
  grant(): Grant {
    this.held = true;
    this.ahead = [];
    return { state: "granted", token: this.created! };
  }

  /**
   * How it stands in a queue read at `revision`, `undefined` if it is not in it. An exclusive claim
   * needs no more of the queue than its predecessor and itself.
   */
  standing(queue: readonly Entrant[], revision: bigint): Grant | Contended | undefined {
    const index = queue.findIndex(({ name, created }) =>
      name === this.name && created === (this.created ?? created)
    );
    if (index < 0) return undefined;
    this.created = queue[index]!.created;
    const ahead = watched(queue, index);
    if (ahead.length === 0) return this.grant();
    this.ahead = ahead.map(({ name }) => name);
    this.since = revision + 1n;
    return { state: "contended" };
  }
}
