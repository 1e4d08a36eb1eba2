import type { Connection } from "./connection.ts";
import { isOf } from "./names.ts";
import * as op from "./operations.ts";
import type { Parents } from "./parents.ts";
import type { Seat } from "./seat.ts";
import type { Session } from "./session.ts";
import { Turns } from "./turns.ts";

const { code, failedWith } = op;

/** How claims get their nodes: once each, whatever becomes of the connection meanwhile. */
export class Entrance {
  readonly #session: Session;
  readonly #parents: Parents;
  readonly #turns = new Turns();
  #arrivals = 0;

  /** For the claims of one session. */
  constructor(session: Session, parents: Parents) {
    this.#session = session;
    this.#parents = parents;
  }

  /** Who stands in the queue. */
  async children({ parent }: Seat, on?: Connection): Promise<readonly string[]> {
    return await this.#session.request(op.getChildren(parent, false), on).catch(op.ignore(code.noNode)) ?? [];
  }

  /** Creates the node, and lists the queue as of a moment later. */
  async enter(seat: Seat): Promise<readonly string[]> {
    const { parent } = seat;
    const arrival = this.#arrivals++;
    const connection = await this.#session.connection();
    if (seat.doubtful && await this.#find(seat, connection)) return this.children(seat, connection);
    for (;;) {
      if (this.#turns.taken(parent)) await this.#turns.wait(parent, arrival);
      else if (this.#parents.has(parent)) {
        const children = await this.#create(seat, connection);
        if (children) return children;
        // The server has removed the parent while it was empty.
        this.#parents.forget(parent);
      } else return await this.#turns.take(parent, () => this.#createAll(seat, connection));
    }
  }

  /** Creates the node and whatever it lacks above it. */
  async #createAll(seat: Seat, connection: Connection): Promise<readonly string[]> {
    const { parent } = seat;
    for (let tries = 1;; tries++) {
      const children = await this.#create(seat, connection);
      if (children) return children;
      if (tries > 3) throw new Error(`${parent} is removed whenever it has been created`);
      // The parent may have been made and removed: then once more with it.
      if (!this.#parents.forget(parent)) await this.#parents.ensure(parent, connection);
    }
  }

  /** The creation and the list are sent back to back: one round trip. `undefined`: it has no parent. */
  async #create(seat: Seat, connection: Connection): Promise<readonly string[] | undefined> {
    if (seat.gone) return [];
    if (seat.withdrawn) throw new Error("the claim was withdrawn");
    const { claim, parent } = seat;
    const data = JSON.stringify({ client: claim.client, metadata: claim.metadata });
    seat.doubtful = true;
    this.#parents.make(parent, connection);
    const created = this.#session.request(
      op.create(seat.path, data, this.#parents.acl, op.EPHEMERAL_SEQUENTIAL),
      connection,
    );
    const listed = this.children(seat, connection);
    listed.catch(() => {});
    try {
      const { path, stat } = await created;
      seat.enter(path.slice(parent.length + 1), stat.czxid);
      // Whoever may not create the parent would have to wait for its turn each time.
      if (!this.#parents.has(parent)) this.#parents.remember(parent);
      return await listed;
    } catch (error) {
      if (error instanceof op.ZooKeeperError && error.final) seat.doubtful = false;
      if (!failedWith(error, code.noNode)) throw error;
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
