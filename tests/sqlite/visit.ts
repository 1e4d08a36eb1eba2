/** Opens a lock file by SQLite alone, and closes it. */
import process from "node:process";
import { openDatabase } from "../../backends/sqlite/client/database.ts";

const database = openDatabase(process.argv[2]!, { readOnly: false });
database.exec("SELECT count(*) FROM sqlite_schema");
database.close();
