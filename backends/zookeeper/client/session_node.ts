import type { Connection } from "./connection.ts";
import { code, failedWith, ignore, refused } from "./errors.ts";
import { create, EPHEMERAL, exists, setData } from "./operations.ts";
import type { Parents } from "./parents.ts";

/** No encoded prefix begins so. */
const FOLDER = "~sessions";

/** A session's own ephemeral node: something to write to, as a proof of life. */
export class SessionNode {
  readonly #parents: Parents;
  readonly #name = crypto.randomUUID();
  #created = false;
  /** When the folder was made, which tells one ensemble from another. */
  #origin: string | undefined;

  /** Nothing is sent yet. */
  constructor(parents: Parents) {
    this.#parents = parents;
  }

  /** Whether the folder there is the one that the node was created in. */
  async isIn(chroot: string, connection: Connection): Promise<boolean> {
    return this.#origin !== undefined && this.#origin === await originOf(`${chroot}/${FOLDER}`, connection);
  }

  /** One write, which the quorum has agreed on once this resolves, while the session was alive. */
  async write(chroot: string, connection: Connection): Promise<void> {
    const folder = `${chroot}/${FOLDER}`;
    const path = `${folder}/${this.#name}`;
    const { acl, sharedAcl } = this.#parents;
    for (let tries = 1;; tries++) {
      try {
        if (this.#created) await connection.request(setData(path, ""));
        else {
          this.#parents.make(folder, connection, sharedAcl);
          const created = connection.request(create(path, "", acl, EPHEMERAL)).catch(ignore(code.nodeExists));
          const origin = originOf(folder, connection);
          origin.catch(() => {});
          await created;
          this.#origin = await origin;
        }
        this.#created = true;
        return;
      } catch (error) {
        if (!failedWith(error, code.noNode) || tries > 3) throw refused(`write to ${path}`, error);
        if (!this.#created) await this.#parents.ensure(folder, connection, sharedAcl);
        this.#created = false; // if it was, an operator has removed it
      }
    }
  }
}

async function originOf(folder: string, connection: Connection): Promise<string | undefined> {
  const stat = await connection.request(exists(folder, false)).catch(ignore(code.noNode));
  return stat && `${stat.czxid} ${stat.ctime}`;
}
