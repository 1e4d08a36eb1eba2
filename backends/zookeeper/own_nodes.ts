import type { Found, Send } from "../shared/queues.ts";
import type { Connection } from "./client/connection.ts";
import { code, failedWith, ignore, ZooKeeperError } from "./client/errors.ts";
import * as op from "./client/operations.ts";
import type { Parents } from "./client/parents.ts";
import type { Session } from "./client/session.ts";
import { isOf, nameOf, pathOf, type ZooKeeperQueued } from "./names.ts";
import { type Own, OwnNode } from "./own_node.ts";

/** What need not always be waited for. */
export type MaybeLater<T> = T | Promise<T>;

/** A node, and the names in its queue. */
export interface Seen {
  readonly node: OwnNode;
  readonly children: readonly string[];
  /** Where that was seen. */
  readonly connection: Connection;
}

/** What is made of that. */
type Stand = (seen: Seen) => MaybeLater<Found<ZooKeeperQueued>>;

/**
 * A parent is being made. Claims that come meanwhile would find the parent there and overtake; they wait, and go on in
 * the order in which they have come: first those that had come before and found none.
 */
interface Making {
  readonly first: PromiseWithResolvers<void>;
  readonly then: PromiseWithResolvers<void>;
}

/** The nodes of a session's claims: each claim gets one, whatever becomes of the connection meanwhile. */
export class OwnNodes {
  readonly #session: Session;
  readonly #parents: Parents;
  readonly #nodes = new Map<Own, OwnNode>();
  /** By path. */
  readonly #making = new Map<string, Making>();

  /** For the claims of one session. */
  constructor(session: Session, parents: Parents) {
    this.#session = session;
    this.#parents = parents;
  }

  /** The claim's node, once the server has told of it. */
  get(own: Own): OwnNode | undefined {
    return this.#nodes.get(own);
  }

  /** All of them. */
  values(): OwnNode[] {
    return [...this.#nodes.values()];
  }

  /** The node is gone. */
  drop(node: OwnNode): void {
    node.over = true;
    this.#nodes.delete(node.own);
  }

  /** The path of the claim's key. */
  parentOf({ claim }: Own): string {
    return pathOf(this.#session.chroot, claim.key);
  }

  /** The names in a queue. */
  children(parent: string, on?: Connection): Promise<readonly string[]> {
    return this.#session.request(op.getChildren(parent, false), on).catch(nothing);
  }

  /** Creates the claim's node, unless there is one, and has `stand` look at the queue as of a moment later. */
  async enter(own: Own, send: Send, stand: Stand): Promise<Found<ZooKeeperQueued>> {
    const parent = this.parentOf(own);
    const connection = this.#session.current ?? await this.#session.connection();
    if (own.doubts > 0) {
      const children = await this.children(parent, connection);
      const node = this.#nodes.get(own) ?? await this.#find(own, parent, children, connection);
      if (node !== undefined) return await stand({ node, children, connection });
    }
    const create = () => this.#create(own, parent, connection, send, stand);
    let foundNone = false;
    for (;;) {
      const making = this.#making.get(parent);
      if (making !== undefined) await (foundNone ? making.first : making.then).promise;
      else if (this.#parents.has(parent)) {
        const found = await create();
        if (found) return found;
        this.#parents.forget(parent); // the server has removed it while it was empty
        foundNone = true;
      } else return await this.#createAll(parent, connection, create);
    }
  }

  /**
   * The name of the claim's node after a creation without an answer. A connection begins with a write, and the session
   * has moved to the connection with that: a list shows what older connections have done, and they can do no more.
   */
  async find(own: Own): Promise<string | undefined> {
    const children = await this.children(this.parentOf(own));
    return children.find((name) => isOf(name, own.claim));
  }

  /** The same with its token, in a list that is there already. */
  async #find(
    own: Own,
    parent: string,
    children: readonly string[],
    connection: Connection,
  ): Promise<OwnNode | undefined> {
    for (const name of children) {
      if (!isOf(name, own.claim)) continue;
      const path = `${parent}/${name}`;
      const stat = await this.#session.request(op.exists(path, false), connection).catch(ignore(code.noNode));
      if (stat?.ephemeralOwner === this.#session.id) return this.#add(own, parent, name, stat.czxid);
      // Of an earlier session, and gone with it at any moment: it must not be taken for ours (CURATOR-604).
      if (stat) await this.#session.request(op.remove(path), connection).catch(ignore(code.noNode));
    }
  }

  /** Creates the node and whatever it lacks above it. */
  async #createAll<T>(
    parent: string,
    connection: Connection,
    create: () => Promise<T | undefined>,
  ): Promise<T> {
    const making: Making = { first: Promise.withResolvers(), then: Promise.withResolvers() };
    this.#making.set(parent, making);
    try {
      for (let tries = 1;; tries++) {
        const found = await create();
        if (found) return found;
        if (tries > 3) throw new Error(`${parent} is removed whenever it has been created`);
        // The parent may have been made and removed: then once more with it.
        if (!this.#parents.forget(parent)) await this.#parents.ensure(parent, connection);
      }
    } finally {
      this.#making.delete(parent);
      making.first.resolve();
      making.then.resolve();
    }
  }

  /** The creation and the list are sent back to back: one round trip. `undefined`: it has no parent. */
  async #create(
    own: Own,
    parent: string,
    connection: Connection,
    send: Send,
    stand: Stand,
  ): Promise<Found<ZooKeeperQueued> | undefined> {
    const { client, metadata } = own.claim;
    const data = JSON.stringify({ client, metadata });
    const path = `${parent}/${nameOf(own.claim)}`;
    // All of it is one attempt: a node of which no more is known than that it is there is as good as one in doubt.
    const found = await send(async () => {
      this.#parents.make(parent, connection);
      const creation = op.create(path, data, this.#parents.acl, op.EPHEMERAL_SEQUENTIAL);
      const created = this.#session.request(creation, connection).catch(finalRefusal);
      const listed = this.children(parent, connection);
      listed.catch(() => {});
      const made = await created;
      if (made instanceof ZooKeeperError) return made;
      const node = this.#add(own, parent, made.path.slice(parent.length + 1), made.stat.czxid);
      // A user who may not create the parent would have to wait for a turn each time.
      if (!this.#parents.has(parent)) this.#parents.remember(parent);
      return await stand({ node, children: await listed, connection });
    });
    if (!(found instanceof ZooKeeperError)) return found;
    if (!failedWith(found, code.noNode)) throw found;
  }

  #add(own: Own, parent: string, name: string, czxid: bigint): OwnNode {
    const node = new OwnNode(own, parent, name, czxid);
    this.#nodes.set(own, node);
    return node;
  }
}

/** For `catch`: a queue that nothing has entered. */
function nothing(error: unknown): readonly string[] {
  return ignore(code.noNode)(error) ?? [];
}

/** For `catch`: a refusal without effect is an answer like others. */
function finalRefusal(error: unknown): ZooKeeperError {
  if (error instanceof ZooKeeperError && error.final) return error;
  throw error;
}
