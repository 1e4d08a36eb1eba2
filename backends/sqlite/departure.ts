import type { Row } from "./claims.ts";
import type { Place, Session } from "./session.ts";

/** What a waiting claim has found in the file. */
export interface Found {
  /** Whom it waits for. */
  readonly ahead: readonly Row[];
  /** Of the file, when it was found. */
  readonly version: number;
}

/**
 * Resolves when one of those ahead may be gone, when something has happened to our own claim, or when nobody
 * waits any more. Processes say when a claim of theirs is gone. One that cannot be heard may have ended: that is
 * looked after at once, and while it lives its claim is looked after in the file.
 */
export async function departure(
  place: Place,
  { ahead, version }: Found,
  session: Session,
  signal: AbortSignal,
): Promise<void> {
  const cancel: (() => void)[] = [];
  await new Promise<void>((wake) => {
    if (signal.aborted) return wake();
    place.wake = wake;
    const abandon = () => wake();
    signal.addEventListener("abort", abandon);
    cancel.push(() => signal.removeEventListener("abort", abandon));
    for (const row of ahead) {
      cancel.push(session.wait(row, (ending) => {
        if (ending === "gone") return wake();
        cancel.push(session.lookouts.add({ version, session: row.session, seen: wake }));
        session.buryIfDead(row.session).then((buried) => buried && wake(), wake);
      }));
    }
  });
  place.wake = undefined;
  for (const each of cancel) each();
}
