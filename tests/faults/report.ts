/** What a holder says. */
export type Report =
  | { readonly event: "acquired"; readonly token: string; readonly remaining: number }
  | { readonly event: "renewed"; readonly remaining: number }
  | { readonly event: "lost"; readonly why: string }
  | { readonly event: "looked"; readonly aborted: boolean }
  | { readonly event: "refused"; readonly token: string }
  | { readonly event: "released"; readonly released?: boolean; readonly error?: string };

/** With when it was said, by the machine's wall clock, which all processes share. */
export type Dated = Report & { readonly at: number };
