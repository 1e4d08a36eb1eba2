import type { Call } from "../../../internal/backend.ts";
import { Connection, type Hearer } from "../../redis/client/connection.ts";
import type { Link, Route } from "../../redis/client/link.ts";
import { list, text, unexpected, whole } from "../../redis/client/replies.ts";
import type { Script } from "../../redis/client/script.ts";
import { GREET, MEMORY } from "./memory.ts";

/** Milliseconds for which a node that could not be reached is not tried again. */
const REST = 200;

/** Arguments of a script: those that follow from which run of the server it is come in between. */
type Arguments = (run: string) => readonly (string | number)[];

/** What a node reports. */
export interface NodeEvents {
  /** A message on the channel of this process. */
  message(node: Node, text: string): void;
  /** Whether a message may come. */
  awaits(): boolean;
}

/** One of the servers whose majority decides. */
export class Node {
  /** Which server, without credentials. */
  readonly place: string;
  readonly #connection: Connection;
  /** Milliseconds. */
  readonly #maxTtl: number;
  /** The run of the server that a link leads to. */
  readonly #runs = new WeakMap<Link, string>();
  #failed: { readonly at: number; readonly error: unknown } | undefined;

  constructor(route: Route, maxTtl: number, { message, awaits }: NodeEvents) {
    this.place = route.place;
    this.#maxTtl = maxTtl;
    this.#connection = new Connection(route, {
      message: (text) => message(this, text),
      down: () => {},
      awaits,
    });
  }

  /** The channel of this process there. */
  get channel(): string {
    return this.#connection.channel;
  }

  /** The server's time now, in microseconds, as far as known. */
  get serverTime(): number | undefined {
    return this.#connection.time.now;
  }

  /** Connects, which tells the server's time. */
  async open(call: Call): Promise<void> {
    await this.#link(call);
  }

  /** Runs a script, which replies numbers, with the server's time at `timeAt`. */
  async run(
    script: Script,
    keys: readonly string[],
    args: Arguments,
    timeAt: number,
    call: Call,
  ): Promise<number[]> {
    const open = this.#link(call);
    const link = open instanceof Promise ? await open : open;
    const run = this.#runs.get(link) ?? await this.#run(link, call);
    const sent = performance.now();
    const reply = await this.#connection.run(
      script,
      [keys.length, ...keys, ...args(run)],
      call,
      link,
    );
    const replied = list(reply, timeAt + 1).map(whole);
    this.#connection.time.learn(replied[timeAt]!, sent);
    return replied;
  }

  /** Runs a script whose reply is not numbers. */
  async read(script: Script, keys: readonly string[], call: Call): Promise<unknown> {
    return await this.#connection.run(script, [keys.length, ...keys], call, await this.#link(call));
  }

  /** The names of the keys that match. */
  async scan(pattern: string, call: Call): Promise<string[]> {
    const link = await this.#link(call);
    const found = await link.scan(link.keyPrefix.replace(/[*?[\]\\]/g, "\\$&") + pattern);
    return found.map((key) => key.slice(link.keyPrefix.length));
  }

  /** See {@linkcode Connection.listen}. */
  async listen(key: string, listener: Hearer, call: Call): Promise<AsyncDisposable> {
    await this.#link(call);
    return await this.#connection.listen((keyPrefix) => keyPrefix + key, listener, call);
  }

  /** Closes what was opened. A later call opens it again. */
  close(): void {
    this.#connection.close();
    this.#failed = undefined;
  }

  #link(call: Call): Link | Promise<Link> {
    if (this.#failed && performance.now() - this.#failed.at < REST) throw this.#failed.error;
    const open = this.#connection.link(call);
    return open instanceof Promise ? this.#opened(open, call) : open;
  }

  async #opened(open: Promise<Link>, call: Call): Promise<Link> {
    try {
      const link = await open;
      if (!this.#runs.has(link)) await this.#run(link, call);
      this.#failed = undefined;
      return link;
    } catch (error) {
      this.#failed = { at: performance.now(), error };
      throw error;
    }
  }

  /** Asked once a link: a server that starts again ends its connections. */
  async #run(link: Link, call: Call): Promise<string> {
    const run = text(await this.#connection.run(GREET, [1, MEMORY, this.#maxTtl], call, link));
    if (!/^[0-9a-f]*$/.test(run)) throw unexpected(run);
    this.#runs.set(link, run);
    return run;
  }
}
