import { createServer, type Server, type Socket } from "node:net";
import { newAddress, type Place, PLACES, prepare, removeSocket, settled } from "./address.ts";
import { type Ending, hear, isDead, Link } from "./link.ts";

/** What a process answers to its peers. */
export interface Host {
  /** Whether it has this claim, as far as it knows. */
  has(seq: number): boolean;
  /** Somebody says to have removed one of its claims. */
  look(seq: number): void;
  /** Somebody says that the queue of this key has changed. */
  changed(key: string): void;
  /** A process has been found to have ended. */
  dead(address: string): void;
}

/**
 * How the processes that share a lock file wake each other, and know that one of them has ended:
 * each listens on a socket of its own. A waiter connects to the processes it waits for. A process
 * says when a claim of its own is gone, and its end ends the connection. Nobody polls.
 *
 * None of this is believed: what is heard is a reason to look into the file. The one exception is an
 * address that refuses connections, which proves that its process has ended.
 */
export class Peers {
  readonly #host: Host;
  readonly #links = new Map<string, Link>();
  readonly #incoming = new Set<Socket>();
  /** Who waits for which claim of ours. */
  readonly #waiting = new Map<number, Set<(ending: Ending) => void>>();
  #server: Server | undefined;
  #address = "";

  private constructor(host: Host) {
    this.#host = host;
  }

  /** Listens at a new address that belongs to a lock file. */
  static async listen(file: string, host: Host): Promise<Peers> {
    const peers = new Peers(host);
    for (const open of PLACES) {
      try {
        const place = open(file);
        await peers.#listen(place);
        void peers.#sweep(place);
        break;
      } catch {
        // Without an address locks are handed on by ttl only; nothing becomes wrong.
      }
    }
    return peers;
  }

  /** Where others reach this process, never another one; empty if they cannot. */
  get address(): string {
    return this.#address;
  }

  /**
   * Calls `then` once, when the process at the address no longer has this claim, or can no longer
   * tell. Returns the cancellation.
   */
  wait(address: string, seq: number, then: (ending: Ending) => void): () => void {
    if (address === "") return () => {};
    if (address !== this.#address) return this.#link(address).wait(seq, then);
    if (this.#host.has(seq)) return this.#await(seq, then);
    queueMicrotask(() => then("gone"));
    return () => {};
  }

  /** Tells another process something that it must hear, as long as both live. */
  tell(address: string, word: "look" | "key", value: number | string): void {
    if (address !== "") this.#link(address).tell(word, value);
  }

  /** A claim of ours is gone: whoever waits for that hears of it. */
  gone(seq: number): void {
    const waiting = this.#waiting.get(seq);
    this.#waiting.delete(seq);
    for (const then of waiting ?? []) then("gone");
  }

  /** Ends once what is to be told has been sent, or after so many milliseconds. */
  async close(patience: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout>;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, patience));
    await Promise.race([Promise.all([...this.#links.values()].map((link) => link.told())), late]);
    clearTimeout(timer!);
    this.#server?.close();
    for (const socket of this.#incoming) socket.destroy();
    for (const link of this.#links.values()) link.close();
    if (this.#address !== "") removeSocket(this.#address);
  }

  #link(address: string): Link {
    let link = this.#links.get(address);
    if (link === undefined) {
      link = new Link(address, (ending) => {
        if (this.#links.get(address) === link) this.#links.delete(address);
        if (ending === "dead") this.#host.dead(address);
      });
      this.#links.set(address, link);
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

  async #listen(place: Place): Promise<void> {
    const address = newAddress(place);
    prepare(place);
    const server = createServer((socket) => this.#serve(socket));
    server.unref();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(address, resolve);
    });
    server.on("error", () => {}); // a connection that could not be accepted; its peer sees it end
    this.#server = server;
    this.#address = address;
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

  /** Looks after what processes that were killed have left behind. */
  async #sweep(place: Place): Promise<void> {
    for (const address of settled(place)) {
      if (await isDead(address)) this.#host.dead(address);
    }
  }
}
