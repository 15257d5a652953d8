/** The page on the local network: what the device shares, and what is sent to it. */
import { useEffect, useRef, useState } from "preact/hooks";
import { useWords } from "../i18n/index.ts";
import { lan } from "../i18n/lan.ts";
import { Button, Icon, Live, Name, Notice, Page, Row, Spinner, useTitle } from "../ui-kit/index.ts";
import { LanError, read_page, read_share, type Contents, type PageView, type Shared } from "./api.ts";
import { Browse } from "./browse.tsx";
import { Send } from "./send.tsx";
import type { Uploads } from "./uploads.ts";

/** Pause after which the page asks again whether it is still there and what it shows, ms. */
const LOOK_MS = 10_000;
/** Time before the end at which the page says that it ends soon, seconds. */
const SOON_S = 300;

/** `#/<share>/<index of a folder>`. */
interface Place { share: string; folder: number }

function parse_place(hash: string): Place | undefined {
  const found = /^#\/([0-9a-f]+)(?:\/(\d+))?$/.exec(hash);
  return found?.[1] === undefined ? undefined : { share: found[1], folder: Number(found[2] ?? 0) };
}

/** The place that the address names, as it changes; `moved` once it has: then headings take the focus. */
function usePlace(): { place: Place | undefined; moved: boolean } {
  const [state, set_state] = useState(() => ({ place: parse_place(location.hash), moved: false }));
  useEffect(() => {
    const changed = () => set_state({ place: parse_place(location.hash), moved: true });
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return state;
}

/** The page's state, asked for again and again; what was known stays while nobody answers. */
function usePage(): { view: PageView | undefined; ends_at: number; error: LanError | undefined; look: () => void } {
  const [state, set_state] = useState<{ view: PageView | undefined; ends_at: number; error: LanError | undefined }>({ view: undefined, ends_at: 0, error: undefined });
  const look = useRef(() => {});
  useEffect(() => {
    let stop = false;
    let timer: ReturnType<typeof setTimeout>;
    const ask = async () => {
      clearTimeout(timer);
      let over = false;
      try {
        const view = await read_page();
        if (!stop) set_state({ view, ends_at: Date.now() + view.expires_s * 1000, error: undefined });
      } catch (error) {
        if (!(error instanceof LanError)) throw error;
        over = error.code === "ended";
        if (!stop) set_state((before) => ({ ...before, error }));
      }
      if (!stop && !over) timer = setTimeout(() => void ask(), LOOK_MS);
    };
    look.current = () => void ask();
    // A phone that was asleep looks at once when it is woken.
    const seen = () => {
      if (document.visibilityState === "visible") void ask();
    };
    document.addEventListener("visibilitychange", seen);
    window.addEventListener("pageshow", seen);
    void ask();
    return () => {
      stop = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      window.removeEventListener("pageshow", seen);
    };
  }, []);
  return { ...state, look: () => look.current() };
}

/** Says how long the page is still there, in words that change each half minute. */
function Ends({ at }: { at: number }) {
  const { t, format } = useWords(lan);
  const [, again] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => again((count) => count + 1), 15_000);
    return () => clearInterval(timer);
  }, []);
  const left = Math.max(0, (at - Date.now()) / 1000);
  const rounded = left > 120 ? Math.round(left / 60) * 60 : Math.round(left / 10) * 10;
  const words = t("ends", { time: format.duration(rounded) });
  return left <= SOON_S ? <Notice tone="warn">{words}</Notice> : <span class="small muted">{words}</span>;
}

function Shares({ shares }: { shares: readonly Shared[] }) {
  const { t, format } = useWords(lan);
  if (shares.length === 0) return <p class="empty muted">{t("nothing_shared")}</p>;
  return (
    <ul class="rows card">
      {shares.map((one) => (
        <Row
          key={one.id}
          href={`#/${one.id}`}
          icon={one.kind === "file" ? "file" : "folder"}
          title={<Name text={one.name} />}
          detail={one.kind === "file" ? format.size(one.size) : `${t("files", { n: one.files })}, ${format.size(one.size)}`}
          after={<Icon name="forward" />}
        />
      ))}
    </ul>
  );
}

