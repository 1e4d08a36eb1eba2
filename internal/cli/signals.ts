/** The signals that holdfast passes on. */
import process from "node:process";

/** Those that end who does not expect them. */
export const ENDING: readonly NodeJS.Signals[] = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"];

/** All that are passed on. */
const ALL: readonly NodeJS.Signals[] = [...ENDING, "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGTSTP", "SIGCONT"];

/**
 * Has every one of these signals be told to `hear`, until disposed of. The first process of a container gets only
 * those signals that it listens to: none of them is left to what happens otherwise.
 */
export function listen(hear: (signal: NodeJS.Signals) => void): Disposable {
  for (const signal of ALL) process.on(signal, hear);
  return {
    [Symbol.dispose]() {
      for (const signal of ALL) process.off(signal, hear);
    },
  };
}
