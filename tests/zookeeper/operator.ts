import type { Buffer } from "node:buffer";
import { connect } from "node:net";
import { Frames } from "../../backends/zookeeper/client/frames.ts";
import { Reader, Writer } from "../../backends/zookeeper/client/jute.ts";
import { holders } from "../../internal/queue.ts";
import { settingsOf } from "../../backends/zookeeper/address.ts";
import { dial } from "../../backends/zookeeper/client/dial.ts";
import { pathOf, queueOf } from "../../backends/zookeeper/names.ts";
import { code, ignore } from "../../backends/zookeeper/client/errors.ts";
import * as op from "../../backends/zookeeper/client/operations.ts";

/** Somebody with ZooKeeper's own means and no locks: reads, writes and deletes nodes. */
export class Operator implements AsyncDisposable {
  /** Sends one request. */
  readonly ask: <T>(operation: op.Operation<T>) => Promise<T>;
  readonly #over: AbortController;

  private constructor(ask: Operator["ask"], over: AbortController) {
    this.ask = ask;
    this.#over = over;
  }

  /** As of `zookeeper()`. `session`: somebody else's, to be taken over. */
  static async connect(
    address: Parameters<typeof settingsOf>[0],
    session: { id: bigint; password: Uint8Array } = { id: 0n, password: new Uint8Array(16) },
  ): Promise<Operator> {
    const over = new AbortController();
    const { connection } = await dial({
      settings: settingsOf(address),
      hello: () => ({ lastZxid: 0n, timeout: 10_000, session: session.id, password: session.password }),
      timeout: 5_000,
      listener: { event: () => {}, ended: () => {} },
      signal: over.signal,
    });
    connection.keepAlive(1_000);
    return new Operator((operation) => connection.request(operation), over);
  }

  /** The names of the children; none if the node is not there. */
  async children(path: string): Promise<string[]> {
    return await this.ask(op.getChildren(path, false)).catch(ignore(code.noNode)) ?? [];
  }

  /** Whether the node is there. */
  async exists(path: string): Promise<boolean> {
    return await this.ask(op.exists(path, false)).catch(ignore(code.noNode)) !== undefined;
  }

  /** Deletes the nodes of the holders of a key, given as `prefix/key`. */
  async revoke(key: string, chroot = ""): Promise<void> {
    const path = pathOf(chroot, key);
    const queue = queueOf(await this.children(path));
    for (const { name } of queue.slice(0, holders(queue))) {
      await this.ask(op.remove(`${path}/${name}`)).catch(ignore(code.noNode));
    }
  }

  /** What waits and holds at a key, in the root's default prefix. */
  queue(key: string): Promise<string[]> {
    return this.children(`/holdfast/${key}`);
  }

  /** The session that a node lives and dies with. */
  async owner(path: string): Promise<bigint> {
    return (await this.ask(op.exists(path, false))).ephemeralOwner;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ask(op.closeSession).catch(() => {});
    this.#over.abort();
  }
}

/**
 * Ends somebody else's session, as a server does that thinks it has expired: takes it over and closes it, in
 * one breath. Passwords are those of `SessionTracker`: `new Random(id ^ 0xB3415C00L).nextBytes(16)`.
 */
export async function endSession(port: number, id: bigint): Promise<void> {
  const mask = (1n << 48n) - 1n;
  let seed = (id ^ 0xB3415C00n ^ 0x5DEECE66Dn) & mask;
  const password = new Uint8Array(16);
  for (let at = 0; at < 16; at += 4) {
    seed = (seed * 0x5DEECE66Dn + 0xBn) & mask;
    for (let n = 0; n < 4; n++) password[at + n] = Number(seed >> BigInt(16 + 8 * n) & 0xffn);
  }
  for (;;) {
    const frames = await new Promise<Buffer[]>((resolve, reject) => {
      const heard: Buffer[] = [];
      const cut = new Frames();
      const socket = connect({ host: "127.0.0.1", port }, () => {
        socket.write(op.hello({ lastZxid: 0n, timeout: 10_000, session: id, password }));
        socket.write(new Writer().int(1).int(op.closeSession.type).frame());
      });
      socket.on("data", (bytes: Buffer) => heard.push(...cut.push(bytes)));
      socket.on("error", reject);
      socket.on("close", () => resolve(heard));
    });
    // Unless its owner has come back in between and been faster.
    const isOver = frames.length > 0 && new Reader(frames[0]!.subarray(4)).int() === 0;
    if (isOver || frames.length > 1) return;
  }
}
