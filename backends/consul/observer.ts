import type { Call, Entry, Watcher } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import { holders } from "../../internal/queue.ts";
import type { ConsulApi, Sight } from "./client/api.ts";
import { boundsOf } from "./client/http.ts";
import { decodeValue, type Pair } from "./client/kv.ts";
import { follow } from "./client/follow.ts";
import { queueOf } from "./entries.ts";
import { described, metadataOf, scopeOf, treeOf } from "./names.ts";

/** Milliseconds that one question of a watch may stand open. */
const WAIT = 60_000;

/** What `inspect()` and `query()` show. */
export async function list(api: ConsulApi, root: string, scope: string, call: Call): Promise<Entry[]> {
  const bounds = boundsOf(call);
  if (scope.endsWith("/")) return entriesOf(root, await api.tree(scopeOf(root, scope), bounds));
  const answer = await api.transact([
    { Verb: "get-tree", Key: treeOf(root, scope) },
    { Verb: "get-tree", Key: metadataOf(root, scope) },
  ], bounds);
  if (!Array.isArray(answer)) throw new BackendError(`Cannot list claims: Consul refused: ${answer.why}`);
  return entriesOf(root, answer);
}

/** Hears of every change to the queue of a key, once this has resolved. */
export async function watch(
  api: ConsulApi,
  root: string,
  key: string,
  { watcher, call }: { readonly watcher: Watcher; readonly call: Call },
): Promise<AsyncDisposable> {
  const name = treeOf(root, key);
  const stop = new AbortController();
  const report = async ({ names, index }: Sight): Promise<void> => {
    let seen = names.join();
    for await (const view of follow(api, { name, tree: true, index, wait: WAIT }, stop)) {
      const found = view.names.join();
      if (found !== seen) watcher.changed();
      seen = found;
    }
  };
  const first = await api.next(name, { index: 0, wait: WAIT, tree: true }, boundsOf(call));
  report(first).catch((error) => {
    if (!stop.signal.aborted) watcher.failed(error);
  });
  return {
    [Symbol.asyncDispose]: () => {
      stop.abort();
      return Promise.resolve();
    },
  };
}

function entriesOf(root: string, pairs: readonly Pair[]): Entry[] {
  const metadata = new Map<string, string>();
  for (const { Key, Value } of pairs) {
    const id = described(root, Key);
    if (id !== undefined) metadata.set(id, decodeValue(Value));
  }
  const queues = Map.groupBy(queueOf(root, pairs), ({ key }) => key);
  return [...queues.values()].flatMap((queue) => {
    const held = holders(queue);
    return queue.map(({ key, id, client, limit, token }, index): Entry => ({
      key,
      id,
      client,
      limit,
      metadata: metadata.get(id),
      held: index < held,
      ...(index < held && { token: BigInt(token) }),
    }));
  });
}
