import { process } from "./builtin.ts";

/** What is asked of Deno's permissions here. */
type Right = { readonly name: "net" } | { readonly name: "sys"; readonly kind: "uid" };

const { Deno } = globalThis as {
  Deno?: { permissions: { querySync(right: Right): { readonly state: string } } };
};

/**
 * Whether something may be done that is of use, but not needed. Without the right it is not tried: Deno would
 * ask its user, who knows nothing of it.
 */
function isGranted(right: Right): boolean {
  return Deno === undefined || Deno.permissions.querySync(right).state === "granted";
}

/** Whether this process may listen at sockets, and connect to them. */
export function maySpeak(): boolean {
  return isGranted({ name: "net" });
}

/** Who this process runs as, where there are users and it may know. */
export function user(): number | undefined {
  return isGranted({ name: "sys", kind: "uid" }) ? process.geteuid?.() : undefined;
}
