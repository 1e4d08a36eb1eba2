/** The lock that the processes of the demo contend for. */
export const KEY = "demo:ledger";

/** Its ttl, in milliseconds: short, so that a stopped holder is soon replaced. */
export const TTL = 1_500;

/** What a process tells the director, one line of JSON each. */
export type Report =
  | { readonly event: "waiting" | "writing" | "wrote" }
  | { readonly event: "acquired"; readonly token: string; readonly waited: number; readonly at: number }
  | { readonly event: "released"; readonly at: number }
  | { readonly event: "lost"; readonly why: string }
  | { readonly event: "refused"; readonly token: string; readonly by: string };
