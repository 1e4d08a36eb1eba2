import { clearTimeout, setImmediate, setTimeout } from "node:timers";
import type { Call } from "../../../internal/backend.ts";
import { QuorumError, type Vote } from "../../../internal/errors.ts";
import { isFinal } from "../../redis/client/errors.ts";
import { refusalText } from "../../shared/errors.ts";
import type { Node } from "./node.ts";

/** What became of a question to one node. */
export type Reply<T> = { readonly node: Node; readonly value: T } | {
  readonly node: Node;
  readonly error: unknown;
};

/** Part of a call's time after which a node that is silent counts as failed, so that there is an answer in time. */
const PATIENCE = 0.8;
/** Milliseconds after which those that were to be spared are asked as well. */
const HEDGE = 5;
/** Milliseconds for which a node that was late or failed is not among the first to be asked. */
const LATE = 1_000;

/** A call of several polls, each of which takes part of what the ones before have left of its time. */
export class Steps implements Call {
  /** Of all of it: a connection is given as long whatever is left. */
  readonly timeout: number;
  readonly #call: Call;
  readonly #until: number;

  constructor(call: Call) {
    this.#call = call;
    this.timeout = call.timeout;
    this.#until = performance.now() + call.timeout;
  }

  get signal(): AbortSignal {
    return this.#call.signal;
  }

  get left(): number {
    return Math.max(0, this.#until - performance.now());
  }
}

/** A question to several nodes that is not settled yet. */
interface Poll {
  /** By `performance.now()`: when something is to be done about those that are silent. */
  until: number;
  /** Does it. */
  ring(): void;
}

/** The nodes, of which a majority decides. */
export class Quorum {
  readonly nodes: readonly Node[];
  /** How many are more than half. */
  readonly majority: number;
  /** The nodes, beginning with each of them. */
  readonly #turns: readonly (readonly Node[])[];
  /** Nodes that are not to be relied on, and until when, by `performance.now()`. */
  readonly #late = new Map<Node, number>();
  readonly #open = new Set<Poll>();
  /** One for all polls: it costs more to set one than to let one run that finds nothing to do. */
  #timer: NodeJS.Timeout | undefined;
  #rings = Infinity;

  constructor(nodes: readonly Node[]) {
    this.nodes = nodes;
    this.majority = Math.floor(nodes.length / 2) + 1;
    this.#turns = nodes.map((_, first) => [...nodes.slice(first), ...nodes.slice(0, first)]);
  }

