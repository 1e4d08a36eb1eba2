import type { Word } from "./worker.ts";

/** A hold, as far as its holder could believe in it. */
interface Hold {
  readonly key: string;
  readonly limit: number;
  readonly token: bigint;
  readonly from: number;
  /** Milliseconds since the epoch, like `from`. */
  until: number;
}

/** All holds of a soak, and what was wrong with them. */
export class History {
  readonly #holds = new Map<string, Hold>();
  readonly #errors: string[] = [];

  /** How many holds there were. */
  get size(): number {
    return this.#holds.size;
  }

  /** A worker has said something. */
  add(word: Word): void {
    if (word.is === "error") this.#errors.push(word.message);
    else if (word.is === "held") {
      const limit = word.limit === "shared" ? Infinity : word.limit;
      this.#holds.set(word.id, {
        key: word.key,
        limit,
        token: BigInt(word.token),
        from: word.from,
        until: word.until,
      });
    } else {
      const hold = this.#holds.get(word.id)!;
      if (word.is === "proven") hold.until = word.until;
      else hold.until = Math.min(hold.until, word.at);
    }
  }

  /** A process has been killed: from then on it believes nothing. */
  end(ids: Iterable<string>, at: number): void {
    for (const id of ids) {
      const hold = this.#holds.get(id);
      if (hold !== undefined) hold.until = Math.min(hold.until, at);
    }
  }

  /** More holders than the rule allows, tokens that fell, errors nobody expects. */
  faults(): string[] {
    const faults = [...this.#errors];
    for (const holds of Map.groupBy(this.#holds.values(), ({ key }) => key).values()) {
      holds.sort((a, b) => a.from - b.from);
      let now: Hold[] = [];
      for (const hold of holds) {
        now = [...now.filter(({ until }) => until > hold.from), hold];
        const limit = Math.min(...now.map(({ limit }) => limit));
        if (now.length > limit) {
          faults.push(`${now.length} holders of "${hold.key}" where ${limit} may hold: ${text(now)}`);
        }
      }
      const exclusive = holds.filter(({ limit }) => limit === 1);
      for (const [index, { token }] of exclusive.entries()) {
        if (index > 0 && token <= exclusive[index - 1]!.token) {
          faults.push(`token ${token} of "${holds[0]!.key}" came after ${exclusive[index - 1]!.token}`);
        }
      }
    }
    return faults;
  }
}

function text(holds: readonly Hold[]): string {
  return holds.map(({ limit, token, from, until }) => `limit ${limit} token ${token} ${from} to ${until}`)
    .join(", ");
}
