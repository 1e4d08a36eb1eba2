import { checkInput, decodeToken, encodeName, encodeToken, type Fence, refuseStale } from "./fence.ts";

/** A client of the package `etcd3`. */
export interface Etcd3Client {
  /** Its keys. */
  readonly kv: EtcdTransactions;
}

/** Whatever else sends a transaction: `/v3/kv/txn` of the JSON gateway, for instance. */
export interface EtcdTransactions {
  /** Sends a request in the JSON form of etcd's API, keys and values in base 64, for its response. */
  txn(request: never): PromiseLike<unknown>;
}

/** What holds as long as no later holder was here: a comparison for one's own transaction. */
export interface EtcdGuard {
  /** Of the key whose value is compared. */
  readonly key: string;
  /** What its value must be equal to. */
  readonly value: string;
  /** The same as a `Compare` in JSON: target "VALUE", result "EQUAL". */
  readonly compare: {
    readonly target: number;
    readonly result: number;
    readonly key: string;
    readonly value: string;
  };
}

/** What {@linkcode etcdFence} gives. */
export interface EtcdFence extends Fence {
  /**
   * Checks, and gives what joins the write to it. It may be used for many writes of the holder. Should a
   * transaction not succeed, `check` says whether that was why.
   *
   * @throws {StaleTokenError} if a later holder was here before
   */
  guard(key: string, token: bigint): Promise<EtcdGuard>;
}

/** Numbers of etcd's API, which both gRPC and JSON understand. */
const EQUAL = 0;
const GREATER = 1;
const VALUE = 3;

/**
 * A fence in etcd. The write is a transaction of one's own, joined to the check by a comparison:
 *
 * ```ts
 * import { acquire } from "@holdfast/lock";
 * import { etcdFence } from "@holdfast/lock/fence";
 * import { Etcd3 } from "etcd3";
 *
 * const client = new Etcd3({ hosts: "http://127.0.0.1:2379" });
 * const fence = etcdFence(client);
 * await using lock = await acquire("config");
 * const { key, value } = await fence.guard(lock.key, lock.token);
 * const { succeeded } = await client.if(key, "Value", "==", value)
 *   .then(client.put("config/mode").value("maintenance"))
 *   .commit();
 * if (!succeeded) await fence.check(lock.key, lock.token); // throws a StaleTokenError
 * client.close();
 * ```
 *
 * Over the JSON gateway, `compare` goes into the transaction, and this is the client:
 *
 * ```ts
 * import { acquire } from "@holdfast/lock";
 * import { etcdFence } from "@holdfast/lock/fence";
 *
 * const fence = etcdFence({
 *   async txn(request: object) {
 *     const body = JSON.stringify(request);
 *     const response = await fetch("http://127.0.0.1:2379/v3/kv/txn", { method: "POST", body });
 *     if (!response.ok) throw new Error(`etcd: ${await response.text()}`);
 *     return await response.json();
 *   },
 * });
 * await using lock = await acquire("config");
 * const { compare } = await fence.guard(lock.key, lock.token);
 * console.log(compare);
 * ```
 *
 * It remembers one key of etcd for each key of a lock, `holdfast-fence/` and its name; do not delete those.
 *
 * @throws {TypeError} if it is no such client
 */
export function etcdFence(client: Etcd3Client | EtcdTransactions): EtcdFence {
  const kv = (client as Partial<Etcd3Client>)?.kv ?? client as EtcdTransactions;
  if (typeof kv?.txn !== "function") {
    throw new TypeError("Expected a client of etcd3, or an object with a method txn");
  }
  const guard = async (key: string, token: bigint): Promise<EtcdGuard> => {
    checkInput(key, token);
    const name = `holdfast-fence/${encodeName(key)}`;
    const value = encodeToken(token);
    const at = { key: btoa(name), value: btoa(value) };
    // A value that is not there is not greater than any.
    const answer = await kv.txn({
      compare: [{ target: VALUE, result: GREATER, ...at }],
      success: [{ request_range: { key: at.key } }],
      failure: [{ request_put: at }],
    } as never) as Answer;
    if (answer.succeeded) refuseStale(key, token, decodeToken(valueIn(answer)));
    return { key: name, value, compare: { target: VALUE, result: EQUAL, ...at } };
  };
  return { guard, check: async (key, token) => void await guard(key, token) };
}

/** A response, as far as it is read; by JSON, a value is in base 64. */
interface Answer {
  readonly succeeded?: boolean;
  readonly responses: readonly { response_range?: { kvs?: { value: string | Uint8Array }[] } }[];
}

function valueIn({ responses }: Answer): string | undefined {
  const value = responses[0]?.response_range?.kvs?.[0]?.value;
  return typeof value === "string" ? atob(value) : new TextDecoder().decode(value);
}