  /**
   * In which order to ask the nodes about a key: the same for everybody, so that those who compete meet
   * at once, and another for another key, so that all nodes have as much to do. Those that have been
   * late or have failed come last.
   */
  order(key: string): readonly Node[] {
    let hash = 0;
    for (let at = 0; at < key.length; at++) hash = Math.imul(hash, 31) + key.charCodeAt(at) | 0;
    const turn = this.#turns[(hash >>> 0) % this.nodes.length]!;
    if (this.#late.size === 0) return turn;
    const now = performance.now();
    for (const [node, until] of this.#late) if (until <= now) this.#late.delete(node);
    return [...turn.filter((node) => !this.#late.has(node)), ...turn.filter((node) => this.#late.has(node))];
  }

  /** Not to be among the first to be asked for so many milliseconds. */
  late(node: Node, ms: number = LATE): void {
    this.#late.set(node, performance.now() + ms);
  }

  /**
   * Asks all nodes, or some, and settles as soon as `decide` knows, whatever the others are doing.
   * `decide` gets the replies so far and how many are missing, and must decide when none is. Only the
   * first so many are asked at once, the others if those have replied and it is still open, or are silent.
   */
  poll<T, R>(
    call: Call,
    ask: (node: Node) => Promise<T>,
    decide: (replies: readonly Reply<T>[], missing: number) => R | undefined,
    nodes: readonly Node[] = this.nodes,
    first: number = nodes.length,
  ): Promise<R> {
    return new Promise((resolve, reject) => {
      const replies: Reply<T>[] = [];
      let settled = false;
      let asked = 0;
      const add = (reply: Reply<T>) => {
        if ("error" in reply) this.late(reply.node);
        if (settled) return;
        replies.push(reply);
        try {
          const result = decide(replies, nodes.length - replies.length);
          if (result === undefined) {
            if (replies.length === asked) more(nodes.length);
            return;
          }
          resolve(result);
        } catch (error) {
          reject(error);
        }
        settled = true;
        this.#open.delete(poll);
      };
      const more = (upTo: number) => {
        while (asked < upTo) {
          const node = nodes[asked++]!;
          ask(node).then((value) => add({ node, value }), (error) => add({ node, error }));
        }
      };
      const silent = (among: readonly Node[]) =>
        among.filter((node) => !replies.some((reply) => reply.node === node));
      const patience = (call instanceof Steps ? call.left : call.timeout) * PATIENCE;
      const over = performance.now() + patience;
      const poll: Poll = {
        until: first < nodes.length ? Math.min(over, performance.now() + HEDGE) : over,
        ring: () => {
          for (const node of silent(nodes.slice(0, asked))) this.late(node);
          if (poll.until < over) {
            poll.until = over;
            return more(nodes.length);
          }
          asked = nodes.length; // no other node is asked any more
          const error = new Error(`no answer within ${Math.round(patience)} ms`);
          for (const node of silent(nodes)) add({ node, error });
        },
      };
      this.#open.add(poll);
      this.#arm(poll.until);
      more(first);
    });
  }

  /** Resolves once the clocks of a majority are known, which takes a round trip at the first call. */
  async ready(call: Call): Promise<void> {
    const { nodes, majority } = this;
    let known = 0;
    for (const node of nodes) if (node.serverTime !== undefined) known++;
    if (known >= majority) return;
    await this.poll(call, (node) => node.open(call), (replies, missing) => {
      const failed = failures(replies);
      if (replies.length - failed.length >= majority) return true;
      if (failed.length <= nodes.length - majority && missing > 0) return undefined;
      throw this.missed("reach the Redlock nodes", failed);
    });
  }

  #arm(at: number): void {
    if (at >= this.#rings || at === Infinity) return;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#rings = at;
    // Answers that have come while the event loop was busy count before the clock does.
    this.#timer = setTimeout(
      () => setImmediate(() => this.#look()),
      Math.max(0, Math.ceil(at - performance.now())),
    );
    this.#timer.unref(); // the core's own limit of the call keeps the process alive, not this
  }

  #look(): void {
    this.#timer = undefined;
    this.#rings = Infinity;
    const now = performance.now();
    for (const poll of [...this.#open]) {
      if (poll.until <= now) poll.ring();
    }
    for (const poll of this.#open) this.#arm(poll.until);
  }

  /** Too few nodes could be asked. */
  missed(what: string, votes: readonly Vote[]): QuorumError {
    const said = votes.map(({ node, answer, error }) =>
      `${node} ${answer}${error instanceof Error ? ` (${error.message})` : ""}`
    );
    const hint = votes.some(({ answer }) => answer === "excluded")
      ? "a node without its memory stays out for the longest ttl"
      : `${this.majority} of ${this.nodes.length} nodes are needed`;
    const final = votes.filter(({ error }) => isFinal(error));
    return new QuorumError(refusalText(what, said.join(", "), hint), votes, {
      retryable: final.length <= this.nodes.length - this.majority,
    });
  }
}

/** The votes of those that failed. */
export function failures(replies: readonly Reply<unknown>[]): Vote[] {
  return replies.filter((reply) => "error" in reply).map(failure);
}

/** A node that did not answer. */
export function failure(reply: Reply<unknown> & { readonly error: unknown }): Vote {
  return { node: reply.node.place, answer: "failed", error: reply.error };
}
