/**
 * A proxy that makes a server on this machine as far away as one in the same data center: in a process of its own,
 * `far.ts PORT MILLISECONDS`. Prints its port; ends with its standard input.
 */
import process from "node:process";
import { Proxy } from "../../tests/servers/proxy.ts";

const [port, ms] = process.argv.slice(2).map(Number) as [number, number];
const proxy = await Proxy.start({ port, fine: true });
proxy.delay(ms);
console.log(proxy.port);
process.stdin.on("end", () => process.exit(0)).resume();
