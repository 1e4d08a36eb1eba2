import { Buffer } from "node:buffer";
import { ZooKeeperError } from "./errors.ts";
import { type Reader, Writer } from "./jute.ts";

/** One request, as ZooKeeper 3.5 and later speak it (`zookeeper.jute`). */
export interface Operation<T> {
  /** The server's number for it. */
  readonly type: number;
  /** Writes what follows the request's header. */
  readonly write: (to: Writer) => void;
  /** Reads what follows the reply's header. */
  readonly read: (from: Reader) => T;
  /** Goes ahead of what has not been sent yet: what sessions live by. */
  readonly urgent?: boolean;
  /** Names a look at what is there: those of one turn go out as one, in the place of the last. */
  readonly look?: string;
  /** Asked when the turn of the request has come; nothing is sent if the request is of no use by then. */
  readonly needless?: () => boolean;
}

/** What is known of a node besides its data. */
export interface Stat {
  /** The transaction that created it: rises with each. */
  readonly czxid: bigint;
  /** When that was: milliseconds, by the server's time. */
  readonly ctime: bigint;
  /** The session it lives and dies with; 0n: none. */
  readonly ephemeralOwner: bigint;
}

/** Who may do what. */
export interface Acl {
  /** Bits: 1 read, 2 write, 4 create, 8 delete, 16 admin. */
  readonly perms: number;
  /** "world" or "auth". */
  readonly scheme: string;
  /** "anyone", or nothing for "auth", which stands for the user that is logged in. */
  readonly id: string;
}

/** A created node. */
export interface Created {
  /** With its sequence number. */
  readonly path: string;
  /** Its first. */
  readonly stat: Stat;
}

/** Flags of `create`. */
export const EPHEMERAL = 1;
/** The server appends a number that rises with each child of the parent. */
export const EPHEMERAL_SEQUENTIAL = 3;

/** Characters of a sequence number, sign and all. */
const SEQUENCE = 11;
/** Bytes of data that are read; a server keeps up to a MiB. */
const DATA = 64 * 1024;

/** Creates a node. */
export function create(path: string, data: string, acl: readonly Acl[], flags: number): Operation<Created> {
  return creation(15, path, data, acl, flags);
}

/** Creates a node that the server removes once its last child has gone. */
export function createContainer(path: string, acl: readonly Acl[]): Operation<Created> {
  return creation(19, path, "", acl, 4);
}

function creation(
  type: number,
  path: string,
  data: string,
  acl: readonly Acl[],
  flags: number,
): Operation<Created> {
  return {
    type,
    write: (to) =>
      to.string(path).buffer(Buffer.from(data)).list(acl, ({ perms, scheme, id }) => {
        to.int(perms).string(scheme).string(id);
      }).int(flags),
    read: (from) => ({ path: numbered(path, from.string()), stat: stat(from) }),
  };
}

/** The path of a created node: the one asked for, with what the server has appended. */
function numbered(path: string, made: string): string {
  if (made.startsWith(path) && made.length <= path.length + SEQUENCE) return made;
  throw new RangeError("the path of another node than the one to be created");
}

/** Deletes a node, whatever its version. */
export function remove(path: string): Operation<void> {
  return { type: 2, write: (to) => to.string(path).int(-1), read: () => {} };
}

/** Whether a node is there. With `watch`, one event follows when that changes, or the node's data. */
export function exists(path: string, watch: boolean): Operation<Stat> {
  return { type: 3, write: (to) => to.string(path).bool(watch), read: stat, urgent: watch };
}

/** Its data; "" where that is more than any node made here has. */
export function getData(path: string): Operation<{ data: string; stat: Stat }> {
  return {
    type: 4,
    write: (to) => to.string(path).bool(false),
    read: (from) => ({ data: short(from.buffer()), stat: stat(from) }),
  };
}

function short(data: Buffer): string {
  return data.length > DATA ? "" : data.toString();
}

/** Replaces its data, whatever its version. */
export function setData(path: string, data: string): Operation<Stat> {
  return {
    type: 5,
    write: (to) => to.string(path).buffer(Buffer.from(data)).int(-1),
    read: stat,
    urgent: true,
  };
}

