import { clearTimeout, setTimeout } from "node:timers";
import type { Credentials } from "./dial.ts";
import { type Etcd3Like, HandedIn } from "./handed_in.ts";
import { Member, type User } from "./member.ts";
import type { WatchCreateRequest } from "./messages.ts";
import type { Bounds, Calls, Connection, Listener, Port, Watching } from "./port.ts";
import { EtcdError, isBroken, refusal } from "./status.ts";
import { Watches } from "./watches.ts";

/** Whom to talk to, and as whom. */
export interface Target {
  /** Asked at every connection: at least one origin, of which one is taken, and the next after a failure. */
  readonly locate: () => Promise<readonly string[]>;
  readonly credentials: Credentials;
  readonly user: User | undefined;
}

/** Milliseconds for a locator to answer; then it is asked again, by the next call. */
const LOCATE = 3_000;

/** A connection in use, and the watches on it. */
interface Line {
  readonly connection: Connection;
  readonly watches: Watches;
}

/**
 * All calls go over one connection to one member. The first failure leaves it for the next member,
 * and breaks the watches there, whose listeners then look for themselves: a member that is up but cut
 * off from the majority answers no call of ours, and its watches would stay silent.
 */
export class EtcdClient implements Port {
  readonly #target: Target | Etcd3Like;
  /** Members are taken in turn, from any of them on. */
  #turn = Math.floor(Math.random() * 1_000);
  #line: Promise<Line> | undefined;

  constructor(target: Target | Etcd3Like) {
    this.#target = target;
  }

  async call<M extends keyof Calls>(method: M, request: Calls[M][0], bounds: Bounds): Promise<Calls[M][1]> {
    const line = this.#current();
    try {
      return await (await line).connection.call(method, request, bounds);
    } catch (error) {
      if (isBroken(error)) this.#leave(line, error as Error);
      throw refusal(error) ?? error;
    }
  }

  watch(request: WatchCreateRequest, listener: Listener): Watching {
    let watching: Watching | undefined;
    let cancelled = false;
    const start = async () => {
      const { watches } = await this.#current();
      if (cancelled) throw new Error("the watch was cancelled");
      watching = watches.add(request, listener);
      await watching.ready;
    };
    const ready = start();
    ready.catch((error) => watching === undefined && !cancelled && listener.failed(error, false));
    return {
      ready,
      cancel() {
        cancelled = true;
        watching?.cancel();
      },
    };
  }

  close(): void {
    if (this.#line !== undefined) this.#leave(this.#line, new Error("the connection was closed"));
  }

  #current(): Promise<Line> {
    if (this.#line !== undefined) return this.#line;
    const line = this.#connect((error) => this.#leave(line, error));
    // A locator that fails is asked again by the next call.
    line.catch(() => this.#line === line && (this.#line = undefined));
    return this.#line = line;
  }

  async #connect(broke: (error: Error) => void): Promise<Line> {
    const connection = await this.#open(broke);
    const watches = new Watches(connection, (error) => broke(error as Error));
    return { connection, watches };
  }

  async #open(broke: (error: Error) => void): Promise<Connection> {
    if (!("locate" in this.#target)) return new HandedIn(this.#target);
    const { locate, credentials, user } = this.#target;
    const origins = await inTime(locate());
    return new Member(origins[this.#turn++ % origins.length]!, credentials, user, broke);
  }

  /** The next call connects anew, unless another has already done so. */
  #leave(line: Promise<Line>, error: Error): void {
    if (this.#line !== line) return;
    this.#line = undefined;
    const left = EtcdError.unavailable(`the connection was given up: ${error.message}`, error);
    line.then(({ connection, watches }) => {
      watches.fail(left);
      connection.close(left);
    }, () => {});
  }
}

function inTime<T>(answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(EtcdError.unavailable(`the locator has not answered within ${LOCATE} ms`));
    const timer = setTimeout(late, LOCATE).unref();
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
