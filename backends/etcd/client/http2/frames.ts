/** The frames of HTTP/2 (RFC 9113, sections 4 and 6). */
import { Buffer } from "node:buffer";

/** Kinds of frames. */
export const TYPE = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  promise: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;

/** Bits of a frame's flags. */
export const FLAG = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

/** Numbers of settings. */
export const SETTING = { table: 1, push: 2, streams: 3, window: 4, frame: 5 } as const;

/** The largest payload of a frame that need not be agreed on. */
export const LARGEST = 16_384;

const HEAD = 9;

/** What one side says to the other. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  /** 0: the connection. */
  readonly stream: number;
  readonly payload: Buffer;
}

/** The bytes of a frame. */
export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(HEAD + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  payload.copy(bytes, HEAD);
  return bytes;
}

/** A frame whose payload is one number. */
export function numberFrame(type: number, stream: number, value: number): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt32BE(value);
  return frame(type, 0, stream, payload);
}

/** A frame that says how we want it. */
export function settingsFrame(values: readonly (readonly [setting: number, value: number])[]): Buffer {
  const payload = Buffer.allocUnsafe(6 * values.length);
  for (const [at, [setting, value]] of values.entries()) {
    payload.writeUInt16BE(setting, 6 * at);
    payload.writeUInt32BE(value, 6 * at + 2);
  }
  return frame(TYPE.settings, 0, 0, payload);
}

/** The payload of DATA or HEADERS, without padding and priority. */
export function content({ flags, payload, type }: Frame): Buffer {
  const padded = (flags & FLAG.padded) !== 0;
  const from = (padded ? 1 : 0) + (type === TYPE.headers && (flags & FLAG.priority) !== 0 ? 5 : 0);
  const to = payload.length - (padded ? payload.readUInt8(0) : 0);
  if (to < from) throw new Error("a frame that is all padding");
  return from === 0 && !padded ? payload : payload.subarray(from, to);
}

/** Takes frames out of a stream of bytes, however they are cut. */
export class FrameReader {
  #rest: Buffer | undefined;

  /**
   * Those that are complete with these bytes.
   *
   * @throws {Error} If one is larger than agreed.
   */
  *read(more: Buffer): Generator<Frame> {
    let bytes = this.#rest === undefined ? more : Buffer.concat([this.#rest, more]);
    this.#rest = undefined;
    while (bytes.length >= HEAD) {
      const length = bytes.readUIntBE(0, 3);
      if (length > LARGEST) throw new Error("what comes is not HTTP/2, or a frame is larger than agreed");
      const end = HEAD + length;
      if (bytes.length < end) break;
      yield {
        type: bytes.readUInt8(3),
        flags: bytes.readUInt8(4),
        stream: bytes.readUInt32BE(5) % 2 ** 31,
        payload: bytes.subarray(HEAD, end),
      };
      bytes = bytes.subarray(end);
    }
    if (bytes.length > 0) this.#rest = bytes;
  }
}
