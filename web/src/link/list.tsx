/** A folder's contents or what a search found, by mouse, touch and keyboard. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useWords } from "../i18n/index.ts";
import { Button, Check, Name, Parts, Row } from "../ui-kit/components.tsx";
import { display_name } from "../ui-kit/names.ts";
import { icon_of, way_to, type Node } from "./tree.ts";
import { link_words } from "./words.ts";

/** Rows that are drawn at once: more come with a button, so that folders with many thousands stay quick. */
const ROWS = 200;

interface ListProps {
  nodes: readonly Node[];
  chosen: ReadonlySet<Node>;
  /** Shows where each lies: the nodes are from several folders. */
  with_folders: boolean;
  label: string;
  head: ComponentChildren;
  onOpen: (node: Node) => void;
  onChoose: (node: Node, on: boolean) => void;
  onDownload: (node: Node) => void;
  onUp: (() => void) | undefined;
}

export function List({ nodes, chosen, with_folders, label, head, onOpen, onChoose, onDownload, onUp }: ListProps) {
  const { t, format } = useWords(link_words);
  const [shown, set_shown] = useState(ROWS);
  // Only one row is a stop of the Tab key; arrows go from row to row.
  const [current, set_current] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  useEffect(() => {
    set_shown(ROWS);
    set_current(0);
  }, [nodes]);
  const rows = nodes.slice(0, shown);

  const move = (to: number) => {
    const at = Math.max(0, Math.min(rows.length - 1, to));
    set_current(at);
    list.current?.querySelectorAll<HTMLElement>(".row-main")[at]?.focus();
  };
  const key = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    const at = current;
    const node = rows[at];
    const step: Partial<Record<string, () => void>> = {
      ArrowDown: () => move(at + 1),
      ArrowUp: () => move(at - 1),
      Home: () => move(0),
      End: () => move(rows.length - 1),
      PageDown: () => move(at + 10),
      PageUp: () => move(at - 10),
      Backspace: () => onUp?.(),
    };
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === " " && target.matches(".row-main")) {
      event.preventDefault();
      if (node && node.entry.kind !== "symlink" && !event.repeat) onChoose(node, !chosen.has(node));
      return;
    }
    const act = step[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  return (
    <div class="card list">
      <p id="list-keys" class="for-readers">{t("list_keys")}</p>
      {head}
      <ul
        class="rows"
        ref={list}
        aria-label={label}
        onKeyDown={key}
        onKeyUp={(event) => event.key === " " && (event.target as HTMLElement).matches(".row-main") && event.preventDefault()}
        onFocusIn={(event) => {
          const row = (event.target as HTMLElement).closest(".row");
          const at = row ? [...(list.current?.children ?? [])].indexOf(row) : -1;
          if (at >= 0) set_current(at);
        }}
      >
        {rows.map((node, at) => (
          <EntryRow
            key={node.entry.index}
            node={node}
            chosen={chosen.has(node)}
            stop={at === current}
            folder={with_folders ? way_to(node).slice(1, -1).map((above) => display_name(above.name)).join(" / ") : ""}
            onOpen={onOpen}
            onChoose={onChoose}
            onDownload={onDownload}
          />
        ))}
      </ul>
      {rows.length === 0 && <p class="padded muted">{t("nothing_here")}</p>}
      {rows.length < nodes.length && (
        <div class="padded cluster">
          <Button
            onClick={() => {
              set_shown(shown + ROWS);
              set_current(shown);
              requestAnimationFrame(() => list.current?.querySelectorAll<HTMLElement>(".row-main")[shown]?.focus());
            }}
          >
            {t("show_more")}
          </Button>
          <span class="muted small">{t("shown_of", { shown: rows.length, all: format.number(nodes.length) })}</span>
        </div>
      )}
    </div>
  );
}

interface EntryProps {
  node: Node;
  chosen: boolean;
  stop: boolean;
  folder: string;
  onOpen: (node: Node) => void;
  onChoose: (node: Node, on: boolean) => void;
  onDownload: (node: Node) => void;
}

function EntryRow({ node, chosen, stop, folder, onOpen, onChoose, onDownload }: EntryProps) {
  const { t, format } = useWords(link_words);
  const { entry } = node;
  const row = useRef<HTMLLIElement>(null);
  const name = display_name(node.name);
  const size =
    entry.kind === "folder" ? t("files_size", { n: node.files, size: format.size(node.size) })
    : entry.kind === "symlink" ? t("leads_to", { target: display_name(entry.target ?? "") })
    : format.size(entry.size);
  useEffect(() => {
    row.current?.querySelectorAll<HTMLElement>("button, input").forEach((control) => (control.tabIndex = stop ? 0 : -1));
  }, [stop, chosen]);
  return (
    <Row
      rowRef={row}
      icon={icon_of(node)}
      chosen={chosen}
      title={<Name text={node.name} />}
      detail={<Parts of={[folder, size, entry.modified_ms > 0 && entry.kind !== "symlink" ? format.date(entry.modified_ms) : ""]} />}
      onOpen={() => onOpen(node)}
      describedby="list-keys"
      before={entry.kind === "symlink" ? <span class="check" /> : <Check label={t("choose_name", { name })} on={chosen} onChange={(on) => onChoose(node, on)} />}
      after={entry.kind !== "symlink" && <Button kind="quiet" icon="download" label={t("download_name", { name })} onClick={() => onDownload(node)} />}
    />
  );
}
