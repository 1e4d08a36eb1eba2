/** From a lock to a collector, by Deno's own OpenTelemetry and OTLP over HTTP. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "../servers/process.ts";
import { script } from "../servers/script.ts";
import { attribute, Collector, type Span } from "./collector.ts";

/** Its acquisitions and holds, which need not come together with it. */
function childrenOf(caller: Span | undefined, spans: readonly Span[]): Span[] {
  return spans.filter(({ parentSpanId }) => parentSpanId === caller?.spanId);
}

// Goes red if: managers have instruments of their own (no reader sees two locks held), contexts are not the callers'.
test("Deno exports spans and metrics of two managers, with nothing but its settings", async () => {
  const group = "memory exclusive invoice";
  await using collector = await Collector.start((spans, metrics) =>
    childrenOf(spans.find(({ name }) => name === "caller"), spans).length >= 4 &&
    metrics.get("lock.held")?.[group] === 2
  );
  const [binary, args] = script(new URL("./exported.ts", import.meta.url), [], "deno");
  await run(binary, args, {
    timeout: 240_000,
    env: {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_BSP_SCHEDULE_DELAY: "100",
      OTEL_METRIC_EXPORT_INTERVAL: "100",
    },
  });

  const { spans } = collector;
  const caller = spans.find(({ name }) => name === "caller")!;
  const children = childrenOf(caller, spans);
  const outcomes = children.map((span) => `${span.name} ${attribute(span, "lock.outcome")}`);
  assert.deepEqual(outcomes.sort(), [
    "lock.acquire acquired",
    "lock.acquire acquired",
    "lock.hold lost",
    "lock.hold released",
  ]);
  for (const hold of children.filter(({ name }) => name === "lock.hold")) {
    const [link] = hold.links;
    const acquisition = children.find(({ spanId }) => spanId === link!.spanId)!;
    assert.equal(attribute(acquisition, "lock.token"), attribute(hold, "lock.token"));
  }

  const metrics = await collector.metrics;
  assert.deepEqual(metrics.get("lock.waiting"), { [group]: 0 });
  assert.deepEqual(metrics.get("lock.grants"), { [group]: 4 });
  assert.deepEqual(metrics.get("lock.wait.duration"), { [`${group} acquired`]: 4 });
  assert.ok(metrics.get("lock.remaining")![group]! > 0.5);
  assert.equal(metrics.get("lock.losses")!["memory stolen exclusive invoice"], 1);
});
