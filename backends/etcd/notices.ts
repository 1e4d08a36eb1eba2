import { Buffer } from "node:buffer";
import type { KeyValue, RangeRequest } from "./client/messages.ts";
import type { Port, Watching } from "./client/port.ts";
import type { EtcdQueued } from "./entries.ts";

/** What a thief has taken out: names, each with its create revision, because names are used again. */
export type Victims = ReadonlyMap<string, bigint>;

/**
 * The notices of thieves to one lease: a key beside the fence that a thief writes in the step in which it removes
 * the lease's claims. The lease watches for it, and every read of its own keys finds it as well.
 */
export class Notices {
  readonly #range: RangeRequest;
  readonly #fence: string;
  readonly #told: (victims: Victims) => void;
  #since: bigint;
  #watching: Watching | undefined;

  /** `range` is that of the lease's own keys, `fence` the other of them; `since` is a revision before any notice. */
  constructor(range: RangeRequest, fence: string, since: bigint, told: (victims: Victims) => void) {
    this.#range = range;
    this.#fence = fence;
    this.#since = since;
    this.#told = told;
  }

  /** Takes in a read of the lease's own keys. */
  learn(keys: readonly KeyValue[]): void {
    for (const { key, value } of keys) if (key.toString() !== this.#fence) this.#read(value);
  }

  /** Watches, unless it does so already. */
  listen(port: Port): void {
    this.#watching ??= port.watch(
      { ...this.#range, start_revision: `${this.#since}`, filters: ["Nodelete"] },
      {
        changed: (put, revision) => {
          this.#since = revision + 1n;
          for (const value of put) this.#read(value);
        },
        // Opened again after the next call that is answered; a renewal reads the notice as well.
        failed: (_error, compacted) => {
          this.#watching = undefined;
          if (compacted) this.#since = 0n;
        },
      },
    );
  }

  /** Watches no longer. */
  close(): void {
    this.#watching?.cancel();
    this.#watching = undefined;
  }

  #read(value: Uint8Array): void {
    if (value.length > 0) this.#told(readNotice(Buffer.from(value).toString()));
  }
}

/** Where a thief leaves the notice for a lease. */
export function noticeFor(home: string): string {
  return `${home}notice`;
}

/** A notice of these. */
export function writeNotice(victims: readonly EtcdQueued[]): string {
  return victims.map(({ name, created }) => `${name} ${created}`).join("\n");
}

/** What is no notice says nothing: whoever may write to the prefix may have written it. */
function readNotice(text: string): Victims {
  return new Map(
    text.split("\n").flatMap((line) => {
      const [, name, created] = /^(\S+) (\d+)$/.exec(line) ?? [];
      return name === undefined ? [] : [[name, BigInt(created!)]];
    }),
  );
}
