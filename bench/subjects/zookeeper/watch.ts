import { code, ignore } from "../../../backends/zookeeper/client/errors.ts";
import { create, EPHEMERAL, exists, remove } from "../../../backends/zookeeper/client/operations.ts";
import type { Open, Signal } from "../subject.ts";
import { ANYONE, client } from "./client.ts";

const PATH = "/floor";

/** The floor of a hand-over: a delete in one process to its watch event in the other. */
export const open: Open<Signal> = async (address) => {
  let got: (() => void) | undefined;
  const { connection, close } = await client(address, () => got?.());
  return {
    async wait(waiting) {
      const event = new Promise<void>((resolve) => got = resolve);
      await connection.request(create(PATH, "", ANYONE, EPHEMERAL)).catch(ignore(code.nodeExists));
      await connection.request(exists(PATH, true));
      waiting();
      await event;
    },
    pass: () => connection.request(remove(PATH)),
    close,
  };
};
