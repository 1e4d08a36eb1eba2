import {
  type Attributes,
  type BatchObservableCallback,
  type Counter,
  type Histogram,
  type Meter,
  type MeterProvider,
  metrics,
  type Observable,
} from "@opentelemetry/api";
import type { LossReason, Mode } from "../backend.ts";
import type { Lock } from "../lock.ts";

/** The instrumentation scope of all spans and metrics. */
export const SCOPE = "@holdfast/lock";

/** Bounds of the histograms' buckets, in seconds: from a lock in memory to a quarter of an hour. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];

/** Why locks are lost. */
const REASONS: readonly LossReason[] = ["expired", "revoked", "stolen"];

/** What calls that fail were for, besides renewals. */
const OPERATIONS = ["acquire", "release"];

/** A lock that may be held. */
export interface Holding {
  readonly lock: Lock;
  /** Whether it is renewed. */
  readonly renews: boolean;
}

/** An acquisition that waits for somebody. */
export interface Waiting {
  /** When it was called, as of `performance.now()`. */
  readonly called: number;
  /** Milliseconds. */
  readonly ttl: number;
}

/** What is under way and told apart by nothing: one point of each gauge. */
export interface Group {
  readonly attributes: Attributes;
  readonly holds: Set<Holding>;
  readonly waits: Set<Waiting>;
}

/**
 * The instruments of one meter. Managers that write to the same meter share them: of two gauges of one name and
 * the same attributes, a reader would see only the later.
 */
export class Instruments {
  /** By meter; the global one is another object at each call on some runtimes, and stands for its provider. */
  static readonly #all = new WeakMap<Meter | MeterProvider, Instruments>();

  readonly waits: Histogram;
  readonly holds: Histogram;
  readonly grants: Counter;
  readonly refusals: Counter;
  readonly losses: Counter;
  readonly renewalFailures: Counter;
  readonly storeErrors: Counter;
  readonly #held: Observable;
  readonly #waiting: Observable;
  readonly #remaining: Observable;
  readonly #longest: Observable;
  readonly #groups = new Map<string, Group>();

  private constructor(meter: Meter) {
    const lock = { unit: "{lock}" };
    const seconds = { unit: "s", advice: { explicitBucketBoundaries: SECONDS } };
    this.waits = meter.createHistogram("lock.wait.duration", {
      ...seconds,
      description: "From the call of an acquisition to its answer",
    });
    this.holds = meter.createHistogram("lock.hold.duration", {
      ...seconds,
      description: "From the grant of a lock to its release or loss",
    });
    this.grants = meter.createCounter("lock.grants", { ...lock, description: "Locks acquired" });
    this.refusals = meter.createCounter("lock.refusals", {
      ...lock,
      description: "Locks that were held by others and not waited for",
    });
    this.losses = meter.createCounter("lock.losses", { ...lock, description: "Locks lost while held" });
    this.renewalFailures = meter.createCounter("lock.renewal.failures", {
      ...lock,
      description: "Held locks that the store did not renew, each time",
    });
    this.storeErrors = meter.createCounter("lock.store.errors", {
      unit: "{error}",
      description: "Failed calls of acquisitions and releases",
    });
    this.#held = meter.createObservableUpDownCounter("lock.held", { ...lock, description: "Locks held" });
    this.#waiting = meter.createObservableUpDownCounter("lock.waiting", {
      ...lock,
      description: "Locks waited for",
    });
    this.#remaining = meter.createObservableGauge("lock.remaining", {
      unit: "1",
      description: "The least time for which a held lock is proven, in parts of its ttl",
    });
    this.#longest = meter.createObservableGauge("lock.wait.longest", {
      unit: "1",
      description: "The longest wait under way, in ttls",
    });
    const gauges = [this.#held, this.#waiting, this.#remaining, this.#longest];
    meter.addBatchObservableCallback(this.#observe, gauges);
  }

  /** Those of a meter, or of the global provider's. */
  static of(meter?: Meter): Instruments {
    const source = meter ?? metrics.getMeterProvider();
    let instruments = Instruments.#all.get(source);
    if (instruments === undefined) {
      instruments = new Instruments(meter ?? metrics.getMeter(SCOPE));
      Instruments.#all.set(source, instruments);
    }
    return instruments;
  }

  /**
   * Where claims of these attributes are kept. It stays, and is reported, once there is nothing in it: readers go on
   * with the last value of what is not.
   */
  group(backend: string, mode: Mode, name: string | undefined): Group {
    const id = JSON.stringify([backend, mode, name]);
    let group = this.#groups.get(id);
    if (group === undefined) {
      const attributes = {
        "lock.backend": backend,
        "lock.mode": mode,
        ...(name !== undefined && { "lock.name": name }),
      };
      this.#groups.set(id, group = { attributes, holds: new Set(), waits: new Set() });
      this.#begin(attributes);
    }
    return group;
  }

  /** From 0: a counter that is first seen with 1 has not increased, to Prometheus. */
  #begin(attributes: Attributes): void {
    for (const counter of [this.grants, this.refusals, this.renewalFailures]) counter.add(0, attributes);
    for (const reason of REASONS) this.losses.add(0, { ...attributes, "lock.loss.reason": reason });
    for (const operation of OPERATIONS) {
      this.storeErrors.add(0, { ...attributes, "lock.operation": operation });
    }
  }

  readonly #observe: BatchObservableCallback = (result) => {
    for (const { attributes, holds, waits } of this.#groups.values()) {
      let held = 0;
      let least = 1;
      for (const { lock, renews } of holds) {
        const { remaining } = lock;
        if (remaining === 0) continue;
        held++;
        if (renews) least = Math.min(least, remaining / lock.ttl);
      }
      const now = performance.now();
      let longest = 0;
      for (const { called, ttl } of waits) longest = Math.max(longest, (now - called) / ttl);
      result.observe(this.#held, held, attributes);
      result.observe(this.#waiting, waits.size, attributes);
      result.observe(this.#remaining, least, attributes);
      result.observe(this.#longest, longest, attributes);
    }
  };
}
