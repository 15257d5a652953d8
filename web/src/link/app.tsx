/** The page that a link opens: from the fragment to a share, or to why there is none. */
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Core, OpenShare } from "../core/api.ts";
import { load_core } from "../core/load.ts";
import { LanguageProvider, useLanguageChoice, useWords } from "../i18n/index.ts";
import { Button, Field, Notice, Page, Spinner, useTitle } from "../ui-kit/components.tsx";
import { About } from "./about.tsx";
import { ServiceLink } from "./save/sw-link.ts";
import { ShareScreen } from "./share.tsx";
import { parse_ticket, type Parsed } from "./ticket.ts";
import { link_words, load_words, type LinkKey } from "./words.ts";

type Screen =
  | { kind: "start"; wrong: "missing" | "broken" }
  | { kind: "opening"; ticket: string }
  | { kind: "problem"; code: string; ticket: string; retry_at: number | undefined }
  | { kind: "share"; share: OpenShare; ticket: string };

/** Problems that may be over by the time somebody tries again. */
const PASSING = new Set(["not_found", "unreachable", "busy", "unknown"]);
const KNOWN = new Set(["ticket", "not_found", "gone", "unreachable", "damaged", "busy", "too_new"]);

function first_screen(parsed: Parsed): Screen {
  return "ticket" in parsed ? { kind: "opening", ticket: parsed.ticket } : { kind: "start", wrong: parsed.wrong };
}

export function App() {
  const language = useLanguageChoice(load_words);
  return (
    <LanguageProvider value={language}>
      <LinkPage />
    </LanguageProvider>
  );
}

/**
 * Core and service worker, both started once: the core at once, the service worker when the share is there (`opened`),
 * because it keeps the page's files, which takes time and connections from what the core needs.
 */
function useParts(opened: boolean): { core: () => Promise<Core>; link: Promise<ServiceLink | undefined>; device_id: string | undefined } {
  const [device_id, set_device_id] = useState<string>();
  const loading = useRef<Promise<Core> | undefined>(undefined);
  const core = useCallback(() => {
    if (!loading.current) {
      loading.current = load_core();
      loading.current.then(
        (loaded) => set_device_id(loaded.device_id),
        () => (loading.current = undefined), // The next attempt loads it anew.
      );
    }
    return loading.current;
  }, []);
  const [start, link] = useMemo(() => {
    const { promise, resolve } = later();
    return [resolve, promise.then(() => ServiceLink.start())] as const;
  }, []);
  useEffect(() => void (opened && start()), [opened, start]);
  return { core, link, device_id };
}

