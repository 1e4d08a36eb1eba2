import type { Call } from "../../../internal/backend.ts";
import type { BackendError } from "../../../internal/errors.ts";
import { Echo } from "../../shared/echo.ts";
import { refused } from "../../shared/errors.ts";
import { ServerTime } from "../../shared/server_time.ts";
import { ECHO, PUBLISH } from "./echo.ts";
import { leadsElsewhere, redisError, replyCode } from "./errors.ts";
import type { Link, Route } from "./link.ts";
import { list, whole } from "./replies.ts";
import type { Script } from "./script.ts";

/** What a connection reports, whichever link it goes by. */
export interface ConnectionEvents {
  /** A message on the channel of this process. */
  message(text: string): void;
  /** Messages may have been missed. */
  down(): void;
  /** Whether a message may come that is waited for here. */
  awaits(): boolean;
}

/** What listens to a channel. */
export interface Hearer {
  /** A message. */
  heard(text: string): void;
  /** Nothing more will be heard, and something may have been missed. */
  deaf(error: unknown): void;
}

/**
 * Milliseconds that a connection may be silent, and that opening one may take, however little time the
 * calls have that wait for it: a deadline that is near must not make a slow network worse.
 */
const SILENCE = 300;
const OPENING = 1_000;

/** No caller waits for the answer to an echo, but like any other answer it tells that the server is there. */
const ECHOING: Call = { signal: new AbortController().signal, timeout: 1_000 };

/** A link on its way. */
interface Opening {
  readonly since: number;
  readonly link: Promise<Link>;
  readonly abandon: AbortController;
}

/**
 * The way to Redis: opened by the first call that needs it, and again by the first call after it
 * broke. Nothing is queued meanwhile and nothing is repeated.
 */
export class Connection {
  /** The channel of this process. */
  readonly channel: string = `holdfast:${crypto.randomUUID().slice(0, 13)}`;
  readonly #route: Route;
  readonly #events: ConnectionEvents;
  #link: Link | undefined;
  #opening: Opening | undefined;
  readonly #listeners = new Map<string, Set<Hearer>>();
  readonly #echo: Echo;
  /** By what the last echo has still to be answered. */
  #unproven = new Set<string>();
  /** The key that was last asked about: one that may be named in a call. */
  #key = "";
  /** Calls sent and not answered, since when nothing has come back, and how long that may last. */
  #unanswered = 0;
  #silentSince = 0;
  #patience = 0;
  /** The server's clock. */
  readonly time: ServerTime = new ServerTime();

