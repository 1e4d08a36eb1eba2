/** Servers that say what they are told to, frame by frame. */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import net, { type AddressInfo, type Server, type Socket } from "node:net";
import {
  FLAG,
  type Frame,
  frame,
  FrameReader,
  settingsFrame,
  TYPE,
} from "../../backends/etcd/client/http2/frames.ts";
import { encode } from "../../backends/etcd/client/http2/hpack.ts";
import { HOST } from "../servers/process.ts";

/** Answers frame by frame, once the client has said hello; with these settings. */
export function scripted(
  answer: (said: Frame, socket: Socket) => void,
  settings: Parameters<typeof settingsFrame>[0] = [],
): Server {
  return net.createServer((socket) => {
    socket.on("error", () => {});
    const reader = new FrameReader();
    let hello = 24; // the preface
    socket.write(settingsFrame(settings));
    socket.on("data", (bytes: Buffer) => {
      const skipped = Math.min(hello, bytes.length);
      hello -= skipped;
      for (const said of reader.read(bytes.subarray(skipped))) answer(said, socket);
    });
  });
}

/** Listens until the end of the block. */
export async function listening(server: Server): Promise<AsyncDisposable & { readonly url: string }> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => void sockets.add(socket));
  server.listen(0, HOST);
  await once(server, "listening");
  return {
    url: `http://${HOST}:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** A message as gRPC wraps it; `length`: as it is announced. */
export function wrapped(message: Buffer, length: number = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

/** The frames of a whole answer: headers, what there is of a body, trailers. */
export function answer(
  stream: number,
  { headers = { ":status": "200" }, body = [], trailers = { "grpc-status": "0" } }: {
    headers?: Record<string, string>;
    body?: readonly Buffer[];
    trailers?: Record<string, string>;
  },
): Buffer {
  return Buffer.concat([
    frame(TYPE.headers, FLAG.endHeaders, stream, encode(headers)),
    ...body.map((part) => frame(TYPE.data, 0, stream, part)),
    frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, stream, encode(trailers)),
  ]);
}
