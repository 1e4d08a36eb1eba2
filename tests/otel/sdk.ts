/** OpenTelemetry's own SDK, which keeps what it is told: spans and metrics as a user's exporter would get them. */
import {
  type Context,
  context,
  type Meter,
  metrics,
  propagation,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  type DataPoint,
  type Histogram,
  MeterProvider,
  type MetricData,
  MetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
// The default of an SDK.
propagation.setGlobalPropagator(
  new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
);

/** Collects when it is told to. */
class Reader extends MetricReader {
  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

/** One point of a metric: its value, or of a histogram how many there were. */
export interface Point {
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly value: number;
}

/** Where a test's telemetry goes to. */
export class Sdk {
  readonly tracer: Tracer;
  readonly meter: Meter;
  readonly #exporter = new InMemorySpanExporter();
  readonly #reader = new Reader();

  constructor() {
    const processor = new SimpleSpanProcessor({ exporter: this.#exporter });
    this.tracer = new TracerProvider({ spanProcessors: [processor] }).getTracer("tests");
    this.meter = new MeterProvider({ readers: [this.#reader] }).getMeter("tests");
  }

  /** The spans that have ended so far, of one name. */
  spans(name: string): ReadableSpan[] {
    return this.#exporter.getFinishedSpans().filter((span) => span.name === name);
  }

  /** The only one that has ended. */
  span(name: string): ReadableSpan {
    const [span, ...more] = this.spans(name);
    if (span === undefined || more.length > 0) throw new Error(`${1 + more.length} spans are ${name}`);
    return span;
  }

  /** What an exporter would be given now. */
  async metrics(): Promise<MetricData[]> {
    const { resourceMetrics, errors } = await this.#reader.collect();
    if (errors.length > 0) throw new AggregateError(errors);
    return resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics);
  }

  /** The points of one metric now. */
  async points(name: string): Promise<Point[]> {
    const metric = (await this.metrics()).find(({ descriptor }) => descriptor.name === name);
    const points = (metric?.dataPoints ?? []) as readonly DataPoint<number | Histogram>[];
    return points.map(({ attributes, value }) => ({
      attributes,
      value: typeof value === "number" ? value : value.count,
    }));
  }

  /** The value of a metric that has one point. */
  async value(name: string): Promise<number | undefined> {
    const [point, ...more] = await this.points(name);
    if (more.length > 0) throw new Error(`${1 + more.length} points of ${name}`);
    return point?.value;
  }

  /** Runs something within a span, as a user's own instrumentation does. */
  within<T>(name: string, run: () => T): T {
    return this.tracer.startActiveSpan(name, (span) => {
      try {
        return run();
      } finally {
        span.end();
      }
    });
  }
}

export { type Context, context, metrics, trace };
