/**
 * Plot moves lines by half a pixel where it finds no fine screen, or a test runner, while it is loaded. A picture must
 * not depend on who draws it: until Plot is there, there is a fine screen.
 */
Reflect.set(globalThis, "window", { devicePixelRatio: 2 });
