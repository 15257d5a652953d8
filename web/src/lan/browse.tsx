/** The folders of a share: downloads by the browser itself, a look at what it can show. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useWords } from "../i18n/index.ts";
import { lan } from "../i18n/lan.ts";
import { all_nodes, sorted, tree_of, way_to, type Node, type Sort } from "../link/tree.ts";
import { Button, ButtonLink, Dialog, Icon, Name, Notice, Row, Spinner, type IconName } from "../ui-kit/index.ts";
import { file_url, zip_url, type Contents } from "./api.ts";
import { read_text, shows, type Shows } from "./preview.ts";

const ICONS: Record<Shows, IconName> = { image: "image", video: "video", audio: "audio", text: "text" };
/** Most rows at first: a folder of many thousand files would keep a phone busy. */
const ROWS = 300;

function icon_of(node: Node): IconName {
  if (node.entry.kind === "folder") return "folder";
  const kind = node.entry.kind === "file" ? shows(node.name) : undefined;
  return kind ? ICONS[kind] : node.entry.kind === "symlink" ? "link" : "file";
}

export function Browse({ share, contents, folder, moved }: { share: string; contents: Contents; folder: number; moved: boolean }) {
  const { t, format, locale } = useWords(lan);
  const top = useMemo(() => tree_of(contents.entries.map((entry) => ({ ...entry, executable: false })), contents.name), [contents]);
  const [sort, set_sort] = useState<Sort>("name");
  const [most, set_most] = useState(ROWS);
  const [seen, set_seen] = useState<Node | undefined>();
  const here = useMemo(() => {
    for (const node of all_nodes(top)) if (node.entry.index === folder && node.entry.kind === "folder") return node;
    return top;
  }, [top, folder]);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    set_most(ROWS);
    if (moved) heading.current?.focus();
  }, [here]);
  const rows = useMemo(() => (here.entry.kind === "folder" ? sorted(here.children, sort, locale) : [here]), [here, sort, locale]);
  const way = way_to(here);
  const visible = rows.filter((node) => node.entry.kind === "file" && shows(node.name));
  const place = (node: Node) => `#/${share}${node.parent ? `/${node.entry.index}` : ""}`;
  return (
    <section class="stack" aria-labelledby="folder">
      <nav aria-label={t("way")}>
        <ol class="way">
          <li><a href="#/">{t("all_shares")}</a></li>
          {way.slice(0, -1).map((node) => <li key={node.entry.index}><a href={place(node)}><Name text={node.name} /></a></li>)}
        </ol>
      </nav>
      <h1 id="folder" ref={heading} tabIndex={-1}><Name text={here.name} /></h1>
      <div class="cluster spread">
        <span class="muted">{t("files", { n: here.files })}, {format.size(here.size)}</span>
        <span class="cluster">
          {rows.length > 1 && (
            <select class="select" aria-label={t("sort")} value={sort} onChange={(event) => set_sort(event.currentTarget.value as Sort)}>
              <option value="name">{t("sort.name")}</option>
              <option value="size">{t("sort.size")}</option>
              <option value="date">{t("sort.date")}</option>
            </select>
          )}
          {here.entry.kind === "folder" && here.files > 0 && <ButtonLink href={zip_url(share, here.parent ? here.entry.index : 0)} icon="archive" primary download>{t("zip")}</ButtonLink>}
        </span>
      </div>
      {rows.length === 0 ? <p class="empty muted">{t("empty_folder")}</p> : (
        <ul class="rows card">
          {rows.slice(0, most).map((node) => (
            <Row
              key={node.entry.index}
              icon={icon_of(node)}
              title={<Name text={node.name} />}
              detail={node.entry.kind === "folder" ? `${t("files", { n: node.files })}, ${format.size(node.size)}` : node.entry.kind === "symlink" ? t("symlink") : `${format.size(node.size)} · ${format.date(node.entry.modified_ms)}`}
              {...(node.entry.kind === "folder" ? { href: place(node), after: <Icon name="forward" /> } : {})}
              {...(node.entry.kind === "file" && shows(node.name) ? { onOpen: () => set_seen(node) } : {})}
              {...(node.entry.kind === "file" ? { after: <a class="button quiet only-icon" href={file_url(share, node.entry.index)} download aria-label={t("download_named", { name: node.name })} title={t("download")}><Icon name="download" /></a> } : {})}
            />
          ))}
        </ul>
      )}
      {rows.length > most && <div><Button onClick={() => set_most(most + ROWS)}>{t("more", { n: rows.length - most })}</Button></div>}
      {seen && <Look share={share} node={seen} all={visible} onLook={set_seen} onClose={() => set_seen(undefined)} />}
    </section>
  );
}

/** One file as the browser shows it, and the ones beside it. */
function Look({ share, node, all, onLook, onClose }: { share: string; node: Node; all: readonly Node[]; onLook: (node: Node) => void; onClose: () => void }) {
  const { t } = useWords(lan);
  const at = all.indexOf(node);
  const [before, after] = [all[at - 1], all[at + 1]];
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      // In a film the arrows are the film's.
      if (event.target instanceof HTMLMediaElement) return;
      const to = event.key === "ArrowLeft" ? before : event.key === "ArrowRight" ? after : undefined;
      if (to) onLook(to);
    };
    window.addEventListener("keydown", key);
    return () => window.removeEventListener("keydown", key);
  }, [before, after]);
  return (
    <Dialog
      wide
      title={<Name text={node.name} />}
      onClose={onClose}
      foot={
        <>
          <Button icon="back" label={t("before")} off={!before} onClick={() => before && onLook(before)} />
          <Button icon="forward" label={t("after")} off={!after} onClick={() => after && onLook(after)} />
          <ButtonLink href={file_url(share, node.entry.index)} icon="download" primary download>{t("download")}</ButtonLink>
        </>
      }
    >
      <Shown key={node.entry.index} share={share} node={node} />
    </Dialog>
  );
}

function Shown({ share, node }: { share: string; node: Node }) {
  const { t } = useWords(lan);
  const [broken, set_broken] = useState(false);
  const kind = shows(node.name);
  const url = file_url(share, node.entry.index, true);
  if (broken) return <Notice tone="warn">{t("cannot_show")}</Notice>;
  if (kind === "image") return <img class="shown" src={url} alt={node.name} onError={() => set_broken(true)} />;
  if (kind === "video") return <video class="shown" src={url} controls preload="metadata" aria-label={node.name} onError={() => set_broken(true)} />;
  if (kind === "audio") return <audio class="shown" src={url} controls preload="metadata" aria-label={node.name} onError={() => set_broken(true)} />;
  return <ShownText url={url} size={node.size} name={node.name} onBroken={() => set_broken(true)} />;
}

function ShownText({ url, size, name, onBroken }: { url: string; size: number; name: string; onBroken: () => void }) {
  const { t } = useWords(lan);
  const [found, set_found] = useState<{ text: string; more: boolean } | undefined>();
  useEffect(() => {
    let stop = false;
    read_text(url, size).then(
      (text) => !stop && set_found(text),
      () => !stop && onBroken(),
    );
    return () => {
      stop = true;
    };
  }, [url]);
  if (!found) return <Spinner label={t("loading")} />;
  return (
    <>
      <pre class="shown-text" tabIndex={0} role="region" aria-label={name} dir="auto">{found.text}</pre>
      {found.more && <p class="small muted">{t("only_beginning")}</p>}
    </>
  );
}
