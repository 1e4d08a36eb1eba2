import type { Call } from "../../../internal/backend.ts";
import { Echo } from "../../shared/echo.ts";
import { refused } from "../../shared/errors.ts";
import { postgresError } from "./errors.ts";
import { identifier, literal } from "./literal.ts";
import type { Link, Opener } from "./link.ts";

/** Milliseconds that opening the connection may take at least. */
const OPENING = 1_000;

/** What an ear reports. */
export interface EarEvents {
  /** A notification for this process. */
  heard(payload: string): void;
  /** Notifications may have been missed. */
  deaf(error: unknown): void;
  /** Whether one may come that is waited for here. */
  awaits(): boolean;
  /** There will be none: the way to the server is no session of its own. */
  absent(): void;
}

/** How an ear is opened. */
export interface EarRoute {
  /** Opens a connection of our own; absent where there is no way to one. */
  readonly listen?: Opener;
  /** Whether to trust that connection to be a session of its own, even behind a pooler. */
  readonly trusted: boolean;
  /** Without credentials. */
  readonly place: string;
}

/**
 * The connection by which this process hears of what others did: one for all that it waits for, opened when it first
 * has to wait. It takes the number of its channel (an `advisory_lock`), which tells others until the session ends that
 * it is there.
 */
export class Ear {
  /** The channel of this process. */
  readonly channel: string = `holdfast_${crypto.randomUUID().replaceAll("-", "")}`;
  readonly #route: EarRoute;
  readonly #events: EarEvents;
  readonly #echo: Echo;
  #link: Link | undefined;
  #opening:
    | { readonly since: number; readonly stands: Promise<boolean>; readonly abandon: AbortController }
    | undefined;
  #absent = false;

  constructor(route: EarRoute, events: EarEvents) {
    this.#route = route;
    this.#events = events;
    this.#echo = new Echo({
      listens: () => this.#link !== undefined && events.awaits(),
      // Notifications come by the same connection.
      send: () => void this.#link?.query("SELECT '' AS a").then(() => this.#echo.heard(), () => {}),
      deaf: (ms) => this.#drop(refused(`listen to Postgres at ${route.place}`, `nothing comes for ${ms} ms`)),
    });
  }

  /** Whether nothing is missed from now on. */
  get stands(): boolean {
    return this.#link !== undefined;
  }

  /** Resolves once nothing is missed any more; with `false` if there is no way to hear. */
  async ready({ timeout }: Call): Promise<boolean> {
    if (this.#link !== undefined || this.#absent) return !this.#absent;
    const since = performance.now();
    if (this.#opening === undefined || since - this.#opening.since > Math.max(timeout, OPENING)) {
      this.#opening?.abandon.abort(refused("listen to Postgres", "it takes too long"));
      const abandon = new AbortController();
      this.#opening = { since, abandon, stands: this.#open(abandon.signal) };
    }
    return await this.#opening.stands;
  }

  /** A notification may be waited for from now on. */
  listen(): void {
    this.#echo.start();
  }

  /** Closes the connection. It is opened again if need be. */
  close(): void {
    this.#opening?.abandon.abort(refused("listen to Postgres", "it was closed"));
    this.#opening = undefined;
    this.#echo.stop();
    this.#link?.close();
    this.#link = undefined;
  }

  async #open(abandoned: AbortSignal): Promise<boolean> {
    const { listen, trusted, place } = this.#route;
    let link: Link | undefined;
    const close = () => link?.close();
    abandoned.addEventListener("abort", close, { once: true });
    try {
      link = await listen?.({
        abandoned,
        notified: (channel, payload) => {
          this.#echo.heard();
          if (channel === this.channel) this.#events.heard(payload);
        },
        down: (error) => {
          if (link !== undefined && this.#link === link) this.#drop(error);
        },
      });
      const pid = await link?.query("SELECT pg_backend_pid()::text AS a");
      abandoned.throwIfAborted();
      if (link === undefined || !trusted && link.pid !== undefined && `${link.pid}` !== pid?.[0]?.[0]) {
        // Between transactions the session is somebody else's.
        link?.close();
        this.#absent = true;
        this.#events.absent();
      } else {
        const number = `pg_advisory_lock_shared(hashtextextended(${literal(this.channel)}, 0))`;
        await link.query(`LISTEN ${identifier(this.channel)}; SELECT ${number}::text AS a`);
        abandoned.throwIfAborted();
        this.#link = link;
      }
      this.#opening = undefined;
      return !this.#absent;
    } catch (error) {
      link?.close();
      if (!abandoned.aborted) this.#opening = undefined;
      throw postgresError(`listen to Postgres at ${place}`, abandoned.aborted ? abandoned.reason : error);
    } finally {
      abandoned.removeEventListener("abort", close);
    }
  }

  #drop(error: unknown): void {
    const link = this.#link;
    this.#link = undefined;
    this.#echo.stop();
    link?.close();
    this.#events.deaf(postgresError(`listen to Postgres at ${this.#route.place}`, error));
  }
}
