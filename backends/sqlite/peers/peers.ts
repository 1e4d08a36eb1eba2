import type { Server, Socket } from "node:net";
import { chmodSync, connect, createServer } from "../client/builtin.ts";
import { idOf } from "./life.ts";
import { type Ending, hear, Link } from "./link.ts";
import { maySpeak } from "../client/rights.ts";
import { removeSocket, socketOf } from "./sockets.ts";

/** What a session answers to its peers. */
export interface Host {
  /** Whether it has this claim, as far as it knows. */
  has(seq: number): boolean;
  /** Another process says to have removed one of its claims. */
  look(seq: number): void;
  /** Another process says that the queue of this key has changed. */
  changed(key: string): void;
  /** A connection to a session could not be had, or has broken. */
  unheard(session: string): void;
}

/** Whose the peers are. */
export interface Self {
  /** The folder of sessions. */
  readonly folder: string;
  /** Its name, see `life.ts`. */
  readonly session: string;
  /** Whether all may connect who may reach the folder. */
  readonly shared: boolean;
}

/**
 * How the processes that share a lock file wake each other: each listens on a socket of its own. A waiter
 * connects to the processes it waits for, and a process says when a claim of its own is gone. No process polls.
 *
 * None of this is believed: what is heard, or is not to be heard any more, is a reason to look into the file.
 */
export class Peers {
  readonly #self: Self;
  readonly #host: Host;
  readonly #links = new Map<string, Link>();
  readonly #incoming = new Set<Socket>();
  /** Who waits for which claim of ours. */
  readonly #waiting = new Map<number, Set<(ending: Ending) => void>>();
  /** Whether others can reach this process, once it is known. Without, locks are handed on a moment later. */
  readonly reachable: Promise<boolean>;
  #server: Server | undefined;
  #mute = false;

  constructor(self: Self, host: Host) {
    this.#self = self;
    this.#host = host;
    this.reachable = this.#listen().then(() => true, () => {
      this.#mute = true; // who cannot listen need not try to connect
      return false;
    });
  }

  /**
   * Calls `then` once, when the process of a session no longer has this claim, or can no longer tell.
   * Returns the cancellation.
   */
  wait(session: string, seq: number, then: (ending: Ending) => void): () => void {
    const own = session === this.#self.session;
    if (own && this.#host.has(seq)) return this.#await(seq, then);
    const link = own ? undefined : this.#link(session);
    if (link !== undefined) return link.wait(seq, then);
    let waits = true;
    queueMicrotask(() => waits && then(own ? "gone" : "unheard"));
    return () => void (waits = false);
  }

  /** Tells another process something that it must hear, as long as both live. */
  tell(session: string, word: "look" | "key", value: number | string): void {
    this.#link(session)?.tell(word, value);
  }

  /**
   * Whether a process takes connections for a session, which proves that it lives. Its lock may be gone all the
   * same: POSIX drops it when the process closes the locked file anywhere, as a program does that copies its own
   * data folder. Not to be connected to means nothing.
   */
  answers(session: string): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#mute) return resolve(false);
      try {
        const socket = connect(socketOf(this.#self.folder, idOf(session)), () => {
          socket.destroy();
          resolve(true);
        });
        socket.unref();
        socket.on("error", () => resolve(false));
      } catch {
        resolve(false);
      }
    });
  }

  /** A claim of ours is gone: all who wait for that hear of it. */
  gone(seq: number): void {
    const waiting = this.#waiting.get(seq);
    this.#waiting.delete(seq);
    for (const then of waiting ?? []) then("gone");
  }

  /** Ends once what is to be told has been sent, or after so many milliseconds. */
  async close(patience: number): Promise<void> {
    await atMost(patience, Promise.all([...this.#links.values()].map((link) => link.told())));
    this.end();
  }

  /** Ends at once. */
  end(): void {
    this.#mute = true;
    this.#server?.close();
    for (const socket of this.#incoming) socket.destroy();
    for (const link of [...this.#links.values()]) link.close();
    for (const seq of [...this.#waiting.keys()]) this.gone(seq);
    removeSocket(this.#self.folder, idOf(this.#self.session));
  }

  #link(session: string): Link | undefined {
    let link = this.#links.get(session);
    if (link === undefined && !this.#mute) {
      try {
        link = new Link(socketOf(this.#self.folder, idOf(session)), (broken) => {
          if (this.#links.get(session) === link) this.#links.delete(session);
          if (broken) this.#host.unheard(session);
        });
        this.#links.set(session, link);
      } catch {
        // There is no way to its socket.
      }
    }
    return link;
  }

  #await(seq: number, then: (ending: Ending) => void): () => void {
    const waiting = this.#waiting.get(seq);
    if (waiting === undefined) this.#waiting.set(seq, new Set([then]));
    else waiting.add(then);
    return () => {
      const waiting = this.#waiting.get(seq);
      waiting?.delete(then);
      if (waiting?.size === 0) this.#waiting.delete(seq);
    };
  }

  async #listen(): Promise<void> {
    if (!maySpeak()) throw new Error("this runtime may not");
    const path = socketOf(this.#self.folder, idOf(this.#self.session));
    const server = createServer((socket) => this.#serve(socket));
    server.unref();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      // A worker of `node:cluster` would share the one of its primary otherwise.
      server.listen({ path, exclusive: true }, resolve);
    });
    server.on("error", () => {}); // a connection that could not be accepted; its peer sees it end
    if (this.#self.shared) chmodSync(path, 0o660);
    this.#server = server;
    if (this.#mute) server.close(); // it has ended meanwhile
  }

  #serve(socket: Socket): void {
    const cancel: (() => void)[] = [];
    this.#incoming.add(socket);
    socket.unref();
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#incoming.delete(socket);
      for (const each of cancel) each();
    });
    hear(socket, (word, value) => {
      if (word === "read?") socket.write("read\n");
      else if (word === "key") this.#host.changed(value);
      else if (word === "look") this.#host.look(Number(value));
      else if (word === "wait") {
        const seq = Number(value);
        const gone = () => void socket.write(`gone ${seq}\n`);
        if (this.#host.has(seq)) cancel.push(this.#await(seq, gone));
        else gone();
      }
    });
  }
}

/** Waits, and keeps the process alive meanwhile, but not for longer than so many milliseconds. */
export async function atMost(ms: number, work: Promise<unknown> | undefined): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
  await Promise.race([work, late]);
  clearTimeout(timer!);
}
