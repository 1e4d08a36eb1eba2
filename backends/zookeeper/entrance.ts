import type { Connection } from "./connection.ts";
import { isOf } from "./names.ts";
import * as op from "./operations.ts";
import type { Parents } from "./parents.ts";
import type { Seat } from "./seat.ts";
import type { Session } from "./session.ts";

const { code, failedWith } = op;

/** How claims get their nodes: once each, whatever becomes of the connection meanwhile. */
export class Entrance {
  readonly #session: Session;
  readonly #parents: Parents;

  /** For the claims of one session. */
  constructor(session: Session, parents: Parents) {
    this.#session = session;
    this.#parents = parents;
  }

  /** Who stands in the queue. */
  async children({ parent }: Seat, on?: Connection): Promise<readonly string[]> {
    return await this.#session.request(op.getChildren(parent, false), on).catch(op.ignore(code.noNode)) ?? [];
  }

  /**
   * Creates the node, and lists the queue as of a moment later: sent back to back, that is one round
   * trip.
   */
  async enter(seat: Seat): Promise<readonly string[]> {
    const { claim, parent } = seat;
    const connection = await this.#session.connection();
    if (seat.doubtful && await this.#find(seat, connection)) return this.children(seat, connection);
    const data = JSON.stringify({ client: claim.client, metadata: claim.metadata });
    const creation = op.create(seat.path, data, this.#parents.acl, op.EPHEMERAL_SEQUENTIAL);
    for (let tries = 1;; tries++) {
      if (seat.gone) return [];
      if (seat.withdrawn) throw new Error("the claim was withdrawn");
      seat.doubtful = true;
      this.#parents.make(parent, connection);
      const created = this.#session.request(creation, connection);
      const listed = this.children(seat, connection);
      listed.catch(() => {});
      try {
        const { path, stat } = await created;
        seat.enter(path.slice(parent.length + 1), stat.czxid);
        return await listed;
      } catch (error) {
        if (error instanceof op.ZooKeeperError && error.final) seat.doubtful = false;
        if (!failedWith(error, code.noNode) || tries > 3) throw error;
        // The server may have removed an empty parent that was seen before: then once more with it.
        if (!this.#parents.forget(parent)) await this.#parents.ensure(parent, connection);
      }
    }
  }

  /**
   * Looks for the node of a creation whose answer never came. A connection begins with a write, and
   * the session has moved to it with that: the list shows whatever older ones have done, and they can
   * do no more.
   */
  async #find(seat: Seat, connection: Connection): Promise<boolean> {
    for (const name of await this.children(seat, connection)) {
      if (!isOf(name, seat.claim)) continue;
      const path = `${seat.parent}/${name}`;
      const stat = await this.#session.request(op.exists(path, false), connection)
        .catch(op.ignore(code.noNode));
      if (stat?.ephemeralOwner === this.#session.id) {
        seat.enter(name, stat.czxid);
        return true;
      }
      // Of an earlier session, and gone with it at any moment: it must not be taken for ours (CURATOR-604).
      if (stat) await this.#session.request(op.remove(path), connection).catch(op.ignore(code.noNode));
    }
    seat.doubtful = false;
    if (seat.claim.progress === "entered") seat.gone ??= "revoked";
    return false;
  }
}
