/** Does `each` for all items, at most `width` at a time. Every item is tried; the last failure is returned. */
export async function pool<T>(
  items: Iterable<T>,
  width: number,
  each: (item: T) => Promise<void>,
): Promise<{ readonly failure?: unknown }> {
  const rest = items[Symbol.iterator]();
  let failed: { readonly failure?: unknown } = {};
  const worker = async () => {
    for (let next = rest.next(); !next.done; next = rest.next()) {
      try {
        await each(next.value);
      } catch (failure) {
        failed = { failure };
      }
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return failed;
}
