import type { Buffer } from "node:buffer";
import { clearInterval, clearTimeout, setImmediate, setInterval, setTimeout } from "node:timers";
import { type Credentials, dial, hint, readOrigin } from "./dial.ts";
import { Exchange, type Hearer } from "./exchange.ts";
import { type Fields, Http2Session } from "./http2/session.ts";
import type { Bounds } from "./port.ts";
import { EtcdError } from "./errors.ts";
import { Turns } from "./turns.ts";

/** Milliseconds between pings while something is listened to; etcd takes offence at less than 5 s. */
const PING = 10_000;

/** Calls under way. */
const AT_ONCE = 256;

/** Streams that are left for urgent calls, where a server allows few. */
const RESERVED = 16;

/** Milliseconds without any answer after which a connection is given up, once a call has had none in time. */
const SILENCE = 250;

/** Milliseconds that a server needs to answer a ping, wherever it is. */
const ECHO = 250;

/** Milliseconds: the longest that timers and gRPC can tell. */
const DAY = 86_400_000;

/** What makes a request one of gRPC. */
const KIND: Fields = { "content-type": "application/grpc", te: "trailers" };

/** What is asked once. */
interface Request {
  readonly method: string;
  readonly message: Buffer;
  readonly headers: Fields;
  readonly stays: boolean;
}

/** Who hears of a connection. */
export interface ChannelHearer {
  /** The connection has failed, and everything under way with it. Told once. */
  broke(error: EtcdError): void;
  /** The server takes no new calls; it will be closed when those under way are over. */
  leaving(error: EtcdError): void;
}

/** gRPC with one server on one connection, until it breaks; everything under way fails then. */
export class Channel {
  /** Resolves once the server speaks HTTP/2, rejects if it never will. */
  readonly ready: Promise<void>;
  readonly #origin: string;
  readonly #hearer: ChannelHearer;
  readonly #session: Http2Session;
  /** What all requests begin with. */
  readonly #start: Fields;
  readonly #exchanges = new Set<Exchange>();
  readonly #begun = Promise.withResolvers<void>();
  /** Bounded by what the server allows, which it says before anything is asked. */
  #turns = new Turns(AT_ONCE);
  #greeted = false;
  #leaving = false;
  /** Since when nothing has come although something was asked. */
  #silent = 0;
  /** A ping is under way that a silence was the reason for. */
  #probing = false;
  #error: EtcdError | undefined;
  #listening = 0;
  #pings: ReturnType<typeof setInterval> | undefined;

