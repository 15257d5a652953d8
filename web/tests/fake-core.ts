/**
 * A core without a network, for tests of the screens: shares made of functions. `globalThis.fake`, set before
 * the page loads, chooses the share and what goes wrong. Tests in node load it as well to know the bytes.
 */
import { CoreError, type Core, type Entry, type OpenShare, type Source } from "../src/core/api.ts";

export interface Fake {
  share?: "photos" | "hostile" | "big" | "many" | "single" | "small-files";
  /** Opening fails so; `times` how often (always when it is left out). */
  fails?: { code: string; retry_after_ms?: number; times?: number };
  open_ms?: number;
  /** Bytes per second of each read. */
  rate?: number;
  /** Reads that pass this offset of this entry fail, once each. */
  breaks?: { index: number; at: number; code: string }[];
  /** Bytes of the big file. */
  big?: number;
}

interface Made {
  path: string[];
  kind: Entry["kind"];
  bytes?: Uint8Array;
  size?: number;
  target?: string;
  executable?: boolean;
}

const text = (words: string) => new TextEncoder().encode(words);
const BLOCK = block();

function block(): Uint8Array {
  const bytes = new Uint8Array(1024 * 1024);
  let x = 0x2545f491;
  for (let at = 0; at < bytes.length; at += 1) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    bytes[at] = x;
  }
  return bytes;
}

/** Content of files that have no bytes of their own: one block again and again, each with its number in front. */
export function filler(index: number, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const at = offset + done;
    const number = Math.floor(at / BLOCK.length);
    const inside = at % BLOCK.length;
    const part = Math.min(length - done, BLOCK.length - inside);
    out.set(BLOCK.subarray(inside, inside + part), done);
    const head = new Uint8Array(8);
    new DataView(head.buffer).setUint32(0, number);
    new DataView(head.buffer).setUint32(4, index);
    for (let byte = inside; byte < Math.min(8, inside + part); byte += 1) out[done + byte - inside] = head[byte] ?? 0;
    done += part;
  }
  return out;
}

/** A tone of some seconds, 8 bits, 8 kHz. */
function tone(seconds: number): Uint8Array {
  const rate = 8_000;
  const bytes = new Uint8Array(44 + rate * seconds);
  const view = new DataView(bytes.buffer);
  bytes.set(text("RIFF"), 0);
  view.setUint32(4, bytes.length - 8, true);
  bytes.set(text("WAVEfmt "), 8);
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate, true);
  view.setUint16(32, 1, true);
  view.setUint16(34, 8, true);
  bytes.set(text("data"), 36);
  view.setUint32(40, rate * seconds, true);
  for (let at = 44; at < bytes.length; at += 1) bytes[at] = 128 + 60 * Math.sin((at * 440 * 2 * Math.PI) / rate);
  return bytes;
}

function landscape(hue: number, run = ""): Uint8Array {
  return text(`<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="800" viewBox="0 0 1200 800"><defs><linearGradient id="s" x2="0" y2="1"><stop stop-color="hsl(${hue} 70% 45%)"/><stop offset="1" stop-color="hsl(${hue + 40} 80% 75%)"/></linearGradient></defs><rect width="1200" height="800" fill="url(#s)"/><circle cx="880" cy="230" r="90" fill="#fff6d8"/><path d="M0 620l260-250 190 170 240-290 300 330 210-160v380H0z" fill="hsl(${hue + 10} 35% 28%)"/><path d="M0 690q300-90 620-10t580-30v150H0z" fill="hsl(${hue + 20} 40% 18%)"/>${run}</svg>`);
}

function pdf(): Uint8Array {
  const objects = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>",
    "<< /Length 44 >>\nstream\nBT /F 24 Tf 40 100 Td (Hither in a PDF) Tj ET \nendstream",
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
  ];
  let file = "%PDF-1.4\n";
  const offsets = objects.map((object, at) => {
    const offset = file.length;
    file += `${at + 1} 0 obj\n${object}\nendobj\n`;
    return offset;
  });
  const start = file.length;
  file += `xref\n0 6\n0000000000 65535 f \n${offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("")}trailer << /Size 6 /Root 1 0 R >>\nstartxref\n${start}\n%%EOF`;
  return text(file);
}

