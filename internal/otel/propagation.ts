/** The context of a trace, in the metadata of locks. */
import { type Link, propagation, ROOT_CONTEXT, type Span, trace } from "@opentelemetry/api";
import { isObject } from "../checks.ts";
import type { Inspection } from "../inspect.ts";
import { METADATA_BYTES, type Want } from "../options.ts";

/**
 * The same want, whose metadata tells of the span as well, as the registered propagator writes it. What is no
 * object, says it already, or has no room for it stays as it is. Baggage is not carried: anyone may read metadata.
 */
export function carrying(want: Want, span: Span): Want {
  const given: unknown = want.metadata === undefined ? {} : JSON.parse(want.metadata);
  if (!isObject(given)) return want;
  const carrier = {};
  propagation.inject(trace.setSpan(ROOT_CONTEXT, span), carrier);
  if (Object.keys(carrier).length === 0) return want;
  const metadata = JSON.stringify({ ...carrier, ...given });
  return new TextEncoder().encode(metadata).length > METADATA_BYTES ? want : { ...want, metadata };
}

/** Links to the spans that holders tell of. */
export function linksTo(inspection: Inspection | undefined): Link[] {
  return (inspection?.holders ?? []).flatMap(({ metadata }) => {
    if (!isObject(metadata)) return [];
    const context = trace.getSpanContext(propagation.extract(ROOT_CONTEXT, metadata));
    return context === undefined ? [] : [{ context, attributes: { "lock.link": "holder" } }];
  });
}
