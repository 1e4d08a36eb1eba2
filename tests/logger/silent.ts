/** Run as a process of its own: losses, failures and a wait for its own lock, of which no logger is told. */
import { metrics, trace } from "@opentelemetry/api";
import { everything } from "../otel/everything.ts";

await everything({ tracer: trace.getTracer("none"), meter: metrics.getMeter("none") });
