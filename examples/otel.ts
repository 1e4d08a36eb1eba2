/**
 * What becomes of locks, in traces and metrics: who waited, for whose trace, and how long each was held.
 *
 * A service registers its SDK once, when it starts, with exporters that send to its collector; these keep what they
 * are told, to be printed. On Deno with `OTEL_DENO=true` all of that is there already. The dashboard and the alerts
 * for these metrics are in `monitoring/`.
 */
import { connect } from "@holdfast/lock/connect";
import { instrument } from "@holdfast/lock/otel";
import { context, metrics, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import process from "node:process";

const spans = new InMemorySpanExporter();
const figures = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter: figures });
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
trace.setGlobalTracerProvider(
  new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] }),
);
metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));

await using locks = connect(process.env.HOLDFAST_STORE ?? "sqlite:", { ttl: 60_000 });
using _ = instrument(locks, { name: (key) => key.split(":")[0], propagate: true });

const tracer = trace.getTracer("app");
const isWaiting = new Promise((resolve) => locks.addEventListener("waiting", resolve, { once: true }));
const first = await tracer.startActiveSpan("the first request", async (span) => {
  const lock = await locks.acquire("invoice:42");
  span.end();
  return lock;
});
const second = tracer.startActiveSpan("the second request", async (span) => {
  await using _ = await locks.acquire("invoice:42");
  span.end();
});
await isWaiting;
await locks.inspect("invoice:42"); // by now the second has asked whose trace it waits for
await first.release();
await second;

const all = spans.getFinishedSpans();
const find = (id: string | undefined) => all.find((span) => span.spanContext().spanId === id);
const request = (span?: ReadableSpan) => find(span?.parentSpanContext?.spanId)?.name;
const lines = all.filter(({ name }) => name.startsWith("lock.")).map((span) => {
  const { "lock.outcome": outcome, "lock.contended": waited } = span.attributes;
  const behind = waited ? `, behind ${request(find(span.links[0]?.context.spanId))}` : "";
  return `${span.name} of ${request(span)}: ${outcome}${behind}`;
});
for (const line of lines.sort()) console.log(line);
await reader.forceFlush();
for (const { descriptor, dataPoints } of figures.getMetrics().at(-1)!.scopeMetrics[0]!.metrics) {
  if (descriptor.name !== "lock.grants") continue;
  for (const { attributes, value } of dataPoints) {
    console.log(descriptor.name, attributes["lock.name"], value);
  }
}
await reader.shutdown();

// Prints:
// lock.acquire of the first request: acquired
// lock.acquire of the second request: acquired, behind the first request
// lock.hold of the first request: released
// lock.hold of the second request: released
// lock.grants invoice 2
