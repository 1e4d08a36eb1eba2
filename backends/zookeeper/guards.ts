import type { LossReason } from "../../internal/backend.ts";
import type { Connection } from "./client/connection.ts";
import type { Session } from "./client/session.ts";
import type { Told, Watches } from "./client/watches.ts";
import { endOf, queueOf } from "./names.ts";
import type { OwnNode } from "./own_node.ts";
import type { OwnNodes } from "./own_nodes.ts";

/** Milliseconds: what is released again so soon is not worth a watch. */
const SOON = 20;

/** The watches on a session's own nodes: as long as one stands and is silent, its node is there. */
export class Guards {
  readonly #session: Session;
  readonly #watches: Watches;
  readonly #nodes: OwnNodes;
  readonly #taken: (node: OwnNode, why: LossReason) => void;
  readonly #unguarded = new Set<OwnNode>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `taken` is called once for a node that another client has removed. */
  constructor(
    session: Session,
    watches: Watches,
    nodes: OwnNodes,
    taken: (node: OwnNode, why: LossReason) => void,
  ) {
    this.#session = session;
    this.#watches = watches;
    this.#nodes = nodes;
    this.#taken = taken;
  }

  /** Sets one, unless there is one. Nothing waits for that. */
  set(node: OwnNode): void {
    const connection = this.#session.current;
    this.#unguarded.delete(node);
    if (node.guarded !== undefined || node.over || !connection) return;
    node.guarded = false;
    this.#watches.add(node.path, this.#guard(node), connection).then((isThere) => {
      if (!isThere) return this.#vanished(node);
      if (node.guarded !== undefined) node.guarded = true;
    }).catch(() => {}); // with its connection
  }

  /** Sets one in a moment. */
  soon(node: OwnNode): void {
    if (node.guarded !== undefined || node.over) return;
    this.#unguarded.add(node);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      for (const each of this.#unguarded) this.set(each);
    }, SOON);
  }

  /** No longer needed. */
  drop(node: OwnNode): void {
    this.#unguarded.delete(node);
    if (node.guard) this.#watches.remove(node.path, node.guard, this.#session.current);
    node.guard = node.guarded = undefined;
  }

  /** Sets all that are missing on a new connection; what has gone meanwhile is told first. */
  async restore(connection: Connection): Promise<void> {
    const guards = new Map<string, Told>();
    for (const node of this.#nodes.values()) {
      if (node.over) continue;
      guards.set(node.path, this.#guard(node));
      node.guarded = true;
    }
    await this.#watches.restore(guards, connection.lastZxid, connection);
  }

  /** Sets no more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#unguarded.clear();
  }

  #guard(node: OwnNode): Told {
    return node.guard = (type) => {
      node.guarded = node.guard = undefined;
      if (type === "deleted") this.#vanished(node).catch(() => {}); // the next connection tells again
      else this.set(node);
    };
  }

  async #vanished(node: OwnNode): Promise<void> {
    if (node.over) return;
    const why = endOf(node.name, queueOf(await this.#nodes.children(node.parent)));
    if (!node.over) this.#taken(node, why);
  }
}
