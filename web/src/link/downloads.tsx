/** Downloads of this tab, and those that an earlier tab left unfinished. */
import { useEffect, useRef, useState } from "preact/hooks";
import { useWords, type Words } from "../i18n/index.ts";
import { Button, Live, Name, Progress } from "../ui-kit/components.tsx";
import { Icon } from "../ui-kit/icons.tsx";
import { display_name } from "../ui-kit/names.ts";
import type { Download } from "./save/download.ts";
import type { Kept } from "./save/kept.ts";
import { link_words, type LinkKey } from "./words.ts";

const KNOWN_FAILURES = new Set(["gone", "not_found", "damaged", "too_new", "stopped", "full", "disk"]);

export function Downloads({ downloads, onRemove, onAgain }: { downloads: readonly Download[]; onRemove: (download: Download) => void; onAgain: (download: Download) => void }) {
  const { t } = useWords(link_words);
  const section = useRef<HTMLElement>(null);
  const newest = downloads[0];
  // A download that was just started is seen, however far down the list its button was.
  useEffect(() => section.current?.scrollIntoView({ block: "nearest" }), [newest]);
  if (!newest) return null;
  return (
    <section class="card padded stack" aria-labelledby="downloads" ref={section}>
      <h2 id="downloads">{t("downloads")}</h2>
      {downloads.map((download) => (
        <Running key={download.id} download={download} onRemove={onRemove} onAgain={onAgain} />
      ))}
    </section>
  );
}

/** Draws again when the download says so, at most this often, and once a second for its rate; in ms. */
const DRAW_MS = 100;

function useDownload(download: Download): void {
  const [, tick] = useState(0);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const draw = () => {
      timer = undefined;
      tick((n) => n + 1);
    };
    const stop = download.onchange(() => (timer ??= setTimeout(draw, DRAW_MS)));
    const each = setInterval(draw, 1_000);
    return () => {
      stop();
      clearTimeout(timer);
      clearInterval(each);
    };
  }, [download]);
}

function state_words({ t, format }: Words<LinkKey>, download: Download): string {
  const { bytes, source } = download;
  const of = t("bytes_of", { bytes: format.size(bytes), size: format.size(source.size) });
  switch (download.state) {
    case "running": {
      const left = download.remaining_s;
      return left === undefined || bytes === source.size ? of : `${of} · ${format.rate(download.rate)} · ${t("left", { time: format.duration(left) })}`;
    }
    case "paused":
      return `${t("paused")} · ${of}`;
    case "waiting":
      return `${t("waiting", { time: format.duration((download.retry_at - Date.now()) / 1000) })} · ${of}`;
    case "failed":
      return t(`failed_${KNOWN_FAILURES.has(download.failure ?? "") ? download.failure : "unknown"}` as LinkKey);
    case "done":
      return `${t(`done_${download.way}`)} · ${format.size(source.size)}`;
  }
}

function Running({ download, onRemove, onAgain }: { download: Download; onRemove: (download: Download) => void; onAgain: (download: Download) => void }) {
  const words = useWords(link_words);
  const { t, format } = words;
  useDownload(download);
  const { state, source, bytes } = download;
  const name = display_name(source.name);
  const text = state_words(words, download);
  const going = state === "running" || state === "paused" || state === "waiting";
  const part = source.size === 0 ? 1 : bytes / source.size;
  // A change of the state is told at once, the bytes only now and then.
  const spoken = state === "running" ? `${name}: ${format.percent(Math.floor(part * 10) / 10)}` : `${name}: ${text}`;
  return (
    <div class={`download ${state}`}>
      <div class="download-head">
        <Icon name={state === "done" ? "check" : state === "failed" ? "warning" : source.type === "application/zip" && source.chosen.length > 0 ? "archive" : "download"} />
        <strong><Name text={source.name} /></strong>
        <span class="cluster">
          {(state === "running") && <Button kind="quiet" icon="pause" label={t("pause_name", { name })} onClick={() => download.pause()} />}
          {(state === "paused" || state === "waiting") && <Button kind="quiet" icon="play" label={t("resume_name", { name })} onClick={() => download.resume()} />}
          {state === "failed" && <Button kind="quiet" icon="refresh" label={t("again_name", { name })} onClick={() => onAgain(download)} />}
          {state === "done" && download.way === "disk" && <Button kind="quiet" icon="download" label={t("save_again_name", { name })} onClick={() => void download.save_again()} />}
          {going ? (
            <Button kind="quiet" icon="close" label={t("cancel_name", { name })} onClick={() => onRemove(download)} />
          ) : (
            <Button kind="quiet" icon="close" label={t("remove_name", { name })} onClick={() => onRemove(download)} />
          )}
        </span>
      </div>
      {going ? <Progress value={part} label={t("progress_name", { name })} words={text} /> : <p class="small muted">{text}</p>}
      {going && state !== "paused" && !download.lasting && <p class="small muted">{t("keep_open")}</p>}
      <Live key={state} every={state === "running" ? 10_000 : 0} text={spoken} />
      {source.links > 0 && <p class="small muted">{t("links_left_out", { n: source.links })}</p>}
    </div>
  );
}

export function Unfinished({ kept, onContinue, onDiscard }: { kept: readonly Kept[]; onContinue: (kept: Kept) => void; onDiscard: (kept: Kept) => void }) {
  const { t, format } = useWords(link_words);
  if (kept.length === 0) return null;
  return (
    <section class="card padded stack" aria-labelledby="unfinished">
      <h2 id="unfinished">{t("unfinished")}</h2>
      {kept.map((record) => {
        const name = display_name(record.name);
        return (
          <div class="download" key={record.key}>
            <div class="download-head">
              <Icon name="pause" />
              <strong><Name text={record.name} /></strong>
              <span class="cluster">
                <Button icon="play" describedby="unfinished" onClick={() => onContinue(record)}>
                  {t("continue")}<span class="for-readers"> {name}</span>
                </Button>
                <Button kind="quiet" icon="trash" label={t("discard_name", { name })} onClick={() => onDiscard(record)} />
              </span>
            </div>
            <Progress
              value={record.size === 0 ? 1 : record.mark.bytes / record.size}
              label={t("progress_name", { name })}
              words={`${t("bytes_of", { bytes: format.size(record.mark.bytes), size: format.size(record.size) })} · ${format.relative(record.at)}`}
            />
          </div>
        );
      })}
    </section>
  );
}