const HOSTILE = [
  "<img src=x onerror=alert(1)>.txt",
  "\"><script>alert(2)</script>.txt",
  "invoice\u202egpj.exe",
  "two\nlines\u0007.txt",
  "{{constructor.constructor('alert(3)')()}}",
  "javascript:alert(4).txt",
  "..\\..\\windows\\system32.dll",
  "CON.txt",
  "zero\u200bwidth.txt",
  "zerowidth.txt",
  `${"long ".repeat(50)}.txt`,
  "<svg onload=alert(5)>.svg",
  "%2e%2e%2fetc%2fpasswd",
  "a\ud800b.txt",
  "مرحبا بالعالم.txt",
  "__proto__",
  "constructor",
];

function made(fake: Fake): { name: string; made: Made[] } {
  const file = (path: string[], bytes: Uint8Array | number, executable = false): Made => (typeof bytes === "number" ? { path, kind: "file", size: bytes, executable } : { path, kind: "file", bytes, executable });
  const folder = (...path: string[]): Made => ({ path, kind: "folder" });
  switch (fake.share) {
    case "single":
      return { name: "film.bin", made: [file([], 5_000_000)] };
    case "big":
      return { name: "big", made: [folder(), file(["big.bin"], fake.big ?? 2 ** 31)] };
    case "many":
      return { name: "many", made: [folder(), ...Array.from({ length: 20_000 }, (_, n) => file([`file ${n}.txt`], n))] };
    case "small-files":
      return { name: "small files", made: [folder(), ...Array.from({ length: 300 }, (_, n) => file([`file ${n}.bin`], 1 + ((n * 7919) % 20_000))), folder("sub"), folder("sub", "empty"), file(["sub", "run.sh"], text("#!/bin/sh\necho hi\n"), true), file(["sub", "larger.bin"], 6_000_000)] };
    case "hostile":
      return {
        name: "<b>share</b>\u202e",
        made: [
          folder(),
          ...HOSTILE.map((name) => (name.endsWith(".svg") ? file([name], landscape(200, "<script>globalThis.ran=1;fetch('/ran')</script><image href=\"https://evil.example/x.png\"/>")) : file([name], text(`<script>globalThis.ran=1</script>\n${name.slice(0, 20)}\n`)))),
          file(["page.html"], text("<!doctype html><script>parent.ran=1;alert(1)</script><h1>Hi</h1>")),
          { path: ["link"], kind: "symlink", target: "../../etc/\u202epasswd" },
          folder("<i>folder</i>"),
          file(["<i>folder</i>", "x.txt"], text("x")),
        ],
      };
    default:
      return {
        name: "Bergtour 2026",
        made: [
          folder(),
          folder("Karten"),
          file(["Karten", "Route.gpx"], 184_221),
          file(["Karten", "Übersicht.pdf"], pdf()),
          folder("RAW"),
          ...Array.from({ length: 24 }, (_, n) => file(["RAW", `DSC_${4100 + n}.NEF`], 24_000_000 + n * 113_113)),
          file(["Anreise.md"], text("# Anreise\n\nMit dem Zug um 7:42 ab Gleis 3.\n\n- Regenjacke\n- Karte\n- 山の地図\n")),
          file(["film.mp4"], 734_003_200),
          { path: ["neueste"], kind: "symlink", target: "RAW/DSC_4123.NEF" },
          file(["Gipfel.svg"], landscape(210)),
          file(["See am Morgen.svg"], landscape(160)),
          file(["Abend.svg"], landscape(10)),
          file(["Ton vom Bach.wav"], tone(60)),
          file(["Rest.zip"], 12_480_000),
        ],
      };
  }
}

const AT = Date.UTC(2026, 8, 14, 9, 30);

