import { Buffer } from "node:buffer";
import type { KeyValue } from "./client/messages.ts";
import type { Entry, Watcher } from "../../internal/backend.ts";
import { holders } from "../../internal/queue.ts";
import { endOf } from "./client/requests.ts";
import { keyOf, readName } from "./names.ts";
import { queueOf } from "./entries.ts";
import type { Bounds, Port } from "./client/port.ts";
import { EtcdError } from "./client/errors.ts";

/** Hears of every change to the queue of a key, once this has resolved. */
export async function watch(port: Port, key: string, watcher: Watcher): Promise<AsyncDisposable> {
  const queue = `${key}/`;
  let ready = false;
  const watching = port.watch({ key: Buffer.from(queue), range_end: endOf(queue) }, {
    changed: () => watcher.changed(),
    failed: (error) => ready && watcher.failed(error),
  });
  await watching.ready;
  ready = true;
  return { [Symbol.asyncDispose]: async () => watching.cancel() };
}

/** Claims in one message: with 4 KiB of metadata each, gRPC's usual 4 MiB would do. */
const PAGE = 500;

/** The claims of a key, or of all keys under a prefix (`"prefix/"`), at one revision. */
export async function list(port: Port, scope: string, call: Bounds): Promise<Entry[]> {
  const one = !scope.endsWith("/");
  // What leases keep for themselves sorts behind all keys, as "~" does.
  const start = one ? `${scope}/` : scope;
  const end = one ? endOf(start) : Buffer.from(`${start}~`);
  const keys = await readAll(port, start, end, call);
  const queues = Map.groupBy(keys, ({ key }) => keyOf(key.toString()));
  const entries = [...queues].flatMap(([key, claims]) => key === undefined ? [] : entriesOf(key, claims));
  return one ? await withRemaining(port, entries, call) : entries.map(({ entry }) => entry);
}

async function readAll(port: Port, start: string, end: Buffer, call: Bounds): Promise<KeyValue[]> {
  const all: KeyValue[] = [];
  let key = Buffer.from(start);
  for (let revision = "0";;) {
    const page = await port.call("range", { key, range_end: end, limit: PAGE, revision }, call);
    all.push(...page.kvs);
    if (!page.more) return all;
    const last = page.kvs.at(-1)?.key;
    if (last === undefined || last.compare(key) < 0) throw EtcdError.unreadable("a page that leads nowhere");
    key = Buffer.concat([last, Buffer.from([0])]);
    if (revision === "0") revision = page.header.revision;
  }
}

interface Listed {
  readonly entry: Entry;
  readonly lease: string;
}

function entriesOf(key: string, claims: readonly KeyValue[]): Listed[] {
  const values = new Map(claims.map((kv) => [kv.key.toString(), kv]));
  const queue = queueOf(claims);
  const held = holders(queue);
  return queue.map(({ name, created, limit }, index) => {
    const kv = values.get(name)!;
    const { id, client, metadata } = described(name, kv.value);
    const entry: Entry = { key, id, client, limit, metadata, held: index < held };
    return { entry: index < held ? { ...entry, token: created } : entry, lease: kv.lease };
  });
}

/** Ours says so in its value; anything else goes by its name. */
function described(name: string, value: Buffer): Pick<Entry, "id" | "client" | "metadata"> {
  const foreign = { id: name.slice(name.lastIndexOf("/") + 1), client: "", metadata: undefined };
  if (readName(name).lease === undefined) return foreign;
  try {
    const { id, client, metadata } = JSON.parse(value.toString());
    const ours = [id, client, metadata ?? ""].every((text) => typeof text === "string");
    return ours ? { id, client, metadata } : foreign;
  } catch {
    return foreign;
  }
}

/** Adds how long the leases of the holders have left: etcd tells whole seconds, rounded down. */
async function withRemaining(port: Port, listed: readonly Listed[], call: Bounds): Promise<Entry[]> {
  const leases = new Set(
    listed.filter(({ entry, lease }) => entry.held && lease !== "0").map(({ lease }) => lease),
  );
  const remaining = new Map(
    await Promise.all([...leases].map(async (lease) => {
      const { TTL, grantedTTL } = await port.call("leaseTimeToLive", { ID: lease }, call);
      return [lease, Math.max(0, Math.min(Number(TTL) + 1, Number(grantedTTL))) * 1_000] as const;
    })),
  );
  return listed.map(({ entry, lease }) => {
    const left = remaining.get(lease);
    return entry.held && left !== undefined ? { ...entry, remaining: left } : entry;
  });
}
