import type { Connection } from "./connection.ts";
import * as op from "./operations.ts";
import { type Parents, refused } from "./parents.ts";
import type { Session } from "./session.ts";

/** No encoded prefix begins so. */
const FOLDER = "~sessions";

/** A session's own ephemeral node: something to write to, as a proof of life. */
export class SessionNode {
  readonly #session: Session;
  readonly #parents: Parents;
  readonly #name = crypto.randomUUID();
  #created = false;
  /** When the folder was made, which tells one ensemble from another. */
  #origin: string | undefined;

  /** Nothing is sent yet. */
  constructor(session: Session, parents: Parents) {
    this.#session = session;
    this.#parents = parents;
  }

  /** Whether the folder there is the one that the node was created in. */
  async isIn(connection: Connection): Promise<boolean> {
    return this.#origin !== undefined && this.#origin === await this.#originOf(connection);
  }

  async #originOf(connection: Connection): Promise<string | undefined> {
    const stat = await connection.request(op.exists(this.#folder, false)).catch(op.ignore(op.code.noNode));
    return stat && `${stat.czxid} ${stat.ctime}`;
  }

  get #folder(): string {
    return `${this.#session.chroot}/${FOLDER}`;
  }

  /** One write, which the quorum has agreed on once this resolves, while the session was alive. */
  async write(connection: Connection): Promise<void> {
    const parent = this.#folder;
    const path = `${parent}/${this.#name}`;
    const { acl, sharedAcl } = this.#parents;
    for (let tries = 1;; tries++) {
      try {
        if (this.#created) await this.#session.request(op.setData(path, ""), connection);
        else {
          this.#parents.make(parent, connection, sharedAcl);
          const created = this.#session.request(op.create(path, "", acl, op.EPHEMERAL), connection)
            .catch(op.ignore(op.code.nodeExists));
          const origin = this.#originOf(connection);
          origin.catch(() => {});
          await created;
          this.#origin = await origin;
        }
        this.#created = true;
        return;
      } catch (error) {
        if (!op.failedWith(error, op.code.noNode) || tries > 3) throw refused(`write to ${path}`, error);
        if (!this.#created) await this.#parents.ensure(parent, connection, sharedAcl);
        this.#created = false; // if it was, an operator has removed it
      }
    }
  }
}