/** The names of its children, in no order. With `watch`, one event follows when they change. */
export function getChildren(path: string, watch: boolean): Operation<string[]> {
  return {
    type: 8,
    write: (to) => to.string(path).bool(watch),
    read: (from) => from.strings(),
    ...(!watch && { look: path }),
  };
}

/** All or none. Fails with the error of the first that cannot be done. */
export function multi(operations: readonly Operation<unknown>[]): Operation<void> {
  return {
    type: 14,
    write: (to) => {
      for (const { type, write } of operations) {
        to.int(type).bool(false).int(-1);
        write(to);
      }
      to.int(-1).bool(true).int(-1);
    },
    read: (from) => {
      for (const { read } of operations) {
        const type = from.int();
        from.bool();
        const header = from.int();
        if (type !== -1) {
          read(from);
          continue;
        }
        // Those before the culprit report 0, those after it "rolled back".
        const error = from.int() || header;
        if (error !== 0) throw new ZooKeeperError(error);
      }
    },
  };
}

/**
 * What is read behind it on the same connection is as new as its sending. It goes through the quorum like
 * any write, and changes nothing: `sync` does not, and is no barrier on the leader, whose own
 * reads may be behind what its followers have already acknowledged.
 */
export const barrier: Operation<void> = multi([
  { type: 13, write: (to) => to.string("/").int(-1), read: () => {} }, // "check", whatever the version
]);

/** Stops whatever event was asked for at this path. */
export function removeWatch(path: string, needless: () => boolean = () => false): Operation<void> {
  return { type: 18, write: (to) => to.string(path).int(3), read: () => {}, needless };
}

/** On a new connection: asks again for {@linkcode exists} events; those missed since `zxid` come first. */
export function setWatches(zxid: bigint, paths: readonly string[]): Operation<void> {
  return {
    type: 101,
    write: (to) => to.long(zxid).list(paths, (path) => to.string(path)).int(0).int(0),
    read: () => {},
    urgent: true,
  };
}

/** Logs in. */
export function auth(credentials: string): Operation<void> {
  return {
    type: 100,
    write: (to) => to.int(0).string("digest").buffer(Buffer.from(credentials)),
    read: () => {},
    urgent: true,
  };
}

/** Asks for a sign of life and is one; ordered like everything else. */
export const ping: Operation<void> = { type: 11, write: () => {}, read: () => {}, urgent: true };

/** Ends the session and every ephemeral node of it. */
export const closeSession: Operation<void> = { type: -11, write: () => {}, read: () => {} };

/** The first thing said on a connection. */
export interface Hello {
  /** The latest transaction this session has seen: a server that is behind it hangs up. */
  readonly lastZxid: bigint;
  /** Milliseconds asked for. */
  readonly timeout: number;
  /** 0n: a new one. */
  readonly session: bigint;
  /** Proves that the session is ours. */
  readonly password: Uint8Array;
}

/** The server's answer. */
export interface Welcome {
  /** Milliseconds granted; 0: the session has expired. */
  readonly timeout: number;
  /** Its id. */
  readonly session: bigint;
  /** See {@linkcode Hello.password}. */
  readonly password: Uint8Array;
}

/** A frame. The last byte refuses read-only servers, which have lost their quorum. */
export function hello({ lastZxid, timeout, session, password }: Hello): Uint8Array {
  return new Writer().int(0).long(lastZxid).int(timeout).long(session).buffer(password).bool(false).frame();
}

/** The answer to {@linkcode hello}: the session asked for, or a new one, or that the former has expired. */
export function welcome(from: Reader, said: Hello): Welcome {
  from.int();
  const answer = { timeout: from.int(), session: from.long(), password: Uint8Array.from(from.buffer()) };
  const { timeout, session } = answer;
  const isNew = said.session === 0n;
  if (timeout > 0 ? session === 0n || (!isNew && session !== said.session) : isNew) {
    throw new Error(`session ${session} for ${timeout} ms in answer to session ${said.session}`);
  }
  return answer;
}

function stat(from: Reader): Stat {
  const czxid = from.long();
  from.long(); // mzxid
  const ctime = from.long();
  from.long(); // mtime
  for (let n = 0; n < 3; n++) from.int(); // versions
  const ephemeralOwner = from.long();
  from.int(); // length of the data
  from.int(); // children
  from.long(); // pzxid
  return { czxid, ctime, ephemeralOwner };
}
