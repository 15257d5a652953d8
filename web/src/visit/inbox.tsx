/** Something for somebody who gave a link: texts, files, folders, with what became of each. */
import { useState } from "preact/hooks";
import type { GivenFile, Visit } from "../core/device-api.ts";
import { Choose } from "../give/choose.tsx";
import { Sendings } from "../give/sendings.tsx";
import { SendText } from "../give/text.tsx";
import { useWords } from "../i18n/index.ts";
import { Field, Name, Notice, Parts, useTitle } from "../ui-kit/components.tsx";
import { display_name } from "../ui-kit/names.ts";
import { useVisit } from "./app.tsx";
import { visit_words } from "./words.ts";

/** Longest name of a visitor, bytes. */
const NAME_MOST = 64;

export function InboxVisit({ visit }: { visit: Visit }) {
  const { t, format } = useWords(visit_words);
  const [name, set_name] = useState("");
  const [failed, set_failed] = useState<"large" | "failed">();
  useVisit(visit);
  useTitle(`${t("send_to")} ${display_name(visit.host_name)} – Hither`);
  const left = (visit.ends_ms - Date.now()) / 1000;
  const ended = visit.state === "ended" || left <= 0;
  const long = new TextEncoder().encode(name).length > NAME_MOST;
  const send = (files: GivenFile[]) => {
    set_failed(undefined);
    if (visit.bytes > 0 && files.reduce((sum, { file }) => sum + file.size, 0) > visit.bytes) return set_failed("large");
    visit.send_files(files).catch((problem: { code?: string }) => set_failed(problem.code === "quota" || problem.code === "too_large" ? "large" : "failed"));
  };
  return (
    <>
      <h1>{t("send_to")} <Name text={visit.host_name} /></h1>
      {ended ? <Notice tone="warn" title={t("ended_title")} still><p>{t("ended")}</p></Notice> : (
        <>
          <p class="muted"><Parts of={[t("as_link_says"), t("ends_in", { time: format.duration(left) }), visit.bytes > 0 ? t("bytes_left", { size: format.size(visit.bytes) }) : ""]} /></p>
          {visit.state === "offline" && <Notice tone="warn" title={t("offline_title")}>{t("offline")}</Notice>}
          <Field
            label={t("your_name")}
            hint={t("your_name_hint")}
            value={name}
            onValue={(value) => {
              set_name(value);
              if (new TextEncoder().encode(value).length <= NAME_MOST) visit.name(value.trim());
            }}
            error={long ? t("name_long") : undefined}
          />
          {failed && <Notice tone="bad">{failed === "large" ? t("too_large", { size: format.size(visit.bytes) }) : t("not_sent")}</Notice>}
          <Choose onFiles={send} />
          <SendText onSend={(text) => visit.send_text(text)} />
        </>
      )}
      <Sendings sender={visit} />
      <Notice tone="info" title={t("code_of_relay_title", { host: location.host })} still><p>{t("code_of_relay", { host: location.host })}</p></Notice>
    </>
  );
}
