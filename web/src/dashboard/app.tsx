/** The frame: header with search, navigation, the screen, what was done, questions, the state of the connection. */
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useLanguage } from "../i18n/index.ts";
import { Button, Confirm, Icon, LanguageMenu, Mark, Name, Notice, useHeadingFocus, useTitle, type IconName } from "../ui-kit/index.ts";
import { DeskContext, act, useSay, type Desk, type Question } from "./desk.tsx";
import { Feedbacks, useSettled } from "./feedback.tsx";
import { shortcuts_on } from "./keys.ts";
import { useLists, type Live } from "./live.ts";
import { SCREENS, address, useRoute, type Screen } from "./route.ts";
import { Asks } from "./screens/asks.tsx";
import { Devices } from "./screens/devices.tsx";
import { Groups } from "./screens/groups.tsx";
import { Health } from "./screens/health.tsx";
import { Inbox } from "./screens/inbox.tsx";
import { Settings } from "./screens/settings.tsx";
import { Shares } from "./screens/shares.tsx";
import { Transfers } from "./screens/transfers.tsx";
import type { Lists } from "./types.ts";

const ICONS: Record<Screen, IconName> = {
  devices: "device", transfers: "download", shares: "folder", inbox: "inbox", asks: "question", groups: "group", settings: "settings", health: "info",
};
const VIEWS: Record<Screen, (props: { id: string }) => ComponentChildren> = {
  devices: Devices, transfers: Transfers, shares: Shares, inbox: Inbox, asks: Asks, groups: Groups, settings: Settings, health: Health,
};

/** Counts the things that wait for the user on a screen. */
function waiting(screen: Screen, lists: Partial<Lists>): number {
  if (screen === "devices") return lists.nearby?.introductions.length ?? 0;
  if (screen === "transfers") return lists.transfers?.filter((one) => one.phase === "offered").length ?? 0;
  if (screen === "inbox") return lists.inbox?.filter((one) => !one.read).length ?? lists.status?.unread ?? 0;
  if (screen === "asks") return lists.asks?.received.filter((one) => one.state === "waiting").length ?? 0;
  if (screen === "groups") return lists.groups?.reduce((sum, one) => sum + one.asking, 0) ?? 0;
  if (screen === "health") return (lists.status?.warnings.length ?? 0) + (lists.status?.relays.filter((one) => one.lasting).length ?? 0);
  return 0;
}

