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

  /** Nothing is sent yet. */
  constructor(session: Session, parents: Parents) {
    this.#session = session;
    this.#parents = parents;
  }

  /** One write, which the quorum has agreed on once this resolves, while the session was alive. */
  async write(connection: Connection): Promise<void> {
    const parent = `${this.#session.chroot}/${FOLDER}`;
    const path = `${parent}/${this.#name}`;
    const { acl, sharedAcl } = this.#parents;
    for (let tries = 1;; tries++) {
      try {
        if (this.#created) await this.#session.request(op.setData(path, ""), connection);
        else {
          this.#parents.make(parent, connection, sharedAcl);
          await this.#session.request(op.create(path, "", acl, op.EPHEMERAL), connection)
            .catch(op.ignore(op.code.nodeExists));
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
