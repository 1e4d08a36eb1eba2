import { BackendError } from "../../internal/errors.ts";
import type { Connection } from "./connection.ts";
import { type Acl, code, createContainer, failedWith } from "./operations.ts";

const ALL = 31;
const READ_AND_CREATE = 5;
const REMEMBERED = 10_000;

/**
 * The nodes that claims are created under. They are containers: the server removes them when they
 * have stood empty for a while (`znode.container.checkIntervalMs`, a minute), without a race.
 */
export class Parents {
  /** What claims and their parents are created with. */
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

  /** Whether it is thought to be there. */
  has(path: string): boolean {
    return this.#known.has(path);
  }

  /** Sends the creation ahead of what needs it, unless the node has been seen. Never rejects. */
  make(path: string, connection: Connection, acl: readonly Acl[] = this.acl): void {
    if (this.#known.has(path)) return;
    connection.request(createContainer(path, acl)).catch(orThere).then(() => this.remember(path), () => {});
  }

  /** It is there. */
  remember(path: string): void {
    if (this.#known.size >= REMEMBERED) this.#known.clear();
    this.#known.add(path);
  }

  /** It is not there any more. Whether it was thought to be. */
  forget(path: string): boolean {
    return this.#known.delete(path);
  }

  /** It was not there: creates it, with its own parents. */
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

const ADVICE = new Map<number, string>([
  [code.noAuth, "give zookeeper() the username and password that its nodes were created with"],
  [code.invalidAcl, "give zookeeper() a username and password that the server knows"],
  [code.authFailed, "check the username and password of zookeeper()"],
  [code.unimplemented, "use ZooKeeper 3.5 or later"],
]);

/** An error that no repetition will mend is said to be one. */
export function refused(what: string, error: unknown): unknown {
  for (const [refusal, advice] of ADVICE) {
    if (failedWith(error, refusal)) {
      return new BackendError(`Cannot ${what} in ZooKeeper: ${(error as Error).message}; ${advice}`, {
        cause: error,
        retryable: false,
      });
    }
  }
  return error;
}
