import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { HOST } from "../servers/process.ts";

/** Attributes in OTLP's JSON. */
type Attributes = readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[];

/** A span in OTLP's JSON. */
export interface Span {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly attributes: Attributes;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
}

/** A point of a metric in OTLP's JSON: of a histogram it has a count. */
interface Point {
  readonly attributes: Attributes;
  readonly asDouble?: number;
  readonly asInt?: string;
  readonly count?: string;
}

/** A metric in OTLP's JSON. */
interface Metric extends Partial<Readonly<Record<"sum" | "gauge" | "histogram", { dataPoints: Point[] }>>> {
  readonly name: string;
}

interface Body {
  readonly resourceSpans?: readonly { readonly scopeSpans: readonly { readonly spans: readonly Span[] }[] }[];
  readonly resourceMetrics?: readonly { readonly scopeMetrics: readonly { readonly metrics: Metric[] }[] }[];
}

/** The latest values of each metric, by the values of its attributes, in the order of their names. */
export type Metrics = Map<string, Readonly<Record<string, number>>>;

/** Whether all has come that is waited for. */
export type Enough = (spans: readonly Span[], metrics: Metrics) => boolean;

/** An OpenTelemetry collector, for JSON over HTTP, that keeps what it is sent. */
export class Collector implements AsyncDisposable {
  /** All spans so far. */
  readonly spans: Span[] = [];
  /** Resolves with the metrics once enough has come. */
  readonly metrics: Promise<Metrics>;
  readonly #enough: Enough;
  readonly #server: Server;
  readonly #latest: Metrics = new Map();
  #resolve!: (metrics: Metrics) => void;

  private constructor(enough: Enough) {
    this.#enough = enough;
    this.metrics = new Promise((resolve) => this.#resolve = resolve);
    this.#server = createServer(async (request, response) => {
      if (request.method === "GET") await this.metrics;
      else {
        let body = "";
        for await (const chunk of request.setEncoding("utf8")) body += chunk;
        this.#take(JSON.parse(body));
      }
      response.setHeader("content-type", "application/json").end("{}");
    });
  }

  /** Starts one. */
  static async start(enough: Enough): Promise<Collector> {
    const collector = new Collector(enough);
    await new Promise<void>((resolve) => collector.#server.listen(0, HOST, resolve));
    return collector;
  }

  /** Where it is sent to. Whoever GETs anything from it has the answer once enough has come. */
  get url(): string {
    return `http://${HOST}:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #take({ resourceSpans = [], resourceMetrics = [] }: Body): void {
    for (const { scopeSpans } of resourceSpans) for (const { spans } of scopeSpans) this.spans.push(...spans);
    for (const { scopeMetrics } of resourceMetrics) {
      for (const { name, ...metric } of scopeMetrics.flatMap(({ metrics }) => metrics)) {
        const points = (metric.sum ?? metric.gauge ?? metric.histogram)?.dataPoints ?? [];
        this.#latest.set(name, Object.fromEntries(points.map((point) => [described(point), valueOf(point)])));
      }
    }
    if (this.#enough(this.spans, this.#latest)) this.#resolve(new Map(this.#latest));
  }
}

/** The value of one of a span's attributes. */
export function attribute({ attributes }: Span, name: string): unknown {
  const found = attributes.find(({ key }) => key === name);
  return found && Object.values(found.value)[0];
}

function described({ attributes }: Point): string {
  const sorted = attributes.toSorted((a, b) => a.key < b.key ? -1 : 1);
  return sorted.map(({ value }) => Object.values(value)[0]).join(" ");
}

function valueOf({ asDouble, asInt, count }: Point): number {
  return Number(asDouble ?? asInt ?? count);
}
