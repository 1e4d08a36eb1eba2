/** What is seen of locks from outside: their votes are listed, and listened to. */
import type { Call, Entry, Watcher } from "../../internal/backend.ts";
import { list, text, unexpected, whole } from "../redis/client/replies.ts";
import type { Node } from "./client/node.ts";
import { failures, type Quorum } from "./client/quorum.ts";
import { keyOf, votesKey, votesPattern } from "./names.ts";
import { LIST } from "./scripts.ts";

/** How many keys one listing call reads. */
const PAGE = 100;

/** What one node replied to a listing, by key: six fields for each vote. */
type NodeVotes = Map<string, readonly string[]>;

/** The votes for one claim with one ballot. */
interface Candidate {
  readonly entry: Entry;
  /** Milliseconds left, at each node. */
  readonly left: number[];
}

/** Who holds, by what a majority of nodes says. */
export class Observer {
  readonly #quorum: Quorum;

  constructor(quorum: Quorum) {
    this.#quorum = quorum;
  }

  /** See {@linkcode Backend.list}. */
  list(scope: string, call: Call): Promise<Entry[]> {
    const { nodes, majority } = this.#quorum;
    return this.#quorum.poll(call, (node) => votesAt(node, scope, call), (replies, missing) => {
      const all = replies.filter((reply) => "value" in reply).map(({ value }) => value);
      if (all.length + missing < majority) throw this.#quorum.missed("list locks", failures(replies));
      return all.length < majority
        ? undefined
        : entries(all, majority, missing, nodes.length - all.length - missing);
    });
  }

  /** See {@linkcode Backend.watch}. */
  async watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    const ears: AsyncDisposable[] = [];
    let open = true;
    const leave = async () => {
      open = false;
      await Promise.all(ears.splice(0).map((ear) => ear[Symbol.asyncDispose]()));
    };
    const listener = {
      heard: () => watcher.changed(),
      deaf(error: unknown) {
        if (!open) return;
        void leave();
        watcher.failed(error);
      },
    };
    // More than a minority must be heard for no grant to be missed: all that answer are.
    await this.#quorum.poll(call, async (node) => {
      const ear = await node.listen(votesKey(key), listener, call);
      if (open) ears.push(ear);
      else await ear[Symbol.asyncDispose]();
    }, (replies, missing) => {
      if (ears.length + missing < this.#quorum.majority) {
        void leave();
        throw this.#quorum.missed("watch a lock", failures(replies));
      }
      return missing === 0 ? true : undefined;
    });
    return { [Symbol.asyncDispose]: leave };
  }
}

async function votesAt(node: Node, scope: string, call: Call): Promise<NodeVotes> {
  const keys = scope.endsWith("/") ? (await node.scan(votesPattern(scope), call)).map(keyOf) : [scope];
  const votes: NodeVotes = new Map();
  for (let at = 0; at < keys.length; at += PAGE) {
    const some = keys.slice(at, at + PAGE);
    const reply = list(await node.read(LIST, some.map(votesKey), call), some.length);
    some.forEach((key, index) => votes.set(key, fields(reply[index])));
  }
  return votes;
}

/** What a node replied for one key, if it is that. */
function fields(reply: unknown): readonly string[] {
  const all = list(reply, 0);
  if (all.length % 6 !== 0) throw unexpected(reply);
  return all.map((field, at) => at % 6 >= 1 && at % 6 <= 3 ? `${whole(field)}` : text(field));
}

/**
 * Who holds: the claims that a majority has voted for, or may have, as far as nodes that failed can
 * make the difference. `undefined` while the nodes that are `missing` can.
 */
function entries(
  all: readonly NodeVotes[],
  majority: number,
  missing: number,
  failed: number,
): Entry[] | undefined {
  const found: Entry[] = [];
  for (const { entry, left } of candidates(all)) {
    if (left.length < majority && missing > 0 && left.length + missing + failed >= majority) return undefined;
    if (left.length + failed < majority) continue;
    const remaining = left.sort((a, b) => b - a)[Math.min(majority, left.length) - 1]!;
    found.push({ ...entry, remaining: Math.max(0, remaining) });
  }
  return found.sort((a, b) => a.token! < b.token! ? -1 : 1);
}

function candidates(all: readonly NodeVotes[]): Candidate[] {
  const byClaim = new Map<string, Candidate>();
  for (const [key, fields] of all.flatMap((votes) => [...votes])) {
    for (let at = 0; at < fields.length; at += 6) {
      const [id, ballot, left, limit, client, metadata] = fields.slice(at, at + 6) as [
        ...[id: string, ballot: string, left: string, limit: string, client: string, metadata: string],
      ];
      const name = `${key} ${id} ${ballot}`;
      const entry: Entry = {
        key,
        id,
        client,
        limit: Number(limit) || Infinity,
        metadata: metadata || undefined,
        held: true,
        token: BigInt(ballot),
      };
      const candidate = byClaim.get(name) ?? { entry, left: [] };
      byClaim.set(name, candidate);
      candidate.left.push(Number(left));
    }
  }
  return [...byClaim.values()];
}
