import { BackendError } from "../../../internal/errors.ts";
import type { Header } from "./messages.ts";
import type { Bounds, Calls, Port } from "./port.ts";

/**
 * The answers that a lease goes by: those of the cluster that has granted it, and none that is older
 * than one before it. A cluster restored from a backup or set up anew, or another one behind the same
 * address, knows nothing of this lease, and its "not found" does not mean that the lease is gone.
 */
export class Believed {
  readonly #port: Port;
  readonly #cluster: string;
  readonly #answered: () => void;
  readonly #foreign: () => void;
  /** The latest revision of an answer. */
  #seen: bigint;

  /** `granted` is the header that the lease came with; `answered` hears of good answers, `foreign` of others. */
  constructor(port: Port, granted: Header, heard: { answered(): void; foreign(): void }) {
    this.#port = port;
    this.#cluster = granted.cluster_id;
    this.#seen = BigInt(granted.revision);
    this.#answered = heard.answered;
    this.#foreign = heard.foreign;
  }

  /**
   * As {@linkcode Port.call}.
   *
   * @throws {BackendError} If the answer is not to be believed; what has come of the call is unknown.
   */
  async call<M extends keyof Calls>(method: M, request: Calls[M][0], bounds: Bounds): Promise<Calls[M][1]> {
    const seen = this.#seen;
    const reply = await this.#port.call(method, request, bounds);
    const { cluster_id, revision } = (reply as { header: Header }).header;
    // Only a transaction asks the other members; elsewhere a member tells its own revision, which may be behind.
    const now = method === "txn" ? BigInt(revision) : seen;
    if (cluster_id === this.#cluster && now >= seen) {
      if (now > this.#seen) this.#seen = now;
      this.#answered();
      return reply;
    }
    this.#foreign();
    const what = cluster_id === this.#cluster
      ? `it has gone back from revision ${seen} to ${now}`
      : "another cluster answers than the one that granted the lease";
    throw new BackendError(`Cannot believe etcd: ${what}; was it restored from a backup, or set up anew?`);
  }
}

/**
 * A deposed leader that does not know it yet acknowledges keep-alives too: what is to count comes from
 * one term.
 *
 * @throws {BackendError}
 */
export function sameTerm(headers: readonly Header[]): void {
  if (headers.every(({ raft_term }) => raft_term === headers[0]!.raft_term)) return;
  throw new BackendError("Cannot renew the etcd lease: its leader has changed meanwhile; ask again");
}
