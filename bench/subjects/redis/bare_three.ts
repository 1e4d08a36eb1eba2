import type { Open } from "../subject.ts";
import { addresses } from "./addresses.ts";
import { bare } from "./bare.ts";

/** What a majority of five costs at least. */
export const open: Open = (address, ttl) => bare(addresses(address).slice(0, 3), ttl);
