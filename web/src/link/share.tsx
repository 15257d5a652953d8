/** An open share: its list, what is chosen, and its downloads. */
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { OpenShare } from "../core/api.ts";
import { useWords } from "../i18n/index.ts";
import { Button, Check, Confirm, Field, Live, Name, Notice, Parts, useHeadingFocus, useTitle } from "../ui-kit/components.tsx";
import { display_name } from "../ui-kit/names.ts";
import { Downloads, Unfinished } from "./downloads.tsx";
import { List } from "./list.tsx";
import { OpenIn } from "./open-in.tsx";
import { Preview } from "./preview.tsx";
import { Sources } from "./sources.tsx";
import { useDownloads } from "./use-downloads.ts";
import type { ServiceLink } from "./save/sw-link.ts";
import { roots_of } from "./save/source.ts";
import { all_nodes, search, sorted, tree_of, way_to, type Node, type Sort } from "./tree.ts";
import { link_words } from "./words.ts";

const FOUND_MOST = 1_000;
const SORTS: readonly Sort[] = ["name", "size", "date"];

export function ShareScreen({ share, ticket, link: starting }: { share: OpenShare; ticket: string; link: Promise<ServiceLink | undefined> }) {
  const { t, format, locale } = useWords(link_words);
  const top = useMemo(() => tree_of(share.entries, share.name), [share]);
  const link = useSettled(starting);
  const { folder, go } = useFolder(top);
  const [query, set_query] = useState("");
  const [sort, set_sort] = useState<Sort>("name");
  const [chosen, set_chosen] = useState<ReadonlySet<Node>>(new Set<Node>());
  const [preview, set_preview] = useState<Node>();
  const [open_in, set_open_in] = useState(false);
  const downloads = useDownloads(share, top, link, starting);
  const heading = useHeadingFocus(`${folder.entry.index}`);
  const single = top.entry.kind === "file";

  const searching = query.trim() !== "";
  const { found, more } = useMemo(() => (searching ? search(top, query, locale, FOUND_MOST) : { found: single ? [top] : folder.children, more: false }), [top, folder, query, locale]);
  const nodes = useMemo(() => sorted(found, sort, locale), [found, sort, locale]);
  const choosable = nodes.filter((node) => node.entry.kind !== "symlink");
  const all_chosen = choosable.length > 0 && choosable.every((node) => chosen.has(node));
  const choose = useCallback((node: Node, on: boolean) => set_chosen((before) => changed(before, [node], on)), []);
  const roots = useMemo(() => roots_of(chosen), [chosen]);
  const chosen_size = roots.reduce((sum, node) => sum + node.size, 0);

  useTitle(`${downloads.percent === undefined ? "" : `${format.percent(downloads.percent)} · `}${display_name(folder === top ? share.name : folder.name)} – Hither`);
  const get = (what: ReadonlySet<Node>) => {
    if (what === chosen) set_chosen(new Set<Node>());
    void downloads.start(what);
  };
  const show = (node: Node) => {
    if (node.entry.kind !== "folder") return set_preview(node);
    set_query("");
    go(node);
  };
  const shown = nodes.filter((node) => node.entry.kind === "file");
  const at = preview ? shown.indexOf(preview) : -1;
  return (
    <>
      <div class="share-head">
        <div>
          <h1 tabIndex={-1} ref={heading}><Name text={folder === top ? share.name : folder.name} /></h1>
          <p class="muted">
            <Parts of={[t("files_size", { n: folder.files, size: format.size(folder.size) }), t("shared", { when: format.relative(share.published_ms) }), t("by_device", { id: share.owner.slice(-8) })]} />
          </p>
        </div>
        <div class="cluster">
          <Button kind="primary" icon="download" class="grow" onClick={() => get(new Set([top]))}>
            {single ? t("download") : t("download_all")}
          </Button>
          <Button icon="device" class="grow" onClick={() => set_open_in(true)}>{t("open_in")}</Button>
        </div>
      </div>
      {downloads.impossible !== undefined && (
        <Notice tone="warn" title={t("impossible_title", { size: format.size(downloads.impossible) })}>
          <p>{t("impossible")}</p>
          <div><Button icon="device" onClick={() => set_open_in(true)}>{t("open_in")}</Button></div>
        </Notice>
      )}
      <Unfinished kept={downloads.kept} onContinue={(kept) => void downloads.go_on(kept)} onDiscard={(kept) => void downloads.discard(kept)} />
      <Downloads downloads={downloads.all} onRemove={(download) => downloads.ask_remove(download)} onAgain={(download) => void downloads.again(download)} />
      {!single && <Way folder={folder} onGo={show} />}
      {!single && <Field label={t("search")} plain type="search" placeholder={t("search")} value={query} onValue={set_query} />}
      <Live every={0} text={searching ? t("found", { n: nodes.length }) : ""} />
      {more && <p class="muted small">{t("found_more", { n: FOUND_MOST })}</p>}
      <List
        nodes={nodes}
        chosen={chosen}
        with_folders={searching}
        label={searching ? t("search_results") : display_name(folder.name)}
        onOpen={show}
        onChoose={choose}
        onDownload={(node) => get(new Set([node]))}
        head={
          !single && (
            <div class="list-head">
              {choosable.length > 0 && (
                <Check
                  label={t("choose_all")}
                  shown={t("choose_all")}
                  on={all_chosen}
                  some={choosable.some((node) => chosen.has(node))}
                  onChange={(on) => set_chosen((before) => changed(before, choosable, on))}
                />
              )}
              <select class="select" aria-label={t("sort")} value={sort} onChange={(event) => set_sort(event.currentTarget.value as Sort)}>
                {SORTS.map((by) => <option key={by} value={by}>{t(`sort_${by}`)}</option>)}
              </select>
            </div>
          )
        }
        onUp={searching || !folder.parent ? undefined : () => folder.parent && go(folder.parent)}
      />
      {roots.length > 0 && (
        <div class="chosen-bar card" role="region" aria-label={t("chosen_region")}>
          <span class="numeric">{t("chosen", { n: roots.length, size: format.size(chosen_size) })}</span>
          <span class="cluster">
            <Button kind="primary" icon="download" onClick={() => get(chosen)}>{t("download_chosen")}</Button>
            <Button kind="quiet" icon="close" label={t("choose_none")} onClick={() => set_chosen(new Set())} />
          </span>
        </div>
      )}
      {downloads.lasting_offered && (
        <Check label={t("lasting")} shown={t("lasting")} on={downloads.lasting} onChange={downloads.set_lasting} />
      )}
      <Sources share={share} />
      {preview && (
        <Preview
          share={share}
          link={link}
          node={preview}
          before={shown[at - 1]}
          after={at < 0 ? undefined : shown[at + 1]}
          onShow={set_preview}
          onDownload={(node) => {
            set_preview(undefined);
            get(new Set([node]));
          }}
          onClose={() => set_preview(undefined)}
        />
      )}
      {open_in && <OpenIn ticket={ticket} onClose={() => set_open_in(false)} />}
      {downloads.removing && (
        <Confirm
          danger
          title={t("cancel_title")}
          action={t("cancel_do")}
          onDo={() => void downloads.remove()}
          onClose={() => downloads.ask_remove(undefined)}
        >
          <p>{t("cancel_what")}</p>
        </Confirm>
      )}
    </>
  );
}

