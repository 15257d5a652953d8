/** The page of somebody who has a link of a device, or whom a site asks: from the fragment to a visit, or to why there is none. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { Visit } from "../core/device-api.ts";
import { load_device } from "../device/load-device.ts";
import { code_of, place_of } from "../device/links.ts";
import { LanguageProvider, useLanguageChoice, useWords, type Language } from "../i18n/index.ts";
import { Button, Dialog, Field, Notice, Page, Spinner, useTitle } from "../ui-kit/components.tsx";
import { AskVisit } from "./ask.tsx";
import { InboxVisit } from "./inbox.tsx";
import { visit_words, type VisitKey } from "./words.ts";

type Screen =
  | { kind: "start"; wrong: "missing" | "broken" }
  | { kind: "opening"; code: string }
  | { kind: "problem"; why: string; code: string; retry_at: number | undefined }
  | { kind: "visit"; visit: Visit };

const KNOWN = new Set(["ticket", "gone", "unreachable", "too_new"]);
/** Pause before an unreachable relay is tried again, ms. */
const RETRY_MS = 10_000;

function first_screen(fragment: string): Screen {
  const text = fragment.replace(/^#/, "");
  const found = code_of(text);
  if (found && (found.kind === "inbox" || found.kind === "ask")) return { kind: "opening", code: found.code };
  return { kind: "start", wrong: text.trim() === "" ? "missing" : "broken" };
}

export function App({ load }: { load: (language: Language) => Promise<void> }) {
  const language = useLanguageChoice(load);
  return (
    <LanguageProvider value={language}>
      <VisitPage />
    </LanguageProvider>
  );
}

function VisitPage() {
  const { t } = useWords(visit_words);
  const [screen, show] = useState<Screen>(() => first_screen(location.hash));
  const [about, set_about] = useState(false);
  useEffect(() => {
    const changed = () => show(first_screen(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  const opening = screen.kind === "opening" ? screen.code : undefined;
  useEffect(() => {
    if (opening === undefined) return;
    const stop = new AbortController();
    load_device()
      .then((core) => core.visit(opening, stop.signal))
      .then(
        (visit) => (stop.signal.aborted ? visit.close() : show({ kind: "visit", visit })),
        (problem: { code?: string }) => {
          if (stop.signal.aborted) return;
          const why = KNOWN.has(problem?.code ?? "") ? (problem.code ?? "") : "unknown";
          show({ kind: "problem", why, code: opening, retry_at: why === "unreachable" ? Date.now() + RETRY_MS : undefined });
        },
      );
    return () => stop.abort();
  }, [opening]);
  const visit = screen.kind === "visit" ? screen.visit : undefined;
  useEffect(() => () => visit?.close(), [visit]);
  const again = useCallback(() => show((now) => (now.kind === "problem" ? { kind: "opening", code: now.code } : now)), []);
  return (
    <Page
      foot={
        <>
          <Button kind="quiet" icon="info" onClick={() => set_about(true)}>{t("about")}</Button>
          <span>{t("served_by", { host: location.host })}</span>
        </>
      }
    >
      {!isSecureContext && <Notice tone="bad" title={t("insecure_title")} still>{t("insecure")}</Notice>}
      {screen.kind === "start" && <Start wrong={screen.wrong} />}
      {screen.kind === "opening" && <Opening />}
      {screen.kind === "problem" && <Problem {...screen} again={again} />}
      {visit?.kind === "inbox" && <InboxVisit visit={visit} />}
      {visit?.kind === "ask" && <AskVisit visit={visit} />}
      {about && <About onClose={() => set_about(false)} />}
    </Page>
  );
}

/** Draws anew when a visit changes, and each second for what counts down. */
export function useVisit(visit: Visit): void {
  const [, tick] = useState(0);
  useEffect(() => {
    const again = () => tick((n) => n + 1);
    const stop = visit.onchange(again);
    const timer = setInterval(again, 1_000);
    return () => {
      stop();
      clearInterval(timer);
    };
  }, [visit]);
}

function Start({ wrong }: { wrong: "missing" | "broken" }) {
  const { t } = useWords(visit_words);
  const [text, set_text] = useState("");
  const [error, set_error] = useState(false);
  useTitle(`${t(`start_${wrong}_title`)} – Hither`);
  return (
    <>
      <h1>{t(`start_${wrong}_title`)}</h1>
      <p>{t(`start_${wrong}`)}</p>
      <form
        class="card padded stack"
        onSubmit={(event) => {
          event.preventDefault();
          const found = code_of(text);
          if (!found) return set_error(true);
          if (found.kind === "inbox" || found.kind === "ask") location.hash = found.code;
          else location.assign(place_of(found.kind, found.code));
        }}
      >
        <Field
          label={t("paste")}
          error={error ? t("paste_wrong") : undefined}
          value={text}
          onValue={(value) => {
            set_text(value);
            set_error(false);
          }}
        />
        <div><Button kind="primary" type="submit">{t("open")}</Button></div>
      </form>
    </>
  );
}

/** Time after which opening says what it waits for, ms. */
const LONG_MS = 5_000;

function Opening() {
  const { t } = useWords(visit_words);
  const [long, set_long] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => set_long(true), LONG_MS);
    return () => clearTimeout(timer);
  }, []);
  useTitle(`${t("opening")} – Hither`);
  return (
    <div class="opening">
      <h1 class="for-readers">{t("opening")}</h1>
      <Spinner label={t("opening")} />
      {long && <p class="muted" role="status">{t("opening_long")}</p>}
    </div>
  );
}

function Problem({ why, retry_at, again }: { why: string; retry_at: number | undefined; again: () => void }) {
  const { t } = useWords(visit_words);
  const title = t(`problem_${why}_title` as VisitKey);
  const heading = useRef<HTMLHeadingElement>(null);
  useTitle(`${title} – Hither`);
  useEffect(() => heading.current?.focus(), []);
  useEffect(() => {
    if (retry_at === undefined) return;
    const timer = setTimeout(again, Math.max(0, retry_at - Date.now()));
    addEventListener("online", again);
    return () => {
      clearTimeout(timer);
      removeEventListener("online", again);
    };
  }, [retry_at, again]);
  return (
    <>
      <h1 ref={heading} tabIndex={-1}>{title}</h1>
      <p>{t(`problem_${why}` as VisitKey)}</p>
      {(why === "unreachable" || why === "unknown") && <div><Button kind="primary" icon="refresh" onClick={again}>{t("try_again")}</Button></div>}
    </>
  );
}

function About({ onClose }: { onClose: () => void }) {
  const { t } = useWords(visit_words);
  const host = location.host;
  return (
    <Dialog title={t("about")} onClose={onClose}>
      <Notice tone="warn" title={t("code_of_relay_title", { host })} still><p>{t("code_of_relay", { host })}</p></Notice>
      <p>{t("about_encrypted")}</p>
      <p>{t("about_link")}</p>
      <p>{t("about_stays")}</p>
    </Dialog>
  );
}
