import { type Context, context, type Span, SpanStatusCode, trace } from "@opentelemetry/api";
import type { BackendError } from "../errors.ts";
import type { Lock } from "../lock.ts";
import type { Asked, Follower } from "../observer.ts";
import type { Want } from "../options.ts";
import { FollowedHold } from "./hold.ts";
import type { Group, Waiting } from "./instruments.ts";
import { carrying } from "./propagation.ts";
import { errorAttributes, quietly, type Telemetry } from "./telemetry.ts";

/** Follows an acquisition from its call on; `undefined` if telemetry fails. */
export function follow(telemetry: Telemetry, asked: Asked): Follower | undefined {
  let follower: Follower | undefined;
  quietly(() => follower = new FollowedAcquisition(telemetry, asked));
  return follower;
}

/** The span `lock.acquire`, and what is counted of it. */
class FollowedAcquisition implements Follower, Waiting {
  readonly want: Want;
  readonly called: number = performance.now();
  readonly ttl: number;
  readonly #telemetry: Telemetry;
  readonly #asked: Asked;
  readonly #group: Group;
  /** The caller's. */
  readonly #context: Context = context.active();
  readonly #span: Span;
  #contended = false;

  constructor(telemetry: Telemetry, asked: Asked) {
    const { keys, want, backend } = asked;
    this.#telemetry = telemetry;
    this.#asked = asked;
    this.ttl = want.ttl;
    this.#group = telemetry.group(backend, want.mode, keys[0]!);
    const attributes = {
      ...this.#group.attributes,
      "lock.keys": keys.length,
      ...(want.limit < Infinity && { "lock.limit": want.limit }),
    };
    this.#span = telemetry.tracer.startSpan("lock.acquire", { attributes }, this.#context);
    this.want = telemetry.propagate ? carrying(want, this.#span) : want;
    telemetry.open.set(this, () => {
      this.#group.waits.delete(this);
      this.#span.end();
    });
  }

  waiting(): void {
    this.#contended = true;
    if (!this.#telemetry.open.has(this)) return;
    this.#group.waits.add(this);
    if (!this.#telemetry.propagate) return;
    for (const key of this.#asked.keys) void this.#link(key);
  }

  failed(error: BackendError): void {
    quietly(() => {
      if (!this.#telemetry.open.has(this)) return;
      const told = { ...errorAttributes(error), "exception.message": error.message };
      this.#span.addEvent("lock.store.error", told);
      const attributes = { ...this.#group.attributes, "lock.operation": "acquire" };
      this.#telemetry.instruments.storeErrors.add(1, attributes);
    });
  }

  acquired(lock: Lock): void {
    quietly(() => {
      if (!this.#telemetry.open.has(this)) return;
      this.#span.setAttribute("lock.token", String(lock.token));
      this.#telemetry.instruments.grants.add(1, this.#group.attributes);
      this.#end("acquired");
      new FollowedHold(this.#telemetry, {
        lock,
        group: this.#group,
        renews: this.want.renew,
        context: this.#context,
        acquisition: this.#span.spanContext(),
      });
    });
  }

  async answered(result: Promise<Lock | undefined>): Promise<Lock | undefined> {
    try {
      const lock = await result;
      if (lock === undefined) quietly(() => this.#refused());
      return lock;
    } catch (error) {
      quietly(() => {
        const { signal } = this.want;
        this.#end(signal?.aborted && signal.reason === error ? "aborted" : "failed", error);
      });
      throw error;
    }
  }

  #refused(): void {
    if (!this.#telemetry.open.has(this)) return;
    this.#contended = true;
    this.#telemetry.instruments.refusals.add(1, this.#group.attributes);
    this.#end("refused");
  }

  /** Links to the acquisitions of those who hold a key that is waited for. */
  async #link(key: string): Promise<void> {
    // Who cannot ask has no link.
    const links = await this.#telemetry.holders(key).catch(() => []);
    quietly(() => {
      if (!this.#telemetry.open.has(this)) return;
      const { spanId } = this.#span.spanContext();
      // Of several keys, some may be held by this acquisition itself.
      this.#span.addLinks(links.filter(({ context }) => context.spanId !== spanId));
    });
  }

  /** Once, unless it has been ended without an outcome before. */
  #end(outcome: "acquired" | "refused" | "aborted" | "failed", error?: unknown): void {
    if (!this.#telemetry.open.delete(this)) return;
    this.#group.waits.delete(this);
    const waited = performance.now() - this.called;
    const told = { "lock.outcome": outcome, ...(error !== undefined && errorAttributes(error)) };
    this.#span.setAttributes({ ...told, "lock.contended": this.#contended, "lock.waited": waited });
    if (error !== undefined) {
      const message = error instanceof Error ? error.message : String(error);
      this.#span.setStatus({ code: SpanStatusCode.ERROR, message });
    }
    const attributes = { ...this.#group.attributes, ...told };
    this.#telemetry.instruments.waits.record(
      waited / 1_000,
      attributes,
      trace.setSpan(this.#context, this.#span),
    );
    this.#span.end();
  }
}