function changed(before: ReadonlySet<Node>, nodes: readonly Node[], on: boolean): ReadonlySet<Node> {
  const after = new Set(before);
  for (const node of nodes) {
    if (on) after.add(node);
    else after.delete(node);
  }
  return after;
}

function useSettled<T>(promise: Promise<T>): T | undefined {
  const [value, set_value] = useState<T>();
  useEffect(() => {
    let here = true;
    void promise.then((settled) => here && set_value(settled));
    return () => {
      here = false;
    };
  }, [promise]);
  return value;
}

/** The folder that is shown, kept with the browser's history so that its "back" leads to the one before. */
function useFolder(top: Node): { folder: Node; go: (node: Node) => void } {
  const by_index = useMemo(() => {
    const found = new Map<number, Node>();
    for (const node of all_nodes(top)) if (node.entry.kind === "folder") found.set(node.entry.index, node);
    return found;
  }, [top]);
  const kept = () => by_index.get((history.state as { folder?: number } | null)?.folder ?? -1) ?? top;
  const [folder, set_folder] = useState<Node>(kept);
  useEffect(() => {
    const back = () => set_folder(kept());
    addEventListener("popstate", back);
    return () => removeEventListener("popstate", back);
  }, [by_index]);
  return {
    folder,
    go(node) {
      history.pushState({ folder: node.entry.index }, "");
      set_folder(node);
    },
  };
}

/** From the share to the folder that is shown. */
function Way({ folder, onGo }: { folder: Node; onGo: (node: Node) => void }) {
  const { t } = useWords(link_words);
  const way = way_to(folder);
  const current = useRef<HTMLSpanElement>(null);
  if (way.length === 1) return null;
  return (
    <nav aria-label={t("way")} class="way">
      <ol>
        {way.map((node, at) => (
          <li key={node.entry.index}>
            {at === way.length - 1 ? (
              <span aria-current="page" ref={current}><Name text={node.name} /></span>
            ) : (
              <Button kind="quiet" onClick={() => onGo(node)}><Name text={node.name} /></Button>
            )}
          </li>
        ))}
      </ol>
    </nav>
  );
}
