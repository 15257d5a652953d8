/** A byte pipe to a relay over a WebSocket (SPEC.md, "Byte pipe"). */

import type { Pipe, PipeEvents } from "./driver.ts";

const SUBPROTOCOL = "hither.v1";
/** Time that a WebSocket may take until it is open. */
const PATIENCE_MS = 10_000;

/** The parts of a WebSocket that are used: the browser's, or one of a test. */
export interface Socket {
  binaryType: string;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onerror: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  send(bytes: Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
}

/** Opens a pipe to the relay at an origin (`https://host[:port]`). */
export function open_pipe(origin: string, events: PipeEvents, make = (url: string, protocol: string) => new WebSocket(url, protocol) as Socket): Pipe {
  const url = new URL("/hither/1/pipe", origin);
  url.protocol = url.protocol === "http:" ? "ws:" : "wss:";
  const socket = make(url.href, SUBPROTOCOL);
  socket.binaryType = "arraybuffer";
  let open = false;
  let waiting: Uint8Array<ArrayBuffer>[] = [];
  const patience = setTimeout(() => over(), PATIENCE_MS);
  let closed = false;
  const over = () => {
    if (closed) return;
    closed = true;
    clearTimeout(patience);
    socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
    socket.close();
    events.closed();
  };
  socket.onopen = () => {
    open = true;
    clearTimeout(patience);
    for (const bytes of waiting) socket.send(bytes);
    waiting = [];
    events.opened();
  };
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) events.bytes(new Uint8Array(data));
    else over();
  };
  socket.onerror = over;
  socket.onclose = over;
  return {
    send(bytes) {
      if (open && !closed) socket.send(bytes);
      else if (!closed) waiting.push(bytes);
    },
    close() {
      if (closed) return;
      closed = true;
      clearTimeout(patience);
      socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
      socket.close(1000);
    },
  };
}
