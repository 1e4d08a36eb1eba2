import { Redis } from "ioredis";
import type { Open, Signal } from "../subject.ts";

/** The floor of a hand-over: a `PUBLISH` in one process to its message in the other. */
export const open: Open<Signal> = async (address) => {
  const [publisher, subscriber] = [new Redis(address), new Redis(address)];
  let got: (() => void) | undefined;
  subscriber.on("message", () => got?.());
  await subscriber.subscribe("floor");
  return {
    wait(waiting) {
      const message = new Promise<void>((resolve) => got = resolve);
      waiting();
      return message;
    },
    pass: () => publisher.publish("floor", "go"),
    close: () => Promise.all([publisher.quit(), subscriber.quit()]),
  };
};
