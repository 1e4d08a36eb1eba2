import { Connection } from "./connection.ts";
import { type Endpoint, nameOf } from "./endpoint.ts";
import type { Reply } from "./reply.ts";
import { written } from "./request.ts";
import type { Message, Sender, Transport } from "./sender.ts";

/**
 * Kept-alive connections of our own, each for one request at a time.
 *
 * With `node:http` two transactions in a row take longer by 28 % (Deno, Node) or 20 % (Bun), p50, both measured
 * in turns in one process; Deno's also sends a request again. `fetch` cannot take a certificate authority in
 * Node, and sends a PUT again when a reused connection breaks (Bun, Deno).
 */
export class Connections implements Sender {
  readonly #transport: Transport;
  readonly #idle = new Map<string, Connection[]>();
  readonly #open = new Set<Connection>();

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  send(at: Endpoint, message: Message): Promise<Reply> {
    if (message.signal.aborted) return Promise.reject(message.signal.reason);
    const text = written(at, message);
    const name = nameOf(at);
    const urgent = `${name} urgent`;
    const idle = message.urgent
      // One of the others, before it depends on there being room for one more.
      ? this.#take(urgent) ?? this.#take(name)
      // Where one connection is enough for everything, it is the one that is kept for what is urgent.
      : this.#take(name) ??
        (message.silence === undefined && !this.#has(name) ? this.#take(urgent) : undefined);
    const connection = idle ?? this.#connect(at, name);
    if (message.urgent) connection.lane = urgent;
    return connection.send(text, message);
  }

  forget(at: Endpoint): void {
    for (const connection of [...this.#idle.get(nameOf(at)) ?? []]) connection.destroy(undefined);
  }

  close(): void {
    for (const connection of this.#open) connection.destroy(new Error("the connection was closed"));
  }

  #take(lane: string): Connection | undefined {
    return this.#idle.get(lane)?.pop();
  }

  /** Whether there are any, but for those over which a question stands open. */
  #has(lane: string): boolean {
    return this.#open.values().some((connection) => connection.lane === lane && !connection.standing);
  }

  #connect(at: Endpoint, lane: string): Connection {
    const connection = new Connection(at, this.#transport, lane, {
      free: () => {
        const idle = this.#idle.get(connection.lane);
        if (idle === undefined) this.#idle.set(connection.lane, [connection]);
        else idle.push(connection);
      },
      ended: () => {
        this.#open.delete(connection);
        const idle = this.#idle.get(connection.lane);
        const at = idle?.indexOf(connection) ?? -1;
        if (at >= 0) idle!.splice(at, 1);
      },
    });
    this.#open.add(connection);
    return connection;
  }
}
