import { code, ignore } from "../../../backends/zookeeper/client/errors.ts";
import { create, EPHEMERAL_SEQUENTIAL, remove } from "../../../backends/zookeeper/client/operations.ts";
import type { Open } from "../subject.ts";
import { ANYONE, client } from "./client.ts";

/** The least that a lock can do: create a node of the session's, and delete it. Nobody looks who is first. */
export const open: Open = async (address) => {
  const { connection, close } = await client(address);
  await connection.request(create("/bare", "", ANYONE, 0)).catch(ignore(code.nodeExists));
  return {
    async acquire() {
      const { path } = await connection.request(create("/bare/n-", "", ANYONE, EPHEMERAL_SEQUENTIAL));
      return () => connection.request(remove(path));
    },
    close,
  };
};
