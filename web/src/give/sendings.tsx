/** Everything that goes out of this page: its state, its progress, and what can be done about it. */
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { GivenFile, Sending } from "../core/device-api.ts";
import { useWords } from "../i18n/index.ts";
import { Button, Live, Name, Notice, Parts, Progress, useFocusHeir } from "../ui-kit/components.tsx";
import { Icon, type IconName } from "../ui-kit/icons.tsx";
import { display_name } from "../ui-kit/names.ts";
import { of_input } from "./files.ts";
import { give_words, type GiveKey } from "./words.ts";

/** A device or a visit, as far as the list needs it. */
export interface Sender {
  sendings(): Sending[];
  pause(id: string): void;
  resume(id: string, files?: GivenFile[]): Promise<void>;
  clear(id: string): Promise<void>;
}

const ICONS: Record<Sending["state"], IconName> = {
  preparing: "upload", uploading: "upload", waiting: "upload", sent: "check", taken: "check", declined: "warning", paused: "pause", needs_file: "warning", failed: "warning",
};
const UNDER_WAY: readonly Sending["state"][] = ["preparing", "uploading", "waiting"];
/** Failures that have words of their own. */
const KNOWN = new Set(["unreachable", "quota", "too_large", "not_found", "gone", "busy", "changed", "refused", "no_space", "removed", "unreadable", "lost"]);
/** Failures after which the files may be chosen anew, when nothing of them is left here. */
const CHOSEN_ANEW = new Set(["unreadable", "lost"]);
/** Most names of files that one entry shows. */
const NAMES = 3;

export function is_under_way(one: Sending): boolean {
  return UNDER_WAY.includes(one.state);
}

/** The title of an entry: the first words of a text, or the first files. */
export function title_of(one: Sending, more: (n: number) => string): string {
  if (one.kind === "text") return one.text ?? "";
  const [first, ...others] = one.files;
  if (!first) return one.text ?? "";
  return others.length === 0 ? first.name : `${first.name} ${more(others.length)}`;
}

function Item({ one, sender, reader }: { one: Sending; sender: Sender; reader: boolean }) {
  const { t, format } = useWords(give_words);
  const input = useRef<HTMLInputElement>(null);
  const title_id = useId();
  const [wrong, set_wrong] = useState<"changed" | "again">();
  const title = title_of(one, (n) => t("and_more", { n }));
  const name = display_name(title);
  const moving = is_under_way(one) || one.state === "paused" || one.state === "needs_file";
  const choose = one.state === "needs_file" || (one.spent && one.kind === "files" && CHOSEN_ANEW.has(one.error?.code ?? ""));
  const left = one.rate > 0 ? (one.bytes - one.done) / one.rate : undefined;
  const go_on = (files?: GivenFile[]) => {
    set_wrong(undefined);
    sender.resume(one.id, files).catch((problem: { code?: string }) => set_wrong(problem.code === "changed" ? "changed" : "again"));
  };
  const facts = [
    reader ? t("to", { name: display_name(one.to_name) }) : "",
    one.kind === "text" ? "" : one.bytes > 0 && moving ? t("bytes_of", { bytes: format.size(one.done), size: format.size(one.bytes) }) : format.size(one.bytes),
    one.state === "uploading" && one.rate > 0 ? format.rate(one.rate) : "",
    one.state === "uploading" && left !== undefined ? t("left", { time: format.duration(left) }) : "",
  ];
  return (
    <li class="sending" data-state={one.state} ref={useFocusHeir()}>
      <Icon name={ICONS[one.state]} />
      <div class="sending-text">
        <strong class="clamp" id={title_id}><Name text={title} /></strong>
        {moving && one.kind !== "text" && <Progress value={one.state === "preparing" ? undefined : one.bytes > 0 ? one.done / one.bytes : 0} label={t("progress_of", { name })} />}
        <span class="small muted numeric"><Parts of={[t(`state.${one.state}`), ...facts]} /></span>
        {one.state === "needs_file" && (
          <Notice tone="warn" still>
            <span>{t("needs_file")}</span>
            <ul class="small">{one.files.slice(0, NAMES).map((file, at) => <li key={at}><Name text={file.name} /> <span class="muted">{format.size(file.size)}</span></li>)}</ul>
          </Notice>
        )}
        {wrong && <span class="small error" role="alert">{t(wrong === "changed" ? "other_file" : "not_resumed")}</span>}
        {(one.state === "failed" || one.state === "waiting") && one.error && <span class="small error">{t((KNOWN.has(one.error.code) ? `failed.${one.error.code}` : one.spent ? "failed.lost" : "failed.other") as GiveKey)}</span>}
      </div>
      <div class="cluster sending-acts">
        {choose && (
          <>
            <input
              ref={input}
              hidden
              type="file"
              multiple={one.files.length > 1}
              onChange={(event) => {
                const files = of_input(event.currentTarget);
                event.currentTarget.value = "";
                if (files.length > 0) go_on(files);
              }}
            />
            <Button kind="primary" icon="file" describedby={title_id} onClick={() => input.current?.click()}>{t("choose_again")}</Button>
          </>
        )}
        {is_under_way(one) && one.kind !== "text" && !one.letter && <Button kind="quiet" icon="pause" label={t("pause_name", { name })} onClick={() => sender.pause(one.id)} />}
        {one.state === "paused" && <Button kind="quiet" icon="play" label={t("resume_name", { name })} onClick={() => go_on()} />}
        {one.state === "failed" && !one.spent && <Button kind="quiet" icon="refresh" label={t("again_name", { name })} onClick={() => go_on()} />}
        <Button kind="quiet" icon="close" label={t(moving ? "cancel_name" : "clear_name", { name })} onClick={() => void sender.clear(one.id)} />
      </div>
    </li>
  );
}

/** `reader`: each entry says for whom it is. */
export function Sendings({ sender, reader = false }: { sender: Sender; reader?: boolean }) {
  const { t } = useWords(give_words);
  const all = sender.sendings();
  const under_way = all.some((one) => is_under_way(one) && one.kind !== "text" && !one.letter);
  useEffect(() => {
    if (!under_way) return;
    // The browser asks before it leaves; what it says is its own.
    const leaving = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener("beforeunload", leaving);
    return () => removeEventListener("beforeunload", leaving);
  }, [under_way]);
  if (all.length === 0) return null;
  const of = (...states: Sending["state"][]) => all.filter((one) => states.includes(one.state)).length;
  return (
    <section class="stack" aria-labelledby="sendings">
      <h2 id="sendings">{t("sendings")}</h2>
      <ul class="rows card">{all.map((one) => <Item key={one.id} one={one} sender={sender} reader={reader} />)}</ul>
      {under_way && <p class="small muted">{t("keep_open")}</p>}
      <Live every={3_000} text={t("told", { done: of("sent", "taken"), all: all.length, wrong: of("failed", "declined", "needs_file") })} />
    </section>
  );
}
