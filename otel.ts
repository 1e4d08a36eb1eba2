/**
 * OpenTelemetry for a lock manager: who waited how long, who held, what was lost, in the team's own traces and
 * metrics. It needs `@opentelemetry/api` beside Holdfast (`npm install @holdfast/lock @opentelemetry/api`), and an
 * SDK that has been registered before; on Deno the runtime's own does (`OTEL_DENO=true`).
 *
 * ```ts
 * import { LockManager } from "@holdfast/lock";
 * import { memory } from "@holdfast/lock/memory";
 * import { instrument } from "@holdfast/lock/otel";
 *
 * await using locks = new LockManager(memory());
 * using telemetry = instrument(locks, { name: (key) => key.split(":")[0] });
 * await using lock = await locks.acquire("invoice:42");
 * console.log(lock.token, telemetry);
 * ```
 *
 * **Spans.** `lock.acquire` lasts from the call to its answer, `lock.hold` from the grant to the release or the
 * loss. Both have the context of the caller as their parent, and a hold links to its acquisition. Calls that
 * fail are events: `lock.store.error` of an acquisition, `lock.renew` of a hold.
 *
 * | attribute | |
 * |---|---|
 * | `lock.backend`, `lock.mode`, `lock.limit` | the store; "exclusive" or "shared"; how many may hold, unless shared |
 * | `lock.keys` | how many keys |
 * | `lock.name` | what the option `name` makes of the first key |
 * | `lock.outcome` | of an acquisition "acquired", "refused" (`tryAcquire` gave `undefined`), "aborted" or "failed"; of a hold "released", "lost", or "unconfirmed" where the store could not be told of the release |
 * | `lock.contended`, `lock.waited` | whether somebody stood in the way; milliseconds |
 * | `lock.token` | the fencing token, as a string |
 * | `lock.loss.reason` | "expired", "revoked" or "stolen" |
 * | `error.type` | the `code` of a `LockError`, else the name of the error |
 * | `exception.message` | of an event: what the error says |
 *
 * **Metrics**, all with `lock.backend`, `lock.mode` and `lock.name`; a key itself is never an attribute. A lock
 * over several keys is one lock.
 *
 * | metric | unit | |
 * |---|---|---|
 * | `lock.wait.duration` | s | histogram of acquisitions, by `lock.outcome` and `error.type` |
 * | `lock.hold.duration` | s | histogram of holds, by `lock.outcome` |
 * | `lock.grants` | {lock} | counter |
 * | `lock.refusals` | {lock} | counter of `tryAcquire` and `ifAvailable` that were given nothing |
 * | `lock.losses` | {lock} | counter, by `lock.loss.reason` |
 * | `lock.renewal.failures` | {lock} | counter: a lock whose renewal failed, each time |
 * | `lock.store.errors` | {error} | counter of other calls that failed, by `lock.operation` ("acquire", "release") |
 * | `lock.held` | {lock} | how many are held now |
 * | `lock.waiting` | {lock} | how many are waited for now |
 * | `lock.remaining` | 1 | the least `remaining` of the locks held now, in parts of its ttl: 2/3 and more while renewals succeed, 1 where none is held. Those with `renew: false` do not count |
 * | `lock.wait.longest` | 1 | the longest wait that is under way, in ttls of what is waited for |
 *
 * `examples/monitoring` has a dashboard for Grafana and alerts for Prometheus, which knows these metrics as
 * `lock_wait_duration_seconds`, `lock_grants_total`, `lock_remaining_ratio` and so on.
 *
 * The messages of errors, in the status of a span and in its events, name the key. The spans that a store's own
 * client may write are not children of `lock.acquire`.
 *
 * @module
 */
import { type Meter, trace, type Tracer } from "@opentelemetry/api";
import { checkKinds } from "./internal/checks.ts";
import { type LockManager, observe } from "./internal/manager.ts";
import { follow } from "./internal/otel/acquisition.ts";
import { Instruments, SCOPE } from "./internal/otel/instruments.ts";
import { Telemetry } from "./internal/otel/telemetry.ts";

/** A `Tracer` of `@opentelemetry/api`, as far as it is used. */
export interface TracerLike {
  /** Begins a span. */
  startSpan(name: string, options?: object, context?: object): object;
}

/** A `Meter` of `@opentelemetry/api`, as far as it is used. */
export interface MeterLike {
  /** For durations. */
  createHistogram(name: string, options?: object): object;
  /** For what only grows. */
  createCounter(name: string, options?: object): object;
  /** For what adds up. */
  createObservableUpDownCounter(name: string, options?: object): object;
  /** For what does not. */
  createObservableGauge(name: string, options?: object): object;
  /** Has the last two kinds asked whenever somebody reads them. */
  addBatchObservableCallback(callback: (result: object) => void, observables: object[]): void;
}

/** Options of {@linkcode instrument}. */
export interface InstrumentOptions {
  /** Where spans come from. @default {trace.getTracer("@holdfast/lock")} */
  readonly tracer?: TracerLike;
  /** Where instruments come from. @default {metrics.getMeter("@holdfast/lock")} */
  readonly meter?: MeterLike;
  /**
   * What `lock.name` says of a key: one of a few names, such as "invoice" for "invoice:42", since each makes
   * time series of its own. `undefined`: nothing.
   */
  readonly name?: (key: string) => string | undefined;
  /**
   * Let others find the trace of a holder. The context of `lock.acquire` goes into the lock's metadata
   * (`traceparent`, with the W3C propagator) if there is none or it is an object that has room for it. Who has
   * to wait asks once with `inspect()` who holds, and links its `lock.acquire` to theirs. @default {false}
   */
  readonly propagate?: boolean;
}

/**
 * Writes spans and metrics of all that a manager does from now on, until disposed of: what is open then ends
 * without an outcome, and the locks themselves go on. A manager that is closed has ended all of it by itself.
 *
 * @throws {TypeError} for what is no manager of this package, one that is instrumented already, or bad options
 */
export function instrument(manager: LockManager, options: InstrumentOptions = {}): Disposable {
  checkKinds<InstrumentOptions>("instrument", options, {
    tracer: ["object"],
    meter: ["object"],
    name: ["function"],
    propagate: ["boolean"],
  });
  const { tracer = trace.getTracer(SCOPE), meter, name, propagate = false } = options;
  const telemetry = new Telemetry({
    tracer: tracer as Tracer,
    instruments: Instruments.of(meter as Meter | undefined),
    name,
    propagate,
    manager,
  });
  const stop = observe(manager, (asked) => follow(telemetry, asked));
  return {
    [Symbol.dispose]() {
      stop();
      telemetry.end();
    },
  };
}
