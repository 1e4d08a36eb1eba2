/**
 * Locks in the store that a URL names: for a setting of the environment, say, that differs between a laptop and a
 * data center.
 *
 * ```ts
 * import { connect } from "@holdfast/lock/connect";
 *
 * await using locks = connect("redis://127.0.0.1:6379", { prefix: "billing" });
 * await using lock = await locks.acquire("invoice:42");
 * ```
 *
 * The URL is read and checked at once. The backend of its store is loaded, with the package that it needs, at the first
 * call, and no other one is. What a store promises, and does not, is said in the documentation of its own entry point,
 * which also takes what no URL can say: clients of yours, locators, functions that give passwords and tokens.
 *
 * | URL | also | store |
 * |---|---|---|
 * | `memory:` |  | this process alone |
 * | `sqlite:///var/lib/app/locks.db` |  | a local file, without a path the default one |
 * | `postgres://user:password@host1:5432,host2:5432/database?sslmode=verify-full` | `postgresql:` | Postgres, by one host or several |
 * | `redis://user:password@host:6379/0` | `rediss:` `valkey:` `valkeys:` | Redis, one server |
 * | `redis+sentinel://user:password@host1:26379,host2:26379/name/0` | `rediss+sentinel:` `valkey+sentinel:` `valkeys+sentinel:` | Redis, the master that Sentinels name |
 * | `redis+cluster://user:password@host1:6379,host2:6379` | `rediss+cluster:` `valkey+cluster:` `valkeys+cluster:` | Redis Cluster, by some of its nodes |
 * | `redlock://user:password@host1:6379,host2:6379,host3:6379/0` | `redlocks:` | a majority of independent Redis servers |
 * | `etcd://user:password@host1:2379,host2:2379` | `etcds:` | etcd, by some of its members |
 * | `zookeeper://user:password@host1:2181,host2:2181/chroot?tickTime=2000` |  | ZooKeeper, by some of its servers |
 * | `consul://host:8500?token=...` | `consuls:` | Consul, by an agent |
 *
 * An `s` before the colon or the plus stands for TLS. User, password and path are escaped as `encodeURIComponent` does
 * it. An IPv6 address stands in brackets. Where there are several hosts, user and password stand once, before the first
 * one, and are the same on all of them; by Sentinels they are the master's. In a `consul:` URL they, and a path, are those
 * of a proxy in front of the agent. What may be left out: the port, user and password, the database. A file is named by
 * its absolute path after `sqlite://`, or by a relative one after `sqlite:`.
 *
 * What else there is to say stands behind a question mark. A parameter that is unknown, or is given twice, is refused.
 * A "file" is the path of one, which is read when the store is first used; a "secret" is shown nowhere; a "flag" is
 * `true` or `false`.
 *
 * | parameter | kind | what it says | without it | of |
 * |---|---|---|---|---|
 * | `schema` | text | the schema that the tables are in | `holdfast` | `postgres:` |
 * | `listen` | secret | the URL, escaped, to listen at for notifications where the first is a pooler's |  | `postgres:` |
 * | `host` | text | in place of the hosts in front: names, addresses or the folder of a socket |  | `postgres:` |
 * | `port` | text | goes with `host` | 5432 | `postgres:` |
 * | `dbname` | text | the database | named as the user | `postgres:` |
 * | `user` | text | the role | the user of the operating system | `postgres:` |
 * | `password` | secret | its password |  | `postgres:` |
 * | `sslmode` | text | as libpq has it: disable, allow, prefer, require, verify-ca, verify-full | prefer | `postgres:` |
 * | `sslrootcert` | file | the authorities to trust, as PEM, or `system` |  | `postgres:` |
 * | `sslcert` | file | the certificate to show to the server, as PEM |  | `postgres:` |
 * | `sslkey` | file | the private key of `sslcert`, as PEM |  | `postgres:` |
 * | `sslnegotiation` | text | how TLS begins: postgres, direct | postgres | `postgres:` |
 * | `connect_timeout` | number | whole seconds, for each host | no limit | `postgres:` |
 * | `application_name` | text | what the server shows of the connection | `holdfast` | `postgres:` |
 * | `options` | text | settings of the server for the connection: `-c work_mem=1MB`, escaped |  | `postgres:` |
 * | `target_session_attrs` | text | read-write, primary, any: a server that takes writes is used anyway |  | `postgres:` |
 * | `channel_binding` | text | prefer, disable: a login is not bound to TLS |  | `postgres:` |
 * | `gssencmode` | text | prefer, disable: GSSAPI is not spoken |  | `postgres:` |
 * | `db` | number | the number of the database | 0 | `redis:` `redis+sentinel:` `redis+cluster:` `redlock:` |
 * | `family` | number | of the addresses behind a name: 4, 6, or 0 for both | 0 | `redis:` `redis+sentinel:` `redis+cluster:` `redlock:` |
 * | `protocol` | number | RESP: 2 or 3 | 3, or 2 where the server knows no other | `redis:` `redis+sentinel:` `redis+cluster:` `redlock:` |
 * | `connectTimeout` | number | milliseconds | 5000 | `redis:` `redis+sentinel:` `redis+cluster:` `redlock:` |
 * | `tls` | flag | whether to speak TLS, if the scheme does not say so | false | `redis:` `redis+sentinel:` `redis+cluster:` `redlock:` |
 * | `ca` | file | the authorities to trust instead of those of the runtime, as PEM |  | `redis:` `redis+sentinel:` `redis+cluster:` `redlock:` `etcd:` `consul:` |
 * | `cert` | file | the certificate to show to the server, as PEM |  | `redis:` `redis+sentinel:` `redis+cluster:` `redlock:` `etcd:` `consul:` |
 * | `key` | file | the private key of `cert`, as PEM |  | `redis:` `redis+sentinel:` `redis+cluster:` `redlock:` `etcd:` `consul:` |
 * | `servername` | text | the name that the server's certificate must bear | its host | `redis:` `redis+sentinel:` `redis+cluster:` `redlock:` `etcd:` `consul:` |
 * | `passphrase` | secret | what decrypts the `key` |  | `redis:` `redis+sentinel:` `redis+cluster:` `redlock:` |
 * | `rejectUnauthorized` | flag | false trusts every certificate | true | `redis:` `redis+sentinel:` `redis+cluster:` `redlock:` |
 * | `rememberFor` | number | milliseconds for which the last token of a key is remembered | 300000 | `redis:` `redis+sentinel:` `redis+cluster:` |
 * | `sentinelUsername` | text | the user at the Sentinels themselves |  | `redis+sentinel:` |
 * | `sentinelPassword` | secret | the password at the Sentinels themselves |  | `redis+sentinel:` |
 * | `sentinelTLS` | flag | whether to speak TLS to the Sentinels | as to the master | `redis+sentinel:` |
 * | `maxTtl` | number | milliseconds: the longest ttl, and how long a new node stays out | 30000 | `redlock:` |
 * | `tickTime` | number | milliseconds: the servers' own, or more | 2000 | `zookeeper:` |
 * | `token` | secret | the ACL token |  | `consul:` |
 * | `dc` | text | the datacenter that keeps the locks | the agent's own | `consul:` |
 * | `ns` | text | the namespace of Consul Enterprise | that of the token | `consul:` |
 * | `partition` | text | the admin partition of Consul Enterprise | the agent's own | `consul:` |
 * | `prefix` | text | put before every key in the KV store |  | `consul:` |
 * | `node` | text | the node of the catalog that sessions belong to | the agent's own | `consul:` |
 *
 * No error repeats a password, wherever it stands in a URL that is not right.
 *
 * Deno needs `--allow-read` for the files, and what the entry point of the store says.
 *
 * @module
 */
import { open } from "./backends/schemes.ts";
import { LockManager } from "./internal/manager.ts";
import type { LockManagerOptions } from "./internal/options.ts";

export type { LockManager, LockManagerOptions };

/**
 * A manager over the store that a URL names, with the options of `new LockManager`. Nothing is loaded and nothing
 * connects before its first call. Two of them are two backends, as if each process had one; closing a manager closes
 * its own.
 *
 * ```ts
 * import { connect } from "@holdfast/lock/connect";
 *
 * await using locks = connect("memory:", { ttl: 5_000 });
 * await using lock = await locks.acquire("invoice:42");
 * console.log(lock.ttl);
 * ```
 *
 * @throws {TypeError} If the URL names no store, or something in it is unknown, contradictory or not escaped; if an
 * option is none
 * @throws {RangeError} If a number is out of range
 */
export function connect(url: string | URL, options?: LockManagerOptions): LockManager {
  return new LockManager(open(url), options);
}