/** The entries of a share and what is in each. */
export function fake_share(fake: Fake): { name: string; entries: Entry[]; content: (entry: Entry, offset: number, length: number) => Uint8Array<ArrayBuffer> } {
  const { name, made: all } = made(fake);
  const entries = all.map(({ path, kind, bytes, size, target, executable }, index): Entry => ({
    index,
    path,
    kind,
    size: bytes?.length ?? size ?? 0,
    modified_ms: AT + index * 3_600_000,
    executable: executable ?? false,
    ...(target === undefined ? {} : { target }),
  }));
  const content = (entry: Entry, offset: number, length: number) => {
    const { bytes } = all[entry.index] as Made;
    return bytes ? new Uint8Array(bytes.slice(offset, offset + length)) : filler(entry.index, offset, Math.min(length, entry.size - offset));
  };
  return { name, entries, content };
}

/** Bytes of a piece: not of the same length each time. */
const PIECES = [262_144, 65_536, 131_072, 1_048_576, 99_999];

class FakeShare implements OpenShare {
  id = "00112233445566778899aabbccddeeff";
  owner = "12D3KooWGzfLJZ7kQdp5Z4n2yWqfakeowner7Qm";
  version = 3;
  published_ms = Date.now() - 3 * 86_400_000;
  readonly name: string;
  readonly entries: Entry[];
  readonly size: number;
  readonly #content: ReturnType<typeof fake_share>["content"];
  readonly #listeners = new Set<() => void>();
  #bytes = 0;

  constructor(readonly fake: Fake) {
    const { name, entries, content } = fake_share(fake);
    this.name = name;
    this.entries = entries;
    this.#content = content;
    this.size = entries.reduce((sum, { size }) => sum + size, 0);
  }

  read(entry: Entry, offset = 0, signal?: AbortSignal): ReadableStream<Uint8Array> {
    let at = offset;
    let turn = 0;
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => signal?.addEventListener("abort", () => controller.error(new CoreError("aborted", "aborted"))),
        pull: async (controller) => {
          if (signal?.aborted) return;
          const length = Math.min(PIECES[turn++ % PIECES.length] ?? 1, entry.size - at);
          if (length <= 0) return controller.close();
          const broken = this.fake.breaks?.findIndex(({ index, at: where }) => index === entry.index && where >= at && where < at + length) ?? -1;
          if (broken >= 0) {
            const [what] = this.fake.breaks?.splice(broken, 1) ?? [];
            return controller.error(new CoreError(what?.code ?? "unreachable", "broken for a test"));
          }
          if (this.fake.rate) await new Promise((resolve) => setTimeout(resolve, (length / (this.fake.rate ?? 1)) * 1000));
          if (signal?.aborted) return;
          controller.enqueue(this.#content(entry, at, length));
          at += length;
          this.#bytes += length;
          for (const listener of this.#listeners) listener();
        },
      },
      { highWaterMark: 1 },
    );
  }

  sources(): Source[] {
    return [
      { kind: "store", id: "12D3KooWStore1111abcd1234", state: "open", bytes: this.#bytes, rate: this.fake.rate ?? 0 },
      { kind: "device", id: "12D3KooWDevice222wxyz5678", state: "waiting", bytes: 0, rate: 0 },
    ];
  }

  onchange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#listeners.clear();
  }
}

export async function load_core(): Promise<Core> {
  const fake = (globalThis as { fake?: Fake }).fake ?? {};
  return {
    device_id: "12D3KooWFakeBrowserDevice9876",
    async open(_ticket, options) {
      await new Promise((resolve) => setTimeout(resolve, fake.open_ms ?? 20));
      if (options?.signal?.aborted) throw new CoreError("aborted", "aborted");
      const { fails } = fake;
      if (fails && (fails.times === undefined || fails.times-- > 0)) throw new CoreError(fails.code, "as the test says", fails.retry_after_ms);
      return new FakeShare(fake);
    },
  };
}