  /** `origin`: "http://host:port" or "https://host:port". */
  constructor(origin: string, credentials: Credentials, hearer: ChannelHearer) {
    this.#origin = origin;
    this.#hearer = hearer;
    this.ready = this.#begun.promise;
    this.ready.catch(() => {}); // a failure is told to the hearer, too
    const { secure, authority } = readOrigin(origin);
    const scheme = secure ? "https" : "http";
    this.#start = { ":method": "POST", ":scheme": scheme, ":authority": authority };
    this.#session = new Http2Session(dial(origin, credentials), {
      greeted: (streams) => {
        this.#greeted = true;
        this.#turns = new Turns(Math.max(1, Math.min(AT_ONCE, streams - Math.min(RESERVED, streams >> 1))));
        this.#begun.resolve();
      },
      leaving: () => this.#leave(),
      failed: (why, cause) => this.#fail(this.#greeted ? why : hint(why, secure), cause),
    });
  }

  /**
   * Asks once, and waits so many milliseconds for the answer. `urgent`: before all others, without a
   * turn. `stays`: nothing comes after the first answer, but only then are we to say so.
   */
  async call(
    method: string,
    message: Buffer,
    headers: Fields,
    { timeout, share = timeout, urgent, stays = false }: Bounds & { readonly stays?: boolean },
  ): Promise<Buffer> {
    const request = { method, message, headers, stays };
    const left = Math.min(timeout, DAY);
    if (urgent) return await this.#ask(request, left, Math.min(share, left));
    return await this.#turns.run(
      (waited) => this.#ask(request, left - waited, Math.max(1, Math.min(share, left) - waited)),
      left,
    );
  }

  /** A call that goes on, messages both ways, until one side ends it. */
  listen(method: string, headers: Fields, hearer: Hearer): Exchange {
    const exchange = this.#begin(method, headers, {
      ...hearer,
      over: (error) => {
        if (--this.#listening === 0) this.#stopPings();
        hearer.over(error);
      },
    });
    this.#listening++;
    // A server that is gone would be noticed by nothing else.
    this.#pings ??= setInterval(() => this.#ping(PING / 2), PING).unref();
    return exchange;
  }

  /** Everything under way fails with this. */
  close(error: EtcdError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#stopPings();
    this.#begun.reject(error);
    for (const exchange of [...this.#exchanges]) exchange.end(error);
    this.#session.destroy();
  }

  #ask({ method, message, headers, stays }: Request, timeout: number, share: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      let answer: Buffer | undefined;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const exchange = this.#begin(method, headers, {
        message(message) {
          if (answer !== undefined) return exchange.end(EtcdError.unreadable("a second answer"));
          answer = message;
          if (!stays) return;
          resolve(message);
          exchange.finish();
        },
        over(error) {
          clearTimeout(timer);
          if (error === undefined && answer !== undefined) resolve(answer);
          else reject(error ?? EtcdError.unreadable("an answer without a message"));
        },
      });
      const wait = (until: number, waited: number): void => {
        // What has come while this process was busy is read first.
        timer = setTimeout(() => setImmediate(() => exchange.over || late(until)), until - waited);
      };
      const late = (waited: number) => {
        const silent = performance.now() - this.#silent >= SILENCE;
        if (waited < share) {
          if (silent) this.#probe(share / 3);
          return wait(share, waited);
        }
        // Where others are answered, the server is slow, and another connection would change nothing.
        if (waited < timeout && !silent) return wait(timeout, waited);
        exchange.end(EtcdError.unanswered(waited, !silent));
      };
      wait(share / 3 < ECHO ? share : Math.floor(share / 3), 0); // for timers, whole numbers are the same again
      exchange.send(message, !stays);
    });
  }

  #begin(method: string, headers: Fields, hearer: Hearer): Exchange {
    if (this.#error !== undefined) throw this.#error;
    if (this.#leaving) throw this.#gone;
    const exchange: Exchange = new Exchange(this.#session, this.#head(method, headers), {
      message: (message) => {
        this.#silent = performance.now();
        hearer.message(message);
      },
      over: (error) => {
        this.#exchanges.delete(exchange);
        hearer.over(error);
        this.#closeIfLeft();
      },
    });
    if (this.#error !== undefined) throw this.#error; // the connection has no numbers for streams any more
    if (this.#exchanges.size === this.#listening) this.#silent = performance.now();
    this.#exchanges.add(exchange);
    return exchange;
  }

  #head(method: string, headers: Fields): Fields {
    return { ...this.#start, ":path": `/etcdserverpb.${method}`, ...KIND, ...headers };
  }

  #fail(why: string, cause?: unknown): void {
    this.#break(EtcdError.unavailable(`the connection to ${this.#origin} has failed: ${why}`, cause));
  }

  #break(error: EtcdError): void {
    if (this.#error !== undefined) return;
    this.close(error);
    this.#hearer.broke(error);
  }

  /** The server has said goodbye; the calls that it has begun go on. */
  #leave(): void {
    this.#leaving = true;
    this.#begun.reject(this.#gone);
    this.#hearer.leaving(this.#gone);
    this.#closeIfLeft();
  }

  #closeIfLeft(): void {
    if (this.#leaving && this.#exchanges.size === 0) this.close(this.#gone);
  }

  get #gone(): EtcdError {
    return EtcdError.unreachable(`${this.#origin} takes no new calls: it is going away`);
  }

  /** A silent server is given up before those who wait for it have lost all their time. */
  #probe(patience: number): void {
    if (this.#probing) return;
    this.#probing = true;
    this.#ping(patience, () => this.#probing = false);
  }

  #ping(patience: number, heard = () => {}): void {
    const silent = () => this.#break(EtcdError.silent(`nothing comes back from ${this.#origin}`));
    const late = () => setImmediate(() => answered || silent());
    const timer = setTimeout(late, patience).unref();
    let answered = false;
    this.#session.ping(() => {
      answered = true;
      clearTimeout(timer);
      heard();
    });
  }

  #stopPings(): void {
    clearInterval(this.#pings);
    this.#pings = undefined;
  }
}
