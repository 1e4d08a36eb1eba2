import { encodeName, type Fence } from "./fence.ts";
import { remember } from "./register.ts";

/** A client of the package `node-zookeeper-client`, connected, as far as it is used. */
export interface ZooKeeperClient {
  /** Reads a node. */
  getData(
    path: string,
    done: (error: unknown, data: Uint8Array, stat: { version: number }) => void,
  ): void;
  /** Creates a node and those above it. */
  mkdirp(path: string, done: (error: unknown, path: string) => void): void;
  /** Begins a multi. */
  transaction(): ZooKeeperMulti;
}

/** A multi, as far as it is used. */
export interface ZooKeeperMulti {
  /** Creates a node. */
  create(path: string, data: never): ZooKeeperMulti;
  /** Writes a node that has this version. */
  setData(path: string, data: never, version?: number): ZooKeeperMulti;
  /** Fails unless the node has this version. */
  check(path: string, version: number): ZooKeeperMulti;
  /** Sends it. */
  commit(done: (error: unknown, results: unknown) => void): void;
}

/** What holds as long as no later holder was here: a check for one's own multi. */
export interface ZooKeeperGuard {
  /** Of the node. */
  readonly path: string;
  /** That it must have: 1 or more. */
  readonly version: number;
}

/** What {@linkcode zookeeperFence} gives. */
export interface ZooKeeperFence extends Fence {
  /**
   * Checks, and gives what joins the write to it. It may be used for many writes of the holder. Should a
   * multi fail (BAD_VERSION), `check` says whether that was why.
   *
   * @throws {StaleTokenError} if a later holder was here before
   */
  guard(key: string, token: bigint): Promise<ZooKeeperGuard>;
}

const ROOT = "/holdfast-fence";

/** The server's codes, as the client gives them. */
const NO_NODE = -101;
const BAD_VERSION = -103;
const NODE_EXISTS = -110;

/**
 * A fence in ZooKeeper. The write is a multi of one's own, joined to the check by an operation:
 *
 * ```ts
 * import { acquire } from "@holdfast/lock";
 * import { zookeeperFence } from "@holdfast/lock/fence";
 * import zookeeper from "node-zookeeper-client";
 *
 * const client = zookeeper.createClient("127.0.0.1:2181");
 * client.connect();
 * const fence = zookeeperFence(client);
 * await using lock = await acquire("config");
 * const { path, version } = await fence.guard(lock.key, lock.token);
 * const failed = await new Promise<unknown>((resolve) =>
 *   client.transaction().check(path, version).create("/mode", Buffer.from("maintenance")).commit(resolve)
 * );
 * if (failed) {
 *   await fence.check(lock.key, lock.token); // throws a StaleTokenError if that was why
 *   throw failed;
 * }
 * client.close();
 * ```
 *
 * It remembers one node for each key of a lock, `/holdfast-fence/` and its name; do not delete those. What it
 * creates is open to everybody, as all that the client creates unless told otherwise: create
 * `/holdfast-fence`, and who may reach it, before the first use.
 *
 * @throws {TypeError} if it is no such client
 */
export function zookeeperFence(client: ZooKeeperClient): ZooKeeperFence {
  if (typeof client?.getData !== "function" || typeof client.transaction !== "function") {
    throw new TypeError("Expected a client of the package node-zookeeper-client");
  }
  const guard = async (key: string, token: bigint): Promise<ZooKeeperGuard> => {
    const path = `${ROOT}/${encodeName(key)}`;
    const version = await remember(
      {
        read: () => read(client, path),
        write: (value, version) =>
          version === undefined ? create(client, path, value) : replace(client, path, value, version),
      },
      key,
      token,
    );
    return { path, version };
  };
  const check = async (key: string, token: bigint): Promise<void> => {
    // A follower may have told what was true a while ago: the leader checks it.
    for (;;) {
      const { path, version } = await guard(key, token);
      if (await unless(BAD_VERSION, commit(client.transaction().check(path, version)))) return;
    }
  };
  return { guard, check };
}

function read(
  client: ZooKeeperClient,
  path: string,
): Promise<{ value: string; version: number } | undefined> {
  return new Promise((resolve, reject) =>
    client.getData(path, (error, data, stat) => {
      if (codeOf(error) === NO_NODE) resolve(undefined);
      else if (error) reject(error);
      else resolve({ value: new TextDecoder().decode(data), version: stat.version });
    })
  );
}

/**
 * In version 1: a transaction of the client takes version 0 for any. So the node is written once more in the
 * same step.
 */
async function create(client: ZooKeeperClient, path: string, value: string): Promise<void> {
  await new Promise<void>((resolve, reject) =>
    client.mkdirp(ROOT, (error) => error ? reject(error) : resolve())
  );
  const data = bytes(value);
  await unless(NODE_EXISTS, commit(client.transaction().create(path, data).setData(path, data)));
}

async function replace(client: ZooKeeperClient, path: string, value: string, version: number): Promise<void> {
  await unless(BAD_VERSION, commit(client.transaction().setData(path, bytes(value), version)));
}

function commit(multi: ZooKeeperMulti): Promise<void> {
  return new Promise((resolve, reject) => multi.commit((error) => error ? reject(error) : resolve()));
}

/** Whether it was done, rather than refused for this reason. */
async function unless(code: number, done: Promise<void>): Promise<boolean> {
  try {
    await done;
    return true;
  } catch (error) {
    if (codeOf(error) === code) return false;
    throw error;
  }
}

/** The server's code, if it is the server that has refused. */
function codeOf(error: unknown): number | undefined {
  return (error as { getCode?(): number } | null)?.getCode?.();
}

/** The client takes no other bytes than those of Node's `Buffer`, which is global where the client runs. */
function bytes(text: string): never {
  const { Buffer } = globalThis as unknown as { Buffer: { from(text: string): never } };
  return Buffer.from(text);
}
