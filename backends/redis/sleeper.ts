import type { Call } from "../../internal/backend.ts";

/** Somebody who can be woken, at most once for each time it sleeps. */
export interface Sleeper<News> {
  /** Set while it sleeps. */
  wake: ((news: News) => void) | undefined;
}

/** Sleeps until it is woken, or rejects once nobody waits for that any more. */
export function sleep<News>(sleeper: Sleeper<News>, { signal }: Call): Promise<News> {
  return new Promise((resolve, reject) => {
    const wake = (news: News) => {
      sleeper.wake = undefined;
      signal.removeEventListener("abort", abandon);
      resolve(news);
    };
    const abandon = () => {
      if (sleeper.wake === wake) sleeper.wake = undefined;
      reject(signal.reason);
    };
    signal.addEventListener("abort", abandon, { once: true });
    sleeper.wake = wake;
  });
}
