import { Redis } from "ioredis";
import type { Subject } from "./subject.ts";

/** The floor of Redis: a `PUBLISH` in one process to its message in the other. */
export async function subject(url: string): Promise<Subject> {
  const [publisher, subscriber] = [new Redis(url), new Redis(url)];
  let got: (() => void) | undefined;
  subscriber.on("message", () => got?.());
  await subscriber.subscribe("floor");
  return {
    wait(waiting) {
      const message = new Promise<void>((resolve) => got = resolve);
      waiting();
      return message;
    },
    async pass() {
      await publisher.publish("floor", "go");
    },
    close() {
      publisher.disconnect();
      subscriber.disconnect();
      return Promise.resolve();
    },
  };
}
