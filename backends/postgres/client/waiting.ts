/** Waits for something of ours to be ready, and undoes it if it fails, or if the signal aborts before. */
export async function orUndo<T>(ready: Promise<T>, signal: AbortSignal, undo: () => void): Promise<T> {
  const given = Promise.withResolvers<never>();
  const abandon = () => given.reject(signal.reason);
  signal.addEventListener("abort", abandon);
  ready.catch(() => {});
  try {
    signal.throwIfAborted();
    const result = await Promise.race([ready, given.promise]);
    signal.throwIfAborted();
    return result;
  } catch (error) {
    undo();
    throw error;
  } finally {
    signal.removeEventListener("abort", abandon);
  }
}