/** One share, read when it is opened. */
function OneShare({ place, view, moved }: { place: Place; view: PageView; moved: boolean }) {
  const { t } = useWords(lan);
  const [contents, set_contents] = useState<Contents | undefined>();
  const [error, set_error] = useState<LanError | undefined>();
  const listed = view.shares.find((one) => one.id === place.share);
  const read = () => {
    set_error(undefined);
    read_share(place.share).then(set_contents, (failed: unknown) => {
      if (!(failed instanceof LanError)) throw failed;
      set_error(failed);
    });
  };
  // A share that changed has another size or number of files.
  useEffect(read, [place.share, listed?.size, listed?.files]);
  if (error) {
    return (
      <Notice tone="bad" title={t("share_gone")}>
        <Words error={error} />
        <div class="cluster">
          <Button icon="refresh" onClick={read}>{t("again")}</Button>
          <a href="#/">{t("all_shares")}</a>
        </div>
      </Notice>
    );
  }
  if (!contents) return <Spinner label={t("loading")} />;
  return <Browse share={place.share} contents={contents} folder={place.folder} moved={moved} />;
}

/** Codes that the page has words for in every language; the daemon's own say more, and are English. */
const CODES = ["no_space", "over_quota", "not_writable", "interrupted", "refused", "changing", "not_found"] as const;

/** A failure in words. */
export function Words({ error }: { error: LanError }) {
  const { t, language } = useWords(lan);
  const known = CODES.find((code) => code === error.code);
  if (error.code === "away") return <span>{t("away")}</span>;
  if (error.code === "ended") return <span>{t("ended_body")}</span>;
  if (known && language !== "en") return <span>{t(`code.${known}`)}</span>;
  return <span lang="en"><Name text={error.message} />{error.hint !== "" && <> <Name text={error.hint} /></>}</span>;
}

export function App({ uploads }: { uploads: Uploads }) {
  const { t } = useWords(lan);
  const { view, ends_at, error, look } = usePage();
  const { place, moved } = usePlace();
  const device = view?.device ?? "";
  useTitle(device === "" ? "Hither" : `${device} · Hither`);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (moved && !place) heading.current?.focus();
  }, [place, moved]);
  // A daemon without any page left listens no more: after the time the silence is the end.
  const ended = error?.code === "ended" || (error?.code === "away" && ends_at > 0 && Date.now() >= ends_at);
  const foot = <span>{t("about")}</span>;
  if (ended) {
    return (
      <Page foot={foot}>
        <h1 tabIndex={-1}>{t("ended")}</h1>
        <Notice tone="warn">{t("ended_body")}</Notice>
        {uploads.list.some((one) => one.state === "done") && <p>{t("ended_sent")}</p>}
        <div><Button icon="refresh" onClick={look}>{t("again")}</Button></div>
      </Page>
    );
  }
  return (
    <Page foot={foot}>
      {error && (
        <Notice tone="bad" title={t("away_title")}>
          <Words error={error} />
          <div><Button icon="refresh" onClick={look}>{t("again")}</Button></div>
        </Notice>
      )}
      {!view ? !error && <Spinner label={t("loading")} /> : (
        <>
          <div class="stack">
            {place ? <p class="title"><Name text={device} /></p> : <h1 ref={heading} tabIndex={-1}><Name text={device} /></h1>}
            <Notice tone="warn" still>{t("plain")}</Notice>
            <Ends at={ends_at} />
          </div>
          {place ? <OneShare key={place.share} place={place} view={view} moved={moved} /> : (
            <section aria-labelledby="shared" class="stack">
              <h2 id="shared">{t("shared")}</h2>
              <Shares shares={view.shares} />
            </section>
          )}
          {/* What is being sent goes on while another folder is looked at. */}
          <div hidden={place !== undefined}>{view.may_upload ? <Send uploads={uploads} device={device} /> : <p class="muted">{t("takes_nothing")}</p>}</div>
          {place && uploads.busy && <Live text={t("still_sending")} />}
        </>
      )}
    </Page>
  );
}
