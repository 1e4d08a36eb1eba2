import type { Call } from "../../internal/backend.ts";

/** What waits until a claim ahead may have departed, and is woken at most once for each wait. */
export interface AwaitsDeparture<News> {
  /** Set while it waits. */
  wake: ((news: News) => void) | undefined;
}

/** Resolves with the news once `waiting` is woken; rejects with the reason of the call's signal. */
export function departure<News>(waiting: AwaitsDeparture<News>, { signal }: Call): Promise<News> {
  return new Promise((resolve, reject) => {
    const wake = (news: News) => {
      waiting.wake = undefined;
      signal.removeEventListener("abort", abandon);
      resolve(news);
    };
    const abandon = () => {
      if (waiting.wake === wake) waiting.wake = undefined;
      reject(signal.reason);
    };
    signal.addEventListener("abort", abandon, { once: true });
    waiting.wake = wake;
  });
}
