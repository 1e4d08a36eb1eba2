/**
 * What is kept where, below the prefix of the manager:
 *
 * | key | is |
 * |---|---|
 * | `<key>/<slot>/<limit>-<claim>` | a claim in the queue of `<key>`; its value is the manager's id |
 * | `~m/<key>/<slot>/<claim>` | its metadata, apart from the queue, which is read often |
 * | `~s/<session>/fence` | what the session's enters compare, see `fence.ts` |
 * | `~s/<session>/stolen/<claim>` | notice of a thief to the session that had the claim |
 *
 * All of them are locked under the session they belong to and vanish with it. `~` is in no encoded key.
 *
 * `<slot>` is the session and a number that no two of its claims on the key have at a time. Consul
 * remembers each deleted key for 15 minutes, and whoever reads a queue goes through those memories
 * (0.1 µs each, on the leader, with all other writes waiting): a lock taken a hundred times a second
 * would become slower and slower. A deleted *tree* is remembered by its name, so that claims that
 * leave by deleting their slot, a name used again and again, leave one memory behind.
 */
export interface Names {
  /** The claim in its queue. */
  readonly contender: string;
  /** Its slot, with a slash: the tree that holds nothing but the claim. */
  readonly slot: string;
  /** Its metadata. */
  readonly metadata: string;
  /** The tree that holds nothing but its metadata. */
  readonly metadataSlot: string;
}

/** What the name of a contender says. */
export interface Parsed {
  /** `prefix/key`, as the core gave it. */
  readonly key: string;
  readonly limit: number;
  readonly id: string;
}

/** Where a claim is kept. `root` is what the backend puts before everything. */
export function names(
  root: string,
  { key, limit, id }: Parsed,
  slot: string,
): Names {
  const queue = `${queueOf(root, key)}${slot}/`;
  const metadata = `${metadataOf(root, key)}${slot}/`;
  return {
    contender: `${queue}${limit === Infinity ? "all" : limit}-${id}`,
    slot: queue,
    metadata: `${metadata}${id}`,
    metadataSlot: metadata,
  };
}

/** The tree of a key's queue. */
export function queueOf(root: string, key: string): string {
  return `${root}${key}/`;
}

/** The tree of everything under a manager's prefix. */
export function prefixOf(root: string, key: string): string {
  return `${root}${key.slice(0, key.indexOf("/") + 1)}`;
}

/** The tree of a key's metadata. */
export function metadataOf(root: string, key: string): string {
  return `${prefixOf(root, key)}~m/${key.slice(key.indexOf("/") + 1)}/`;
}

/** The tree of what belongs to a session and not to a key. */
export function sessionOf(root: string, key: string, session: string): string {
  return `${prefixOf(root, key)}~s/${session}/`;
}

const CONTENDER = /^([^/]+\/[^~/][^/]*)\/[0-9a-f-]+\.\d+\/(all|[1-9]\d*)-([0-9a-f-]+)$/;
const METADATA = /^[^/]+\/~m\/[^/]+\/[^/]+\/([0-9a-f-]+)$/;

/** `undefined` if it is no contender. */
export function parse(root: string, name: string): Parsed | undefined {
  const [, key, limit, id] = CONTENDER.exec(name.slice(root.length)) ?? [];
  if (key === undefined || id === undefined) return undefined;
  return { key, limit: limit === "all" ? Infinity : Number(limit), id };
}

/** The claim whose metadata this is. */
export function described(root: string, name: string): string | undefined {
  return METADATA.exec(name.slice(root.length))?.[1];
}
