/**
 * What is kept where, below the prefix of the manager:
 *
 * | key | is |
 * |---|---|
 * | `<key>/<slot>/<limit>-<claim>` | a claim in the queue of `<key>`; its value is the manager's id |
 * | `,m/<key>/<slot>/<claim>` | its metadata, apart from the queue, which is read often |
 * | `,s/<session>/fence` | what the session's enters compare, see `fence.ts` |
 * | `,s/<session>/stolen/<claim>` | notice of a thief to the session that had the claim |
 *
 * All of them are locked under the session they belong to and vanish with it.
 *
 * The names have letters, digits and `-_.,/` alone: so much passes every check of names that any Consul
 * has had (1.21.5 and its successors look at them), and means the same to each proxy, whether it decodes
 * a URL or not, and folds `//` and `/./` in it or not. A comma and two hex digits stand for any other
 * byte, a comma alone for the empty string; `.` stands for itself between two others only. So no name has
 * a segment that is empty, `.` or `..`, and no key begins with `,m` or `,s`.
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
  const queue = `${treeOf(root, key)}${slot}/`;
  const metadata = `${metadataOf(root, key)}${slot}/`;
  return {
    contender: `${queue}${limit === Infinity ? "all" : limit}-${id}`,
    slot: queue,
    metadata: `${metadata}${id}`,
    metadataSlot: metadata,
  };
}

/** The tree of a key's queue. */
export function treeOf(root: string, key: string): string {
  return `${root}${encode(key)}/`;
}

/** The tree of all that is kept below a manager's prefix, which ends with a slash. */
export function scopeOf(root: string, prefix: string): string {
  return `${root}${encode(prefix)}`;
}

/** The same, of the manager whose entry this is. */
export function prefixOf(root: string, name: string): string {
  return name.slice(0, name.indexOf("/", root.length) + 1);
}

/** The tree of a key's metadata. */
export function metadataOf(root: string, key: string): string {
  const at = key.indexOf("/") + 1;
  return `${root}${encode(key.slice(0, at))},m/${encode(key.slice(at))}/`;
}

/** The tree of what belongs to a session and not to a key. */
export function sessionOf(root: string, key: string, session: string): string {
  return `${root}${encode(key.slice(0, key.indexOf("/") + 1))},s/${session}/`;
}

const KEY = "[A-Za-z0-9_.,-]+\\/(?!,[a-z])[A-Za-z0-9_.,-]+";
const CONTENDER = new RegExp(`^(${KEY})\\/[0-9a-f-]+\\.\\d+\\/(all|[1-9]\\d*)-([0-9a-f-]+)$`);
const METADATA = /^[^/]+\/,m\/[^/]+\/[^/]+\/([0-9a-f-]+)$/;

/** `undefined` if it is no contender. */
export function parse(root: string, name: string): Parsed | undefined {
  const [, key, limit, id] = CONTENDER.exec(name.slice(root.length)) ?? [];
  if (key === undefined || id === undefined) return undefined;
  return { key: decode(key), limit: limit === "all" ? Infinity : Number(limit), id };
}

/** The claim whose metadata this is. */
export function described(root: string, name: string): string | undefined {
  return METADATA.exec(name.slice(root.length))?.[1];
}

/** Of what the core leaves as it is, see `internal/keys.ts`, and Consul may not: and its `%`. */
const SPECIAL = /[%:@+=,]|(?<![^/.])\.|\.(?=[/.]|$)/g;

/** What `SPECIAL` are, in hex, but for `%`. */
const PLAIN = new Set(["2E", "3A", "40", "2B", "3D", "2C"]);

/** `prefix/key`, or either of them, as a name in Consul. */
function encode(key: string): string {
  return key.replace(
    SPECIAL,
    (one) => one === "%" ? "," : `,${one.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** The inverse. */
function decode(name: string): string {
  if (!name.includes(",")) return name;
  return name.split("/").map((part) =>
    // The core has its own escapes for these two.
    part === ",2E" || part === ",2E,2E"
      ? part.replaceAll(",", "%")
      : part.replace(/,([0-9A-F]{2})?/g, (_, hex: string | undefined) => {
        if (hex === undefined) return "%";
        return PLAIN.has(hex) ? String.fromCharCode(parseInt(hex, 16)) : `%${hex}`;
      })
  ).join("/");
}
