import { Buffer } from "node:buffer";
import type { KeyValue, RangeRequest } from "./messages.ts";
import { endOf } from "./requests.ts";
import { marksOf } from "./names.ts";
import type { Entrant } from "./place.ts";
import type { Port, Watching } from "./port.ts";

/**
 * Two keys that a lease has beside its claims, made when first needed and gone with the lease.
 *
 * The *epoch* is a fence: every attempt to enter compares its mod revision (0 while there is none),
 * and a withdrawal whose attempts may still be under way bumps it, so that none of them can enter
 * any more. The *notice* is written by a thief: the names of the claims it has removed, each with its
 * create revision, because names are used again.
 */
export class Marks {
  readonly epochKey: string;
  /** Both keys. */
  readonly range: RangeRequest;
  /** Mod revision of the epoch key, as far as we know. */
  epoch = 0n;
  readonly #told: (victims: ReadonlyMap<string, bigint>) => void;
  #since: bigint;
  #watching: Watching | undefined;

  /** `told` hears the claims in each notice; `since` is a revision before any of them. */
  constructor(
    prefix: string,
    lease: string,
    since: bigint,
    told: (victims: ReadonlyMap<string, bigint>) => void,
  ) {
    const marks = marksOf(prefix, lease);
    this.epochKey = `${marks}epoch`;
    this.range = { key: Buffer.from(marks), range_end: endOf(marks) };
    this.#since = since;
    this.#told = told;
  }

  /** Where a thief leaves the notice for a lease. */
  static noticeFor(prefix: string, lease: string): string {
    return `${marksOf(prefix, lease)}notice`;
  }

  /** Takes in what a read of them has found. `false`: the epoch was deleted, and has to be written again. */
  learn(keys: readonly KeyValue[]): boolean {
    let there = false;
    for (const { key, value, mod_revision } of keys) {
      if (key.toString() !== this.epochKey) this.#read(value);
      else {
        there = true;
        this.bumped(BigInt(mod_revision));
      }
    }
    return there || this.epoch === 0n;
  }

  /** The epoch key was written at this revision. */
  bumped(revision: bigint): void {
    if (revision > this.epoch) this.epoch = revision;
  }

  /** Watches for notices, unless it does so already. */
  listen(port: Port): void {
    this.#watching ??= port.watch(
      { ...this.range, start_revision: `${this.#since}`, filters: ["Nodelete"] },
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

  close(): void {
    this.#watching?.cancel();
    this.#watching = undefined;
  }

  #read(value: Uint8Array): void {
    if (value.length > 0) this.#told(readNotice(Buffer.from(value).toString()));
  }
}

/** A notice of these claims. */
export function writeNotice(victims: readonly Entrant[]): string {
  return victims.map(({ name, created }) => `${name} ${created}`).join("\n");
}

/** What is no notice says nothing: whoever may write to the prefix may have written it. */
function readNotice(text: string): Map<string, bigint> {
  return new Map(
    text.split("\n").flatMap((line) => {
      const [, name, created] = /^(\S+) (\d+)$/.exec(line) ?? [];
      return name === undefined ? [] : [[name, BigInt(created!)]];
    }),
  );
}
