/** The pictures of a report. */
import type { Report } from "../harness/report.ts";
import { handover } from "./handover.ts";
import { held } from "./held.ts";
import { latency } from "./latency.ts";
import { order } from "./order.ts";
import { stores } from "./stores.ts";

/** All of them, as SVG by the names of their files. */
export function pictures(report: Report): Record<string, string> {
  return {
    "latency.svg": latency(report),
    "handover.svg": handover(report),
    "held.svg": held(report),
    "order.svg": order(report),
    "stores.svg": stores(report),
  };
}
