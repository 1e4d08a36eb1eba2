import { clearTimeout, setTimeout } from "node:timers";
import { dialFirst } from "./dialing.ts";
import type { Credentials } from "./dial.ts";
import { type Etcd3Like, HandedIn } from "./handed_in.ts";
import { Member, type User } from "./member.ts";
import type { Header, WatchCreateRequest } from "./messages.ts";
import type { Bounds, Calls, Connection, Hearer, Port, Watching } from "./port.ts";
import { prefixOfRequest } from "./requests.ts";
import { EtcdError, isBroken, isSilence, refusal } from "./errors.ts";
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

/** Of the time that a call has, what a silent member may take while there are others to ask. */
const SHARE = 2 / 3;

/** Added to the count of a failure that was silence: such a member is tried after all others. */
const SILENT = 1e9;

/** A connection in use, and the watches on it. */
interface Line {
  readonly connection: Connection;
  readonly watches: Watches;
  /** Where it leads to, and how many members there are. */
  readonly origin: string;
  readonly members: number;
}

/** The way to a line, which may be on the way still. */
interface Dialing {
  readonly done: Promise<Line>;
  readonly stop: AbortController;
  /** The line, once there is one. */
  line: Line | undefined;
  /** The member has answered a call. */
  proven: boolean;
}

/**
 * All calls go over one connection to one member. The first failure leaves it for the next member,
 * and breaks the watches there, whose listeners then look for themselves: a member that is up but cut
 * off from the majority answers no call of ours, and its watches would stay silent.
 */
export class EtcdClient implements Port {
  readonly #target: Target | Etcd3Like;
  /** Members are taken in turn, from any of them on. */
  readonly #turn = Math.floor(Math.random() * 1_000);
  /** When members have failed, by a count: the one that did so last is tried last, if none was silent. */
  #failed = new Map<string, number>();
  #failures = 0;
  /** The cluster that has answered so far, and how often in a row another one has. */
  #cluster: string | undefined;
  #strangers = 0;
  #dialing: Dialing | undefined;

  constructor(target: Target | Etcd3Like) {
    this.#target = target;
  }

  async call<M extends keyof Calls>(method: M, request: Calls[M][0], bounds: Bounds): Promise<Calls[M][1]> {
    const started = performance.now();
    let left = bounds.timeout;
    for (let tries = 1;; tries++) {
      const dialing = this.#current();
      const { connection, origin, members } = dialing.line ?? await inTime(dialing.done, left);
      try {
        if (!dialing.proven) left = Math.max(1, bounds.timeout - (performance.now() - started));
        const share = tries < members ? left * SHARE : left;
        const reply = await connection.call(method, request, { ...bounds, timeout: left, share });
        this.#recognise(reply.header, dialing, origin, members);
        if (!dialing.proven) this.#prove(dialing, origin);
        return reply;
      } catch (error) {
        if (isBroken(error)) this.#leave(dialing, error as Error);
        // One that has broken is dialled again, so there is one try more than there are members.
        left = bounds.timeout - (performance.now() - started);
        if (tries > members || left <= 0 || !(isBroken(error) || isUnsent(error))) {
          throw this.#refusal(error, request) ?? error;
        }
        if (!isUnsent(error)) bounds.doubt?.();
      }
    }
  }

