import type { LinkRequest } from "./link.ts";

/** Waits for something of ours to be ready, and closes it if it fails, or if no call waits for it any more. */
export async function orClose<T>(
  ready: Promise<T>,
  { abandoned }: LinkRequest,
  close: () => void,
): Promise<T> {
  const given = Promise.withResolvers<never>();
  const abandon = () => given.reject(abandoned.reason);
  abandoned.addEventListener("abort", abandon);
  try {
    // Some clients never answer what they were asked before they were closed.
    const result = await Promise.race([ready, given.promise]);
    abandoned.throwIfAborted();
    return result;
  } catch (error) {
    close();
    throw error;
  } finally {
    abandoned.removeEventListener("abort", abandon);
  }
}