  /** `interval` as of {@linkcode Echo}. */
  constructor(route: Route, events: ConnectionEvents, interval?: number) {
    this.#route = route;
    this.#events = events;
    this.#echo = new Echo({
      listens: () => this.#link !== undefined && (this.#listeners.size > 0 || (this.#events.awaits())),
      send: () => this.#sendEcho(),
      deaf: (ms) =>
        this.#drop(refused(`listen to Redis at ${this.#route.place}`, `no message comes for ${ms} ms`)),
    }, interval);
  }

  /** Whether one call may name keys of several queues: not in a Cluster. */
  get joins(): boolean {
    return this.#link?.cluster === false;
  }

  /** Whether a channel in the slot of a key is known to the node of that key alone. */
  get sharded(): boolean {
    return this.#link?.sharded === true;
  }

  /** The link, opened if there is none. */
  link(call: Call): Link | Promise<Link> {
    if (this.#link === undefined) return this.#opened(call);
    const silent = this.#unanswered > 0 ? performance.now() - this.#silentSince : 0;
    if (this.#link.usable && silent <= Math.max(this.#patience, call.timeout, SILENCE)) return this.#link;
    // Broken; or calls have come and gone unanswered, and nothing will come out of it any more.
    this.#drop(refused("reach Redis", "the connection is of no more use"));
    return this.#opened(call);
  }

  /**
   * Runs a script, on a link if one is given: `args` are the number of keys, the keys, and the rest.
   * The digest is sent, and the text to a server that does not know it.
   */
  run(script: Script, args: readonly (string | number)[], call: Call, on?: Link): Promise<unknown> {
    const link = on ?? this.link(call);
    if (link instanceof Promise) return link.then((link) => this.run(script, args, call, link));
    this.#key = args[1] as string;
    this.#echo.start();
    const { sha, source } = link.sharded && script.sharded || script;
    return this.#send(link, call, "EVALSHA", [sha, ...args], (error) => {
      if (replyCode(error) !== "NOSCRIPT") throw this.#failed(link, error);
      return this.#send(link, call, "EVAL", [source, ...args], (error) => {
        throw this.#failed(link, error);
      });
    });
  }

  /** Resolves once nothing more is missed on a channel; its name is made of what the client puts before keys. */
  async listen(
    name: (keyPrefix: string) => string,
    listener: Hearer,
    call: Call,
  ): Promise<AsyncDisposable> {
    const link = await this.link(call);
    const channel = name(link.keyPrefix);
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners.add(listener));
    this.#key ||= name("");
    this.#echo.start();
    const leave = () => {
      call.signal.removeEventListener("abort", leave);
      if (!listeners.delete(listener) || listeners.size > 0 || this.#listeners.get(channel) !== listeners) {
        return;
      }
      this.#listeners.delete(channel);
      // The answer is not waited for: a link that is down has no subscriptions, and a silent one gives none.
      link.unsubscribe(channel).catch(() => {});
    };
    call.signal.addEventListener("abort", leave);
    try {
      await link.subscribe(channel);
      call.signal.throwIfAborted();
    } catch (error) {
      leave();
      throw redisError(`listen to Redis at ${this.#route.place}`, error);
    }
    call.signal.removeEventListener("abort", leave);
    return { [Symbol.asyncDispose]: async () => leave() };
  }

  /** Closes what was opened. A later call opens it again. */
  close(): void {
    this.#opening?.abandon.abort(refused("connect to Redis", "it was closed"));
    this.#opening = undefined;
    this.#link?.close();
    this.#link = undefined;
    this.#listeners.clear();
    this.#echo.stop();
  }

  #opened(call: Call): Promise<Link> {
    const since = performance.now();
    if (this.#opening === undefined || since - this.#opening.since > Math.max(call.timeout, OPENING)) {
      // An opening that takes longer than a call may take leads nowhere.
      this.#opening?.abandon.abort(refused("connect to Redis", "it takes too long"));
      const abandon = new AbortController();
      this.#opening = { since, abandon, link: this.#connect(abandon.signal) };
    }
    return this.#opening.link;
  }

  async #connect(abandoned: AbortSignal): Promise<Link> {
    let link: Link | undefined;
    try {
      link = await this.#route.open({
        channel: this.channel,
        abandoned,
        message: (channel, text) => this.#heard(channel, text),
        down: (error) => {
          if (link !== undefined && this.#link === link) this.#drop(error);
        },
      });
      const sent = performance.now();
      const time = list(await link.send("TIME", []), 2);
      abandoned.throwIfAborted();
      const [seconds, micros] = time.map(whole);
      this.time.forget();
      this.time.learn(seconds! * 1e6 + micros!, sent);
      this.#unanswered = 0;
      this.#opening = undefined;
      return this.#link = link;
    } catch (error) {
      link?.close();
      if (!abandoned.aborted) this.#opening = undefined;
      throw redisError(`connect to Redis at ${this.#route.place}`, error);
    }
  }

  #send(
    link: Link,
    call: Call,
    command: string,
    args: readonly (string | number)[],
    failed: (error: unknown) => Promise<unknown>,
  ): Promise<unknown> {
    if (this.#unanswered++ === 0) {
      this.#silentSince = performance.now();
      this.#patience = call.timeout;
    }
    return link.send(command, args).then((reply) => {
      this.#answered(link);
      return reply;
    }, (error) => {
      this.#answered(link);
      return failed(error);
    });
  }

  #answered(link: Link): void {
    if (this.#link !== link) return;
    this.#unanswered--;
    this.#silentSince = performance.now();
  }

  #failed(link: Link, error: unknown): BackendError {
    if (this.#link === link && leadsElsewhere(error)) this.#drop(error);
    return redisError(`ask Redis at ${this.#route.place}`, error);
  }

  #drop(error: unknown): void {
    const link = this.#link;
    this.#lost(error);
    link?.close();
  }

  async #sendEcho(): Promise<void> {
    const link = this.#link;
    this.#unproven = new Set(link?.probe ? ["channel", "probe"] : ["channel"]);
    try {
      if (link?.cluster) await this.run(PUBLISH, [1, this.#key, this.channel, ECHO], ECHOING, link);
      else await link?.send("PUBLISH", [this.channel, ECHO]);
      await link?.probe?.();
      this.#proven("probe");
    } catch (error) {
      // A user without the right to publish cannot find out.
      if (!redisError("say anything", error).retryable) this.#echo.heard();
    }
  }

  #proven(what: string): void {
    this.#unproven.delete(what);
    if (this.#unproven.size === 0) this.#echo.heard();
  }

  #heard(channel: string, text: string): void {
    const own = channel === this.channel;
    if (own || !this.sharded) this.#proven("channel");
    if (!own) { for (const listener of this.#listeners.get(channel) ?? []) listener.heard(text); }
    else if (text !== ECHO) this.#events.message(text);
  }

  #lost(error: unknown): void {
    this.#link = undefined;
    this.#echo.stop();
    const listeners = [...this.#listeners.values()].flatMap((some) => [...some]);
    this.#listeners.clear();
    this.#events.down();
    for (const listener of listeners) {
      listener.deaf(redisError(`listen to Redis at ${this.#route.place}`, error));
    }
  }
}
