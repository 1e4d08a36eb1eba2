/** Plot, which draws the same wherever it is loaded. */
import "./screen.ts";
export * from "@observablehq/plot";

Reflect.deleteProperty(globalThis, "window");
