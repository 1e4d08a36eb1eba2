/** Prints what is loaded until `connect` has returned, and what more until its first call has: `loads.ts URL`. */
import { registerHooks } from "node:module";
import process from "node:process";

const loaded: string[] = [];
registerHooks({
  load(url, context, next) {
    loaded.push(url);
    return next(url, context);
  },
});

const { connect } = await import("../../connect.ts");
await using locks = connect(process.argv[2]!, { retryFor: 0 });
const before = loaded.splice(0);
await locks.tryAcquire("k").catch(() => {});
console.log(JSON.stringify([before, loaded]));
