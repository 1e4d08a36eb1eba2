import { Buffer } from "node:buffer";
import { clearInterval, clearTimeout, setImmediate, setInterval, setTimeout } from "node:timers";
import { type Credentials, dial } from "./dial.ts";
import { Exchange, type Hearer } from "./exchange.ts";
import { encode } from "./hpack.ts";
import { Session } from "./http2.ts";
import type { Bounds } from "./port.ts";
import { EtcdError } from "./status.ts";
import { Turns } from "./turns.ts";

/** Milliseconds between pings while something is listened to; etcd takes offence at less than 5 s. */
const PING = 10_000;

/** Calls under way. */
const AT_ONCE = 256;

/** Milliseconds without any answer after which a connection is given up, once a call has had none in time. */
const SILENCE = 250;

/** Milliseconds: the longest that timers and gRPC can tell. */
const DAY = 86_400_000;

/** What makes a request one of gRPC. */
const KIND = encode({ "content-type": "application/grpc", te: "trailers" });

/** gRPC with one server on one connection, until it breaks; everything under way fails then. */
export class Channel {
  readonly #origin: string;
  readonly #broke: (error: EtcdError) => void;
  readonly #session: Session;
  /** What all requests begin with. */
  readonly #start: Buffer;
  readonly #exchanges = new Set<Exchange>();
  readonly #turns = new Turns(AT_ONCE);
  /** Since when nothing has come although something was asked. */
  #silent = 0;
  #error: EtcdError | undefined;
  #listening = 0;
  #pings: ReturnType<typeof setInterval> | undefined;

  /** `origin`: "http://host:port" or "https://host:port". `broke` is told once. */
  constructor(origin: string, credentials: Credentials, broke: (error: EtcdError) => void) {
    this.#origin = origin;
    this.#broke = broke;
    const { protocol, host } = new URL(origin);
    this.#start = encode({ ":method": "POST", ":scheme": protocol.slice(0, -1), ":authority": host });
    this.#session = new Session(dial(origin, credentials), (why, cause) => this.#fail(why, cause));
  }

  /**
   * Asks once, and waits so many milliseconds for the answer. `urgent`: before all others, as what
   * keeps locks alive has to be.
   */
  async call(
    method: string,
    message: Buffer,
    headers: Record<string, string>,
    { timeout, urgent }: Bounds,
  ): Promise<Buffer> {
    let left = Math.min(timeout, DAY);
    if (urgent) return await this.#ask(method, message, headers, left);
    const turn = this.#turns.take(left);
    if (turn !== undefined) {
      const since = performance.now();
      await turn;
      left = Math.max(1, left - (performance.now() - since));
    }
    try {
      return await this.#ask(method, message, headers, left);
    } finally {
      this.#turns.give();
    }
  }

  /** A call that goes on, messages both ways, until one side ends it. */
  listen(method: string, headers: Record<string, string>, hearer: Hearer): Exchange {
    const exchange = this.#begin(method, headers, {
      ...hearer,
      over: (error) => {
        if (--this.#listening === 0) this.#stopPings();
        hearer.over(error);
      },
    });
    this.#listening++;
    // Nobody would notice that nothing comes any more.
    this.#pings ??= setInterval(() => this.#ping(), PING).unref();
    return exchange;
  }

  /** Everything under way fails with this. */
  close(error: EtcdError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#stopPings();
    this.#turns.end(error);
    for (const exchange of [...this.#exchanges]) exchange.end(error);
    this.#session.destroy();
  }

  #ask(method: string, message: Buffer, headers: Record<string, string>, timeout: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      let answer: Buffer | undefined;
      const exchange = this.#begin(method, headers, {
        message: (message) => answer = message,
        over(error) {
          clearTimeout(timer);
          if (error === undefined && answer !== undefined) resolve(answer);
          else reject(error ?? EtcdError.unavailable("an answer without a message"));
        },
      });
      // What has come while this process was busy is read first.
      const timer = setTimeout(() => setImmediate(late), timeout);
      const late = () => {
        const silence = performance.now() - this.#silent;
        // Where others are answered, the server is slow, and another connection would change nothing.
        exchange.end(EtcdError.unanswered(timeout, silence < SILENCE));
      };
      exchange.send(message, true);
    });
  }

  #begin(method: string, headers: Record<string, string>, hearer: Hearer): Exchange {
    if (this.#error !== undefined) throw this.#error;
    const exchange: Exchange = new Exchange(this.#session, this.#head(method, headers), {
      message: (message) => {
        this.#silent = performance.now();
        hearer.message(message);
      },
      over: (error) => {
        this.#exchanges.delete(exchange);
        hearer.over(error);
      },
    });
    if (this.#error !== undefined) throw this.#error; // the connection has no numbers for streams any more
    if (this.#exchanges.size === this.#listening) this.#silent = performance.now();
    this.#exchanges.add(exchange);
    return exchange;
  }

  #head(method: string, headers: Record<string, string>): Buffer {
    const path = encode({ ":path": `/etcdserverpb.${method}` });
    return Buffer.concat([this.#start, path, KIND, encode(headers)]);
  }

  #fail(why: string, cause?: unknown): void {
    if (this.#error !== undefined) return;
    const error = EtcdError.unavailable(`the connection to ${this.#origin} has failed: ${why}`, cause);
    this.close(error);
    this.#broke(error);
  }

  #ping(): void {
    const unanswered = setTimeout(() => this.#fail("nothing comes back"), PING / 2).unref();
    this.#session.ping(() => clearTimeout(unanswered));
  }

  #stopPings(): void {
    clearInterval(this.#pings);
    this.#pings = undefined;
  }
}
