import {
  type Attributes,
  type Context,
  type Span,
  type SpanContext,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import type { LossReason } from "../backend.ts";
import { LockLostError, LockReleasedError } from "../errors.ts";
import type { Lock } from "../lock.ts";
import type { Group, Holding } from "./instruments.ts";
import { errorAttributes, quietly, type Telemetry } from "./telemetry.ts";

/** A lock that has just been acquired. */
export interface Acquired extends Holding {
  readonly group: Group;
  /** The caller's. */
  readonly context: Context;
  /** Its `lock.acquire`. */
  readonly acquisition: SpanContext;
}

/** The span `lock.hold`, and what is counted of it. */
export class FollowedHold implements Holding {
  readonly lock: Lock;
  readonly renews: boolean;
  readonly #telemetry: Telemetry;
  readonly #group: Group;
  readonly #context: Context;
  readonly #span: Span;
  /** When it began: milliseconds of the wall clock, and as of `performance.now()`. */
  readonly #began: number = Date.now();
  readonly #acquired: number = performance.now();

  constructor(telemetry: Telemetry, { lock, renews, group, context, acquisition }: Acquired) {
    this.lock = lock;
    this.renews = renews;
    this.#telemetry = telemetry;
    this.#group = group;
    this.#context = context;
    const options = {
      startTime: this.#began,
      attributes: { ...group.attributes, "lock.token": String(lock.token) },
      links: [{ context: acquisition }],
    };
    this.#span = telemetry.tracer.startSpan("lock.hold", options, context);
    group.holds.add(this);
    telemetry.open.set(this, () => {
      group.holds.delete(this);
      this.#span.end();
    });
    lock.addEventListener("released", ({ lasted }) => quietly(() => this.#end("released", lasted)));
    lock.addEventListener("lost", ({ reason }) => quietly(() => this.#lost(reason)));
    lock.addEventListener("error", ({ error }) => quietly(() => this.#failed(error)));
    // It may have been lost between the grant and this moment.
    if (lock.held) return;
    const { reason } = lock.signal;
    if (reason instanceof LockLostError) this.#lost(reason.why);
  }

  #lost(reason: LossReason): void {
    if (!this.#telemetry.open.has(this)) return;
    const told = { "lock.loss.reason": reason };
    this.#telemetry.instruments.losses.add(1, { ...this.#group.attributes, ...told });
    this.#span.setAttributes({ ...told, "error.type": "lost" });
    this.#span.setStatus({ code: SpanStatusCode.ERROR, message: reason });
    this.#end("lost");
  }

  /** A call about it failed: to release it, if it has been released, and else to renew it. */
  #failed(error: unknown): void {
    if (!this.#telemetry.open.has(this)) return;
    const { instruments } = this.#telemetry;
    const told: Attributes = errorAttributes(error);
    const message = error instanceof Error ? error.message : String(error);
    if (this.lock.signal.reason instanceof LockReleasedError) {
      instruments.storeErrors.add(1, { ...this.#group.attributes, "lock.operation": "release" });
      this.#span.setAttributes(told);
      this.#span.setStatus({ code: SpanStatusCode.ERROR, message });
      this.#end("unconfirmed");
    } else {
      instruments.renewalFailures.add(1, this.#group.attributes);
      this.#span.addEvent("lock.renew", { ...told, "exception.message": message });
    }
  }

  /** Once, unless it has been ended without an outcome before. `lasted`: milliseconds. */
  #end(
    outcome: "released" | "lost" | "unconfirmed",
    lasted: number = performance.now() - this.#acquired,
  ): void {
    if (!this.#telemetry.open.delete(this)) return;
    this.#group.holds.delete(this);
    const told = { "lock.outcome": outcome };
    this.#span.setAttributes(told);
    const within = trace.setSpan(this.#context, this.#span);
    this.#telemetry.instruments.holds.record(lasted / 1_000, { ...this.#group.attributes, ...told }, within);
    this.#span.end(this.#began + lasted);
  }
}
