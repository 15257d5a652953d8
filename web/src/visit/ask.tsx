/** A site asks: who, what, why, for how long; the answer; and what becomes of it. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Visit } from "../core/device-api.ts";
import { AnswerForm, KIND_ICONS } from "../give/answer.tsx";
import { Sendings, is_under_way } from "../give/sendings.tsx";
import { useWords } from "../i18n/index.ts";
import { Name, Notice, useTitle } from "../ui-kit/components.tsx";
import { Icon } from "../ui-kit/icons.tsx";
import { useVisit } from "./app.tsx";
import { Origin, site_name } from "./origin.tsx";
import { visit_words } from "./words.ts";

export function AskVisit({ visit }: { visit: Visit }) {
  const { t, format } = useWords(visit_words);
  const [busy, set_busy] = useState(false);
  const [failed, set_failed] = useState(false);
  const [refused, set_refused] = useState(false);
  useVisit(visit);
  const origin = visit.origin ?? "";
  useTitle(`${site_name(origin).host} – Hither`);
  const answers = visit.sendings().filter((one) => one.kind === "answer");
  const given = answers.some((one) => one.state === "sent" || one.state === "taken");
  const on_way = answers.some((one) => is_under_way(one) || one.state === "paused" || one.state === "needs_file");
  const left = (visit.ends_ms - Date.now()) / 1000;
  const over = visit.state === "ended" || left <= 0;
  const act = (what: () => Promise<unknown>, done?: () => void) => {
    set_busy(true);
    set_failed(false);
    what().then(() => done?.(), () => set_failed(true)).finally(() => set_busy(false));
  };
  if (refused) return <Told title={t("refused_title")} body={t("refused")} />;
  if (given) return <Told title={t("given_title")} body={t("given", { site: site_name(origin).host })} good />;
  if (over) return <Told title={t("ask_over_title")} body={t("ask_over")} />;
  return (
    <>
      <h1 class="ask-title">{t("ask_title")}</h1>
      <Origin origin={origin} />
      <div class="card padded number-card">
        <p class="number" aria-label={t("number_is", { n: visit.number })} role="img">{visit.number}</p>
        <p>{t("number")}</p>
      </div>
      {visit.state === "offline" && <Notice tone="warn" title={t("offline_title")}>{t("offline")}</Notice>}
      {visit.ask && (
        <section class="card padded stack" aria-labelledby="wanted">
          <h2 id="wanted" class="wanted"><Icon name={KIND_ICONS[visit.ask.kind]} />{t("wants")} {t(`kind.${visit.ask.kind}`)}</h2>
          {visit.ask.multiple && <p class="muted">{t("several")}</p>}
          {visit.ask.reason && (
            <div>
              <p class="small muted">{t("reason_of_site")}</p>
              <blockquote class="quote"><Name text={visit.ask.reason} /></blockquote>
            </div>
          )}
          <p class="small muted numeric">{t("time_left", { time: format.duration(left) })}</p>
          {failed && <Notice tone="bad">{t("not_given")}</Notice>}
          {!on_way && <AnswerForm request={visit.ask} busy={busy} onFiles={(files) => act(() => visit.answer(files))} onRefuse={() => act(() => visit.refuse(), () => set_refused(true))} />}
        </section>
      )}
      <Sendings sender={visit} />
      <p class="small muted">{t("goes_to", { site: site_name(origin).host })}</p>
      <p class="small muted">{t("code_of_relay_title", { host: location.host })} {t("code_of_relay", { host: location.host })}</p>
    </>
  );
}

function Told({ title, body, good }: { title: string; body: string; good?: boolean }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <div class="stack told">
      <Icon name={good ? "check" : "info"} />
      <h1 ref={heading} tabIndex={-1}>{title}</h1>
      <p>{body}</p>
    </div>
  );
}
