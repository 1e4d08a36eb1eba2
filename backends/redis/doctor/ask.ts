import type { RedisOptions } from "ioredis";
import { type Checkup, inTime } from "../../shared/doctor.ts";
import { inquire, type Inquiry } from "../client/inquiry.ts";
import { list, whole } from "../client/replies.ts";
import type { Facts } from "./rules.ts";

/** Connects to one server, and asks. All of it takes no longer than a question may. */
export function ask<T>(
  options: RedisOptions,
  place: string,
  checkup: Checkup,
  question: (server: Inquiry) => Promise<T>,
): Promise<T> {
  const signal = AbortSignal.any([checkup.signal, AbortSignal.timeout(checkup.timeout)]);
  const asked = async () => {
    using server = await inquire(options, place, signal);
    return await question(server);
  };
  return inTime(`ask Redis at ${place}`, checkup, asked());
}

/** Asks a server about itself. */
export async function factsOf(server: Inquiry): Promise<Facts> {
  const info = await server.info();
  const appendfsync = await server.setting("appendfsync");
  const asked = Date.now();
  const [seconds, micros] = list(await server.ask("TIME"), 2).map(whole);
  const ahead = seconds! * 1_000 + micros! / 1_000 - (asked + Date.now()) / 2;
  return { info, appendfsync, ahead };
}
