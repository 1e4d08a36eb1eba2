import type { Connection } from "./connection.ts";
import { code, failedWith } from "./errors.ts";
import { type Acl, createContainer } from "./operations.ts";

const ALL = 31;
const READ_AND_CREATE = 5;
const REMEMBERED = 10_000;

/**
 * The nodes that others are created under. They are containers: the server removes them when they
 * have stood empty for a while (`znode.container.checkIntervalMs`, a minute), without a race.
 */
export class Parents {
  /** What nodes and their parents are created with. */
  readonly acl: readonly Acl[];
  /** For a folder shared with users of other credentials. */
  readonly sharedAcl: readonly Acl[];
  readonly #known = new Set<string>();

  /** With credentials, all but {@linkcode sharedAcl} is for their owner only. */
  constructor(authenticated: boolean) {
    const world = (perms: number): Acl => ({ perms, scheme: "world", id: "anyone" });
    const own: Acl = { perms: ALL, scheme: "auth", id: "" };
    this.acl = [authenticated ? own : world(ALL)];
    this.sharedAcl = authenticated ? [own, world(READ_AND_CREATE)] : this.acl;
  }

  /** Whether the node is thought to be there. */
  has(path: string): boolean {
    return this.#known.has(path);
  }

  /** Sends the creation ahead of what needs it, unless the node has been seen. Never rejects. */
  make(path: string, connection: Connection, acl: readonly Acl[] = this.acl): void {
    if (this.#known.has(path)) return;
    connection.request(createContainer(path, acl)).catch(orThere).then(() => this.remember(path), () => {});
  }

  /** The node is there. */
  remember(path: string): void {
    if (this.#known.size >= REMEMBERED) this.#known.clear();
    this.#known.add(path);
  }

  /** The node is not there any more. Whether it was thought to be. */
  forget(path: string): boolean {
    return this.#known.delete(path);
  }

  /** The node was not there: creates it, with its own parents. */
  async ensure(path: string, connection: Connection, acl: readonly Acl[] = this.acl): Promise<void> {
    try {
      await connection.request(createContainer(path, acl)).catch(orThere);
    } catch (error) {
      const parent = path.slice(0, path.lastIndexOf("/"));
      if (!failedWith(error, code.noNode) || parent === "") throw error;
      await this.ensure(parent, connection);
      await connection.request(createContainer(path, acl)).catch(orThere);
    }
  }
}

function orThere(error: unknown): void {
  if (!failedWith(error, code.nodeExists)) throw error;
}
