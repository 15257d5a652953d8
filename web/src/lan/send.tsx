/** Files and texts for the device: chosen, dropped, or taken with the camera. */
import { useEffect, useRef, useState } from "preact/hooks";
import { useWords } from "../i18n/index.ts";
import { lan } from "../i18n/lan.ts";
import { Button, Field, Icon, Live, Name, Notice, Progress, type IconName } from "../ui-kit/index.ts";
import { LanError, MAX_TEXT, send_text } from "./api.ts";
import { Words } from "./app.tsx";
import { dropped_files, type Upload, type Uploads } from "./uploads.ts";

function useUploads(uploads: Uploads): readonly Upload[] {
  const [, again] = useState(0);
  useEffect(() => uploads.subscribe(() => again((count) => count + 1)), [uploads]);
  return uploads.list;
}

/** A button that opens the browser's choice of files, or its camera. */
function Choose({ icon, primary, label, accept, camera, onFiles }: { icon: IconName; primary?: boolean; label: string; accept?: string; camera?: boolean; onFiles: (files: File[]) => void }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={input}
        hidden
        type="file"
        multiple={!camera}
        {...(accept === undefined ? {} : { accept })}
        {...(camera ? { capture: "environment" as const } : {})}
        onChange={(event) => {
          onFiles([...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = ""; // The same file can be chosen again.
        }}
      />
      <Button kind={primary ? "primary" : "plain"} icon={icon} onClick={() => input.current?.click()}>{label}</Button>
    </>
  );
}

function One({ one, uploads }: { one: Upload; uploads: Uploads }) {
  const { t, format } = useWords(lan);
  const words = one.state === "sending" ? t("of", { part: format.size(Math.min(one.sent, one.size)), whole: format.size(one.size) }) : one.state === "waiting" ? t("waits") : format.size(one.size);
  return (
    <li class="upload" data-state={one.state}>
      <Icon name={one.state === "done" ? "check" : one.state === "failed" ? "warning" : "upload"} />
      <div class="upload-text">
        <Name text={one.name} />
        {one.state === "done" && one.kept !== one.name && <span class="small muted">{t("kept_as")} <Name text={one.kept} /></span>}
        {one.state === "sending" || one.state === "waiting" ? (
          <Progress value={one.size > 0 ? one.sent / one.size : 0} label={t("sending_named", { name: one.name })} words={words} />
        ) : (
          <span class="small muted">{one.state === "done" ? `${t("arrived")} · ${words}` : words}</span>
        )}
        {one.error && <span class="small error"><Words error={one.error} /></span>}
      </div>
      {one.state === "failed" && <Button icon="refresh" onClick={() => uploads.retry(one.id)}>{t("again")}</Button>}
      <Button kind="quiet" icon="close" label={one.state === "done" || one.state === "failed" ? t("hide_named", { name: one.name }) : t("stop_named", { name: one.name })} onClick={() => uploads.drop(one.id)} />
    </li>
  );
}

/** Tells a screen reader of all together. */
function Told({ list }: { list: readonly Upload[] }) {
  const { t } = useWords(lan);
  if (list.length === 0) return null;
  const of = (state: Upload["state"]) => list.filter((one) => one.state === state).length;
  const [done, failed] = [of("done"), of("failed")];
  return <Live every={2000} text={`${t("told", { done, all: list.length })}${failed > 0 ? ` ${t("told_failed", { n: failed })}` : ""}`} />;
}

function Text({ device }: { device: string }) {
  const { t, format } = useWords(lan);
  const [text, set_text] = useState("");
  const [state, set_state] = useState<"" | "sending" | "sent">("");
  const [error, set_error] = useState<LanError | undefined>();
  const bytes = new TextEncoder().encode(text).length;
  const long = bytes > MAX_TEXT;
  const send = async () => {
    set_state("sending");
    set_error(undefined);
    try {
      await send_text(text);
      set_text("");
      set_state("sent");
    } catch (failed) {
      if (!(failed instanceof LanError)) throw failed;
      set_error(failed);
      set_state("");
    }
  };
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim() !== "" && !long && state !== "sending") void send();
      }}
    >
      <Field
        label={t("text")}
        hint={t("text_hint", { device })}
        value={text}
        onValue={(value) => {
          set_text(value);
          set_state("");
        }}
        lines={3}
        error={long ? t("text_long", { size: format.size(MAX_TEXT) }) : undefined}
      />
      <div><Button type="submit" icon="send" off={text.trim() === "" || long || state === "sending"}>{t("text_send")}</Button></div>
      {state === "sent" && <Notice tone="good">{t("text_sent")}</Notice>}
      {error && <Notice tone="bad"><Words error={error} /></Notice>}
    </form>
  );
}

export function Send({ uploads, device }: { uploads: Uploads; device: string }) {
  const { t } = useWords(lan);
  const list = useUploads(uploads);
  const [over, set_over] = useState(false);
  const [left, set_left] = useState(0);
  const take = (files: readonly { file: File; name: string }[]) => {
    set_left(uploads.add(files));
  };
  const chosen = (files: File[]) => take(files.map((file) => ({ file, name: file.name })));
  useEffect(() => {
    // A file that misses the place would be opened by the browser in place of this page.
    const catch_all = (event: DragEvent) => event.preventDefault();
    window.addEventListener("dragover", catch_all);
    window.addEventListener("drop", catch_all);
    return () => {
      window.removeEventListener("dragover", catch_all);
      window.removeEventListener("drop", catch_all);
    };
  }, []);
  return (
    <section aria-labelledby="send" class="stack">
      <h2 id="send">{t("send")}</h2>
      <div
        class={over ? "drop over" : "drop"}
        onDragOver={(event) => {
          event.preventDefault();
          set_over(true);
        }}
        onDragLeave={() => set_over(false)}
        onDrop={(event) => {
          event.preventDefault();
          set_over(false);
          if (event.dataTransfer) void dropped_files(event.dataTransfer).then(take);
        }}
      >
        <div class="cluster">
          <Choose primary icon="upload" label={t("choose")} onFiles={chosen} />
          <Choose icon="camera" label={t("photo")} accept="image/*" camera onFiles={chosen} />
          <Choose icon="video" label={t("film")} accept="video/*" camera onFiles={chosen} />
        </div>
        <p class="small muted only-wide">{t("drop")}</p>
      </div>
      {left > 0 && <Notice tone="warn">{t("too_many", { n: left })}</Notice>}
      {list.length > 0 && (
        <>
          <ul class="rows card uploads">{list.map((one) => <One key={one.id} one={one} uploads={uploads} />)}</ul>
          <Told list={list} />
          {list.some((one) => one.state === "done") && <div><Button onClick={() => uploads.clear_done()}>{t("clear")}</Button></div>}
        </>
      )}
      <Text device={device} />
    </section>
  );
}
