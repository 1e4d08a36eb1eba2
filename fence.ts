/**
 * The other half of a lock: the resource looks at the token. A process may be stopped between its last look
 * at `lock.signal` and its write, and write when its lock is long another's. No lock can prevent that; the
 * resource can, if it refuses a token smaller than the greatest that it has seen:
 *
 * ```ts
 * import { acquire } from "@holdfast/lock";
 * import { memoryFence } from "@holdfast/lock/fence";
 *
 * const fence = memoryFence();
 * await using lock = await acquire("ledger");
 * fence.checkSync(lock.key, lock.token); // throws a StaleTokenError once a later holder was here
 * console.log("paid");
 * ```
 *
 * | what is written to | fence | how check and write are one step |
 * |---|---|---|
 * | memory | {@linkcode memoryFence} | nothing is awaited between them |
 * | SQLite | {@linkcode sqliteFence} | your transaction |
 * | Postgres | {@linkcode postgresFence} | your transaction |
 * | another SQL database | {@linkcode FENCE_TABLE}, {@linkcode FENCE_CHECK} | your transaction |
 * | Redis | {@linkcode redisFence} | `write`, one script |
 * | etcd | {@linkcode etcdFence} | `guard`, a comparison in your transaction |
 * | ZooKeeper | {@linkcode zookeeperFence} | `guard`, a check in your multi |
 * | Consul | {@linkcode consulFence} | `guard`, an operation in your transaction |
 * | a service of yours | {@linkcode fenceHeaders}, {@linkcode checkRequest} | as its own fence does |
 *
 * **Who is fenced.** Exclusive holders. Those of a shared lock or of a semaphore hold at the same time, so
 * that the smaller token is not the older holder's: do not give their tokens to a fence, it would refuse some
 * that are right.
 *
 * **A crash** between check and write leaves the token remembered and nothing written: later holders pass all
 * the same. A check whose answer was lost is repeated as it was: the greatest token passes again.
 *
 * **Tokens of one store.** They rise within `lock.fencing`. If the locks move to another store, or theirs is
 * restored from a backup, its tokens may be smaller: use another key then, or remove what the fence remembers
 * while nobody holds.
 *
 * It takes the clients that you have, and loads no package and no module of a runtime: it runs in workers.
 *
 * @module
 */
export { type Fence, StaleTokenError, type SyncFence } from "./internal/fence/fence.ts";
export { memoryFence } from "./internal/fence/memory.ts";
export { FENCE_CHECK, FENCE_TABLE, fenceValues, refuseRow } from "./internal/fence/sql.ts";
export { type SqliteDatabase, sqliteFence } from "./internal/fence/sqlite.ts";
export { postgresFence, type PostgresQueries, type PostgresSql } from "./internal/fence/postgres.ts";
export {
  type RedisFence,
  redisFence,
  type RedisFenceClient,
  type RedisScript,
  type RedisWork,
} from "./internal/fence/redis.ts";
export {
  type Etcd3Client,
  type EtcdFence,
  etcdFence,
  type EtcdGuard,
  type EtcdTransactions,
} from "./internal/fence/etcd.ts";
export {
  type ZooKeeperClient,
  type ZooKeeperFence,
  zookeeperFence,
  type ZooKeeperGuard,
  type ZooKeeperMulti,
} from "./internal/fence/zookeeper.ts";
export { type ConsulFence, consulFence, type ConsulGuard, type ConsulKeys } from "./internal/fence/consul.ts";
export {
  checkRequest,
  type Fenced,
  fenceHeaders,
  type FenceProblem,
  type WithHeaders,
} from "./internal/fence/http.ts";
