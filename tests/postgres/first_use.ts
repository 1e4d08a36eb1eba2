/** `node first_use.ts URL`: a process whose first use of a database is everything. */
import process from "node:process";
import { postgres } from "../../backends/postgres.ts";
import { everything } from "./scene.ts";

await everything(() => postgres(process.argv[2]!));