function Navigation({ screen, lists }: { screen: Screen; lists: Partial<Lists> }) {
  const { t } = useSay();
  const list = useRef<HTMLUListElement>(null);
  const move = (event: KeyboardEvent) => {
    const links = [...(list.current?.querySelectorAll("a") ?? [])];
    const at = links.indexOf(document.activeElement as HTMLAnchorElement);
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? links.length - 1 : step === undefined ? -1 : (at + step + links.length) % links.length;
    if (to < 0) return;
    event.preventDefault();
    links[to]?.focus();
  };
  return (
    <nav class="desk-nav" aria-label={t("navigation")}>
      <ul ref={list} onKeyDown={move}>
        {SCREENS.map((one, at) => {
          const count = waiting(one, lists);
          return (
            <li key={one}>
              <a
                href={address(one)}
                aria-current={one === screen ? "page" : undefined}
                aria-keyshortcuts={`${at + 1}`}
                onClick={() => {
                  // The address of the screen that is there changes nothing.
                  if (one === screen) document.getElementById("heading")?.focus();
                }}
              >
                <Icon name={ICONS[one]} />
                <span>{t(`screen.${one}`)}</span>
                {count > 0 && <span class="count"><span aria-hidden="true">{count}</span><span class="for-readers">{t("waiting_count", { n: count })}</span></span>}
              </a>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}

/** True when a key is for somebody who writes. */
function is_writing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable], dialog") !== null;
}

/** Words about the connection, where there is something to say. */
function Connection({ live }: { live: Live }) {
  const { t } = useSay();
  if (live.connection === "signed_out") return <Notice tone="warn" title={t("signed_out.title")}>{t("signed_out.body")}</Notice>;
  if (live.connection !== "down") return null;
  const seconds = Math.max(0, Math.ceil((live.retry_at - Date.now()) / 1000));
  return (
    <Notice tone="bad" title={t("down.title")}>
      <span>{t("down.body")}</span>
      <div class="cluster">
        <Button icon="refresh" onClick={() => live.try_now()}>{t("down.now")}</Button>
        <span class="small" aria-hidden="true">{t("down.next", { n: seconds })}</span>
      </div>
    </Notice>
  );
}

const feedbacks = new Feedbacks();

export function App({ live }: { live: Live }) {
  const { t } = useSay();
  const route = useRoute();
  const lists = useLists(live, "status", "nearby", "asks", "transfers", "groups");
  const [search, set_search] = useState("");
  const [question, set_question] = useState<(Question & { answer: (yes: boolean) => void }) | undefined>();
  const search_box = useRef<HTMLInputElement>(null);
  const heading = useHeadingFocus(`${route.screen}/${route.id}`);
  useTitle(`${t(`screen.${route.screen}`)} · ${lists.status?.name ? `${lists.status.name} · ` : ""}Hither`);

  const spoken = useLanguage();
  // Feedback is another tree: it does not change while this one is drawn.
  useEffect(() => feedbacks.speak(spoken), [spoken]);
  useSettled(feedbacks);
  const desk: Desk = useMemo(
    () => ({
      live,
      query: search.trim().toLowerCase(),
      say(feedback) {
        const undo = feedback.undo;
        // A way back that fails says so as everything else does.
        feedbacks.say({ ...feedback, undo: undo && (() => act(desk, undo, t("undone"))) });
      },
      ask: (asked) => new Promise((answer) => set_question({ ...asked, answer })),
      go: (screen, id) => {
        location.hash = address(screen, id);
      },
    }),
    [live, search, t],
  );

  useEffect(() => set_search(""), [route.screen]);
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      if (!shortcuts_on() || event.ctrlKey || event.altKey || event.metaKey || is_writing(event.target) || document.querySelector("dialog[open]")) return;
      const screen = SCREENS[Number(event.key) - 1];
      if (screen) desk.go(screen);
      else if (event.key === "/") search_box.current?.focus();
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", key);
    return () => window.removeEventListener("keydown", key);
  }, [desk]);

  const View = VIEWS[route.screen];
  const answered = (yes: boolean) => {
    question?.answer(yes);
    set_question(undefined);
  };
  return (
    <DeskContext.Provider value={desk}>
      <div class="desk">
        <a
          class="skip"
          href="#main"
          onClick={(event) => {
            event.preventDefault();
            document.getElementById("main")?.focus();
          }}
        >
          {t("skip")}
        </a>
        <header class="desk-head">
          <span class="brand"><Mark />Hither</span>
          <span class="muted desk-name">{lists.status && <Name text={lists.status.name} />}</span>
          <form
            role="search"
            class="desk-search"
            onSubmit={(event) => event.preventDefault()}
          >
            <input
              ref={search_box}
              type="search"
              class="input"
              aria-label={t("search", { screen: t(`screen.${route.screen}`) })}
              placeholder={t("search.place")}
              aria-keyshortcuts="/"
              value={search}
              onInput={(event) => set_search(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key !== "Escape") return;
                event.preventDefault();
                set_search("");
                document.getElementById("heading")?.focus();
              }}
            />
          </form>
          <LanguageMenu />
        </header>
        <Navigation screen={route.screen} lists={lists} />
        <main id="main" tabIndex={-1} class="desk-main">
          <h1 id="heading" ref={heading} tabIndex={-1}>{t(`screen.${route.screen}`)}</h1>
          <Connection live={live} />
          <View key={route.screen} id={route.id} />
        </main>
        <footer class="desk-foot">{t("keys")}</footer>
        {question && (
          <Confirm title={question.title} action={question.action} danger={question.danger === true} onDo={() => answered(true)} onClose={() => answered(false)}>
            {question.body}
          </Confirm>
        )}
      </div>
    </DeskContext.Provider>
  );
}
