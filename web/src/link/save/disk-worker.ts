/**
 * Writes files into the browser's own storage (OPFS). It is a worker because only workers write there in
 * place: what is written stays when the tab is closed, and goes on at its length.
 */

interface Handle {
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  getSize(): number;
  close(): void;
}

export type DiskCall =
  | { id: number; call: "open"; name: string; offset: number }
  | { id: number; call: "write"; bytes: Uint8Array }
  | { id: number; call: "flush" }
  | { id: number; call: "close" };

export type DiskAnswer = { id: number; ok: true } | { id: number; ok: false; name: string; message: string };

let handle: Handle | undefined;
let at = 0;

async function run(call: DiskCall): Promise<void> {
  switch (call.call) {
    case "open": {
      const root = await navigator.storage.getDirectory();
      const file = await root.getFileHandle(call.name, { create: true });
      const opened = await (file as unknown as { createSyncAccessHandle(): Promise<Handle> }).createSyncAccessHandle();
      if (opened.getSize() < call.offset) {
        opened.close();
        throw new Error("less is stored than was written");
      }
      opened.truncate(call.offset);
      handle = opened;
      at = call.offset;
      return;
    }
    case "write": {
      if (!handle) throw new Error("no file is open");
      for (let from = 0; from < call.bytes.length; ) {
        const wrote = handle.write(call.bytes.subarray(from), { at });
        if (wrote === 0) throw new DOMException("nothing more is written", "QuotaExceededError");
        from += wrote;
        at += wrote;
      }
      return;
    }
    case "flush":
      handle?.flush();
      return;
    case "close":
      handle?.flush();
      handle?.close();
      handle = undefined;
  }
}

// Calls run one after another, in their order.
let last: Promise<void> = Promise.resolve();

self.onmessage = ({ data }: MessageEvent<DiskCall>) => {
  last = last
    .then(() => run(data))
    .then(
      () => self.postMessage({ id: data.id, ok: true } satisfies DiskAnswer),
      (problem: unknown) => {
        const { name, message } = problem instanceof Error ? problem : new Error(String(problem));
        self.postMessage({ id: data.id, ok: false, name, message } satisfies DiskAnswer);
      },
    );
};