  watch(request: WatchCreateRequest, listener: Hearer): Watching {
    let watching: Watching | undefined;
    let cancelled = false;
    const start = async () => {
      const { watches } = await this.#current().done;
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
    if (this.#dialing !== undefined) this.#leave(this.#dialing, new Error("the connection was closed"));
  }

  #current(): Dialing {
    if (this.#dialing !== undefined) return this.#dialing;
    const stop = new AbortController();
    const dialing: Dialing = {
      done: this.#connect(() => dialing, stop.signal),
      stop,
      line: undefined,
      proven: false,
    };
    // After a failure the next call connects anew.
    dialing.done.then((line) => dialing.line = line, () => this.#forget(dialing));
    return this.#dialing = dialing;
  }

  async #connect(dialing: () => Dialing, signal: AbortSignal): Promise<Line> {
    const broke = (error: EtcdError) => this.#leave(dialing(), error);
    const line = (connection: Connection, origin: string, members: number): Line => {
      const watches = new Watches(connection, this.#user, (error) => broke(error as EtcdError));
      return { connection, watches, origin, members };
    };
    if (!("locate" in this.#target)) return line(new HandedIn(this.#target), "the client", 1);
    const { locate, credentials, user } = this.#target;
    const origins = this.#inOrder(await inTime(locate(), LOCATE, "the locator has not answered"));
    const open = (origin: string): Member => {
      const member: Member = new Member(origin, credentials, user, {
        broke: (error) => dialing().line?.connection === member && broke(error),
        leaving: (error) => dialing().line?.connection === member && this.#part(dialing(), error),
      });
      return member;
    };
    try {
      const { first, origin, mute } = await dialFirst(origins, open, signal);
      for (const each of mute) this.#failed.set(each, ++this.#failures);
      return line(first, origin, origins.length);
    } catch (error) {
      throw EtcdError.unreachable(`no member can be reached: ${(error as Error).message}`, error);
    }
  }

  /** The members in turn, those that have failed last of all. */
  #inOrder(origins: readonly string[]): string[] {
    this.#failed = new Map([...this.#failed].filter(([origin]) => origins.includes(origin)));
    const from = this.#turn % origins.length;
    return [...origins.slice(from), ...origins.slice(0, from)]
      .sort((a, b) => (this.#failed.get(a) ?? 0) - (this.#failed.get(b) ?? 0));
  }

  /**
   * Throws unless our cluster answers. One that was set up anew is accepted once no member answers for
   * the old one; leases do not go over to it.
   */
  #recognise(header: Header | undefined, dialing: Dialing, origin: string, members: number): void {
    const cluster = header?.cluster_id ?? "0";
    if (cluster === "0") throw EtcdError.unreadable("an answer without a header");
    if (cluster === (this.#cluster ??= cluster)) return void (this.#strangers = 0);
    if (this.#dialing === dialing && ++this.#strangers >= members) {
      this.#cluster = cluster;
      this.#strangers = 0;
    }
    throw EtcdError.unreadable(`${origin} belongs to another cluster than the one asked before`);
  }

  /** The member has answered: its failures before that are forgotten. */
  #prove(dialing: Dialing, origin: string): void {
    dialing.proven = true;
    this.#failed.delete(origin);
  }

  get #user(): string | undefined {
    return "locate" in this.#target ? this.#target.user?.username : undefined;
  }

  #refusal(error: unknown, request: object): Error | undefined {
    return refusal(error, { user: this.#user, prefix: prefixOfRequest(request) });
  }

  #forget(dialing: Dialing): boolean {
    if (this.#dialing !== dialing) return false;
    this.#dialing = undefined;
    return true;
  }

  /** The next call connects anew, unless another has already done so. */
  #leave(dialing: Dialing, error: Error): void {
    const left = this.#part(dialing, error);
    if (left !== undefined) dialing.line?.connection.close(left);
  }

  /** The same, but what is under way goes on to its end. */
  #part(dialing: Dialing, error: Error): EtcdError | undefined {
    if (!this.#forget(dialing)) return undefined;
    const left = EtcdError.unavailable(`the connection was given up: ${error.message}`, error);
    dialing.stop.abort(left);
    if (dialing.line !== undefined) {
      this.#failed.set(dialing.line.origin, ++this.#failures + (isSilence(error) ? SILENT : 0));
      dialing.line.watches.fail(left);
    }
    return left;
  }
}

function isUnsent(error: unknown): boolean {
  return error instanceof EtcdError && error.unsent;
}

function inTime<T>(answer: Promise<T>, ms: number, what = "no member could be reached"): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(EtcdError.unreachable(`${what} within ${Math.round(ms)} ms`));
    const timer = setTimeout(late, Math.min(ms, 86_400_000)).unref();
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
