import { type Attributes, diag, type Link, type Tracer } from "@opentelemetry/api";
import { LockError } from "../errors.ts";
import type { LockManager } from "../manager.ts";
import type { Group, Instruments } from "./instruments.ts";
import { linksTo } from "./propagation.ts";

/** What is told of one manager, and where to. */
export class Telemetry {
  /** Where spans come from. */
  readonly tracer: Tracer;
  /** Where figures go to. */
  readonly instruments: Instruments;
  /** Whether the context of traces travels in metadata. */
  readonly propagate: boolean;
  /** What has not ended yet; each ends without an outcome when it is called. */
  readonly open: Map<object, () => void> = new Map();
  readonly #name: ((key: string) => string | undefined) | undefined;
  readonly #manager: LockManager;
  /** Questions that have not been answered, by key: of a crowd that waits for one key, one asks who holds it. */
  readonly #questions = new Map<string, Promise<Link[]>>();

  constructor(
    { tracer, instruments, propagate, name, manager }:
      & Pick<Telemetry, "tracer" | "instruments" | "propagate">
      & {
        readonly name: ((key: string) => string | undefined) | undefined;
        readonly manager: LockManager;
      },
  ) {
    this.tracer = tracer;
    this.instruments = instruments;
    this.propagate = propagate;
    this.#name = name;
    this.#manager = manager;
  }

  /** Where the claims of an acquisition belong. */
  group(backend: string, mode: "exclusive" | "shared", key: string): Group {
    return this.instruments.group(backend, mode, this.#name?.(key));
  }

  /** Links to those who hold the key now. */
  holders(key: string): Promise<Link[]> {
    let links = this.#questions.get(key);
    if (links === undefined) {
      links = this.#manager.inspect(key).then(linksTo).finally(() => this.#questions.delete(key));
      this.#questions.set(key, links);
    }
    return links;
  }

  /** Ends all that is open. */
  end(): void {
    for (const end of [...this.open.values()]) quietly(end);
    this.open.clear();
  }
}

/** What is told of an error, by the semantic conventions. */
export function errorAttributes(error: unknown): Attributes {
  if (error instanceof LockError) return { "error.type": error.code };
  return { "error.type": error instanceof Error ? error.name : "_OTHER" };
}

/** Telemetry must not disturb a lock: its faults go to where OpenTelemetry reports its own. */
export function quietly(tell: () => void): void {
  try {
    tell();
  } catch (error) {
    diag.error("Cannot tell of a lock:", error);
  }
}
