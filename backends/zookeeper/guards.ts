import type { LossReason } from "../../internal/backend.ts";
import type { Connection } from "./connection.ts";
import type { Entrance } from "./entrance.ts";
import { endOf, queueOf } from "./names.ts";
import type { Seat } from "./seat.ts";
import type { Session } from "./session.ts";
import type { Told, Watches } from "./watches.ts";

/** Milliseconds: what is released again so soon is not worth a watch. */
const SOON = 20;

/** The watches on a session's own nodes: as long as one stands and is silent, its node is there. */
export class Guards {
  readonly #session: Session;
  readonly #watches: Watches;
  readonly #entrance: Entrance;
  readonly #taken: (seat: Seat, why: LossReason) => void;
  readonly #unguarded = new Set<Seat>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `taken` is called once for a seat whose node somebody else has removed. */
  constructor(
    session: Session,
    watches: Watches,
    entrance: Entrance,
    taken: (seat: Seat, why: LossReason) => void,
  ) {
    this.#session = session;
    this.#watches = watches;
    this.#entrance = entrance;
    this.#taken = taken;
  }

  /** Sets one, unless there is one; nobody waits for that. */
  set(seat: Seat): void {
    const connection = this.#session.current;
    this.#unguarded.delete(seat);
    if (seat.watched !== undefined || seat.name === undefined || seat.withdrawn || !connection) return;
    seat.watched = false;
    this.#watches.add(seat.path, this.#told(seat), connection).then((there) => {
      if (!there) return this.#vanished(seat);
      if (seat.watched !== undefined) seat.watched = true;
    }).catch(() => {}); // with its connection
  }

  /** Sets one in a moment. */
  soon(seat: Seat): void {
    if (seat.watched !== undefined) return;
    this.#unguarded.add(seat);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      for (const each of this.#unguarded) this.set(each);
    }, SOON);
  }

  /** No longer needed. */
  drop(seat: Seat): void {
    this.#unguarded.delete(seat);
    if (seat.told) this.#watches.remove(seat.path, seat.told, this.#session.current);
    seat.told = seat.watched = undefined;
  }

  /** Sets all that are missing on a new connection; what has gone meanwhile is told first. */
  async restore(seats: Iterable<Seat>, connection: Connection): Promise<void> {
    const nodes = new Map<string, Told>();
    for (const seat of seats) {
      if (seat.name === undefined || seat.gone || seat.withdrawn) continue;
      nodes.set(seat.path, this.#told(seat));
      seat.watched = true;
    }
    await this.#watches.restore(nodes, connection.lastZxid, connection);
  }

  /** Sets no more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#unguarded.clear();
  }

  #told(seat: Seat): Told {
    return seat.told = (type) => {
      seat.watched = seat.told = undefined;
      if (type === "deleted") this.#vanished(seat).catch(() => {}); // the next connection tells again
      else this.set(seat);
    };
  }

  async #vanished(seat: Seat): Promise<void> {
    if (seat.withdrawn || seat.gone) return;
    const why = endOf(seat.name!, queueOf(await this.#entrance.children(seat)));
    if (!seat.withdrawn && !seat.gone) this.#taken(seat, why);
  }
}
