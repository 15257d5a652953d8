/**
 * A file shown in the page. Nothing in it runs: pictures, sound and text only, as the type that its name
 * says; web pages are shown as their text, and PDF only by a viewer that the browser brings.
 */
import { useEffect, useState } from "preact/hooks";
import type { OpenShare } from "../core/api.ts";
import { useWords } from "../i18n/index.ts";
import { Button, Dialog, Name, Notice, Spinner } from "../ui-kit/components.tsx";
import { display_name } from "../ui-kit/names.ts";
import { chunks_of } from "./save/source.ts";
import type { ServiceLink } from "./save/sw-link.ts";
import { kind_of, type Node } from "./tree.ts";
import { link_words } from "./words.ts";

/** Most of a text that is shown, in bytes. */
const TEXT_MOST = 512 * 1024;
/** Most that is read into memory for a preview where there is no service worker, in bytes. */
const MEMORY_MOST = 32_000_000;

interface PreviewProps {
  share: OpenShare;
  link: ServiceLink | undefined;
  node: Node;
  /** The one before and after it in its list. */
  before: Node | undefined;
  after: Node | undefined;
  onShow: (node: Node) => void;
  onDownload: (node: Node) => void;
  onClose: () => void;
}

export function Preview({ share, link, node, before, after, onShow, onDownload, onClose }: PreviewProps) {
  const { t, format } = useWords(link_words);
  const { entry } = node;
  const keys = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    if (event.altKey || event.ctrlKey || event.metaKey || target.matches("video, audio, pre, iframe")) return;
    const to = event.key === "ArrowLeft" ? before : event.key === "ArrowRight" ? after : undefined;
    if (to) onShow(to);
  };
  return (
    <Dialog
      wide
      title={<Name text={node.name} />}
      onClose={onClose}
      foot={
        <>
          {before && <Button kind="quiet" icon="back" label={t("previous")} onClick={() => onShow(before)} />}
          {after && <Button kind="quiet" icon="forward" label={t("next")} onClick={() => onShow(after)} />}
          {entry.kind === "file" && (
            <Button kind="primary" icon="download" onClick={() => onDownload(node)}>
              {t("download_size", { size: format.size(entry.size) })}
            </Button>
          )}
        </>
      }
    >
      <div class="preview" onKeyDown={keys}>
        <Content key={entry.index} share={share} link={link} node={node} />
      </div>
      <p class="small muted">
        {entry.kind === "file" ? format.size(entry.size) : t("leads_to", { target: display_name(entry.target ?? "") })}
        {entry.modified_ms > 0 ? ` · ${format.time(entry.modified_ms)}` : ""}
      </p>
    </Dialog>
  );
}

function Content({ share, link, node }: { share: OpenShare; link: ServiceLink | undefined; node: Node }) {
  const { t } = useWords(link_words);
  const kind = kind_of(node.name);
  if (node.entry.kind !== "file") return <p>{t("symlink_here")}</p>;
  if (!kind) return <p>{t("no_preview")}</p>;
  if (kind.preview === "text") return <TextContent share={share} node={node} />;
  return <MediaContent share={share} link={link} node={node} preview={kind.preview} type={kind.type} />;
}

function TextContent({ share, node }: { share: OpenShare; node: Node }) {
  const { t, format } = useWords(link_words);
  const [text, set_text] = useState<string>();
  const [failed, set_failed] = useState(false);
  useEffect(() => {
    const stop = new AbortController();
    first_bytes(share, node, TEXT_MOST, stop.signal)
      .then((bytes) => !stop.signal.aborted && set_text(decoded(bytes)))
      .catch(() => !stop.signal.aborted && set_failed(true));
    return () => stop.abort();
  }, []);
  if (failed) return <Notice tone="bad" title={t("preview_failed")} />;
  if (text === undefined) return <Spinner label={t("loading")} />;
  return (
    <>
      {node.entry.size > TEXT_MOST && <p class="small muted">{t("text_start", { size: format.size(TEXT_MOST) })}</p>}
      <pre class="text-preview" tabIndex={0} dir="auto" role="region" aria-label={display_name(node.name)}>{text}</pre>
    </>
  );
}