function later(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

function LinkPage() {
  const { t } = useWords(link_words);
  const [screen, show] = useState<Screen>(() => first_screen(parse_ticket(location.hash)));
  const [about, set_about] = useState(false);
  const { core, link, device_id } = useParts(screen.kind !== "opening");

  useEffect(() => {
    const changed = () => show(first_screen(parse_ticket(location.hash)));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);

  const opening = screen.kind === "opening" ? screen.ticket : undefined;
  useEffect(() => {
    if (opening === undefined) return;
    const stop = new AbortController();
    core()
      .then((loaded) => loaded.open(opening, { signal: stop.signal }))
      .then(
        (share) => (stop.signal.aborted ? share.close() : show({ kind: "share", share, ticket: opening })),
        (problem: { code?: unknown; retry_after_ms?: unknown }) => {
          if (stop.signal.aborted) return;
          const code = typeof problem?.code === "string" && KNOWN.has(problem.code) ? problem.code : "unknown";
          const after = typeof problem?.retry_after_ms === "number" ? problem.retry_after_ms : code === "busy" || code === "unreachable" ? 10_000 : undefined;
          show({ kind: "problem", code, ticket: opening, retry_at: after === undefined ? undefined : Date.now() + after });
        },
      );
    return () => stop.abort();
  }, [opening]);

  const share = screen.kind === "share" ? screen.share : undefined;
  useEffect(() => () => share?.close(), [share]);

  const again = useCallback(() => show((now) => (now.kind === "problem" ? { kind: "opening", ticket: now.ticket } : now)), []);
  return (
    <Page
      foot={
        <>
          <Button kind="quiet" icon="info" onClick={() => set_about(true)}>{t("about")}</Button>
          <span>{t("served_by", { host: location.host })}</span>
        </>
      }
    >
      {!isSecureContext && <Insecure />}
      {screen.kind === "start" && <Start wrong={screen.wrong} />}
      {screen.kind === "opening" && <Opening />}
      {screen.kind === "problem" && <Problem {...screen} again={again} />}
      {screen.kind === "share" && <ShareScreen key={screen.share.id} share={screen.share} ticket={screen.ticket} link={link} />}
      {about && <About device_id={device_id} onClose={() => set_about(false)} />}
    </Page>
  );
}

function Insecure() {
  const { t } = useWords(link_words);
  return (
    <Notice tone="warn" title={t("insecure_title")} still>
      <p>{t("insecure")}</p>
    </Notice>
  );
}

/** No ticket in the address: why, and a place to put the link. */
function Start({ wrong }: { wrong: "missing" | "broken" }) {
  const { t } = useWords(link_words);
  const [text, set_text] = useState("");
  const [error, set_error] = useState<"missing" | "broken">();
  useTitle(`${t("open_link")} – Hither`);
  return (
    <>
      <h1>{t("open_link")}</h1>
      <Notice tone={wrong === "broken" ? "bad" : "info"} title={t(`start_${wrong}_title`)}>
        <p>{t(`start_${wrong}`)}</p>
      </Notice>
      <form
        class="card padded stack"
        onSubmit={(event) => {
          event.preventDefault();
          const parsed = parse_ticket(text);
          if ("ticket" in parsed) location.hash = parsed.ticket;
          else set_error(parsed.wrong);
        }}
      >
        <Field
          label={t("paste_label")}
          hint={t("paste_hint")}
          error={error && t(`paste_${error}`)}
          value={text}
          onValue={(value) => {
            set_text(value);
            set_error(undefined);
          }}
        />
        <div>
          <Button kind="primary" type="submit">{t("open")}</Button>
        </div>
      </form>
    </>
  );
}

/** Time that opening may take before the page says that it goes on, in ms. */
const LONG_MS = 8_000;

function Opening() {
  const { t } = useWords(link_words);
  const [long, set_long] = useState(false);
  useTitle(`${t("opening")} – Hither`);
  useEffect(() => {
    const timer = setTimeout(() => set_long(true), LONG_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div class="stack opening">
      <h1 class="for-readers">{t("opening")}</h1>
      <Spinner label={t("opening")} />
      {long && <p class="muted" role="status">{t("opening_long")}</p>}
    </div>
  );
}

function Problem({ code, retry_at, again }: { code: string; retry_at: number | undefined; again: () => void }) {
  const { t, format } = useWords(link_words);
  const left = useCountdown(retry_at, again);
  const title = t(`problem_${code}_title` as LinkKey);
  useTitle(`${title} – Hither`);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <>
      <h1 ref={heading} tabIndex={-1}>{title}</h1>
      <p>{t(`problem_${code}` as LinkKey)}</p>
      {PASSING.has(code) && (
        <div class="cluster">
          <Button kind="primary" icon="refresh" onClick={again}>{t("try_again")}</Button>
          {left !== undefined && <span class="muted numeric">{t("tries_in", { time: format.duration(left) })}</span>}
        </div>
      )}
    </>
  );
}

/** Seconds until `at`; when they are over, or the network is back before, `act` is called. */
function useCountdown(at: number | undefined, act: () => void): number | undefined {
  const [, tick] = useState(0);
  useEffect(() => {
    if (at === undefined) return;
    const timer = setInterval(() => (Date.now() >= at ? act() : tick((n) => n + 1)), 1_000);
    addEventListener("online", act);
    return () => {
      clearInterval(timer);
      removeEventListener("online", act);
    };
  }, [at, act]);
  return at === undefined ? undefined : Math.max(0, Math.ceil((at - Date.now()) / 1000));
}