async function first_bytes(share: OpenShare, node: Node, most: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const wanted = Math.min(node.entry.size, most);
  const bytes = new Uint8Array(wanted);
  let at = 0;
  for await (const chunk of chunks_of(share.read(node.entry, 0, signal), signal)) {
    const part = chunk.subarray(0, wanted - at);
    bytes.set(part, at);
    at += part.length;
    if (at === wanted) break;
  }
  return bytes.subarray(0, at);
}

/** UTF-8, or UTF-16 where a file begins by saying so. */
function decoded(bytes: Uint8Array): string {
  const [a, b] = bytes;
  const label = a === 0xff && b === 0xfe ? "utf-16le" : a === 0xfe && b === 0xff ? "utf-16be" : "utf-8";
  return new TextDecoder(label).decode(bytes);
}

interface MediaProps {
  share: OpenShare;
  link: ServiceLink | undefined;
  node: Node;
  preview: "image" | "video" | "audio" | "pdf";
  type: string;
}

function MediaContent({ share, link, node, preview, type }: MediaProps) {
  const { t } = useWords(link_words);
  const { url, problem } = useAddress(share, link, node, preview, type);
  const [broken, set_broken] = useState(false);
  const [ready, set_ready] = useState(false);
  if (problem) return <Notice tone="info" title={t(problem)} />;
  if (broken) return <Notice tone="info" title={t("preview_cannot")} />;
  const name = display_name(node.name);
  const events = { onError: () => set_broken(true) };
  return (
    <>
      {!ready && preview === "image" && <Spinner label={t("loading")} />}
      {url && preview === "image" && <img src={url} alt={name} onLoad={() => set_ready(true)} {...events} />}
      {url && preview === "video" && <video src={url} controls playsInline preload="metadata" aria-label={name} {...events} />}
      {url && preview === "audio" && <audio src={url} controls preload="metadata" aria-label={name} {...events} />}
      {url && preview === "pdf" && <iframe src={url} title={name} />}
    </>
  );
}

/** An address under which the browser reads the file: by the service worker in parts, else from memory when it is small. */
function useAddress(share: OpenShare, link: ServiceLink | undefined, node: Node, preview: string, type: string): { url?: string; problem?: "no_viewer" | "preview_needs_https" | "preview_failed" } {
  const [url, set_url] = useState<string>();
  const [failed, set_failed] = useState(false);
  const { entry } = node;
  const by_worker = link !== undefined;
  const possible = by_worker || (preview !== "pdf" && entry.size <= MEMORY_MOST);
  useEffect(() => {
    if (!possible) return;
    if (link) {
      const [address, end] = link.offer({ name: node.name, type, size: entry.size, attachment: false, give: (start, stop) => giver(share, node, start, stop) });
      set_url(address);
      return end;
    }
    const stop = new AbortController();
    let made: string | undefined;
    first_bytes(share, node, MEMORY_MOST, stop.signal)
      .then((bytes) => !stop.signal.aborted && set_url((made = URL.createObjectURL(new Blob([bytes], { type })))))
      .catch(() => !stop.signal.aborted && set_failed(true));
    return () => {
      stop.abort();
      if (made) URL.revokeObjectURL(made);
    };
  }, []);
  if (preview === "pdf" && !navigator.pdfViewerEnabled) return { problem: "no_viewer" };
  if (!possible) return { problem: "preview_needs_https" };
  if (failed) return { problem: "preview_failed" };
  return url === undefined ? {} : { url };
}

function giver(share: OpenShare, node: Node, start: number, end: number) {
  const stop = new AbortController();
  const chunks = chunks_of(share.read(node.entry, start, stop.signal), stop.signal);
  let left = end - start;
  return {
    async next() {
      if (left === 0) {
        stop.abort();
        return undefined;
      }
      const { done, value } = await chunks.next();
      if (done) throw new Error("the file ended early");
      const part = value.subarray(0, left);
      left -= part.length;
      return part;
    },
    cancel: () => stop.abort(),
  };
}
