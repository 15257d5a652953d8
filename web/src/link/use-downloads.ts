/** The downloads of a share: started, gone on with, removed. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { OpenShare } from "../core/api.ts";
import { Download, lock_of } from "./save/download.ts";
import { all_kept, forget, KEPT_MS, type Kept } from "./save/kept.ts";
import { all_stored, remove_stored } from "./save/sinks.ts";
import { source_of, type Source } from "./save/source.ts";
import type { ServiceLink } from "./save/sw-link.ts";
import { abilities, way_for, type Abilities } from "./save/ways.ts";
import { all_nodes, type Node } from "./tree.ts";

export interface DownloadsState {
  all: readonly Download[];
  kept: readonly Kept[];
  /** The part of all that is under way which has come, 0 to 1. */
  percent: number | undefined;
  /** Bytes of what no way saves. */
  impossible: number | undefined;
  lasting: boolean;
  /** True when there is a choice between what ends with the tab and what does not. */
  lasting_offered: boolean;
  set_lasting: (on: boolean) => void;
  removing: Download | undefined;
  start: (chosen: ReadonlySet<Node>) => Promise<void>;
  go_on: (kept: Kept) => Promise<void>;
  discard: (kept: Kept) => Promise<void>;
  again: (download: Download) => Promise<void>;
  ask_remove: (download: Download | undefined) => void;
  remove: () => Promise<void>;
}

/** `starting` is the service worker on its way: a download that needs it waits for it. */
export function useDownloads(share: OpenShare, top: Node, link: ServiceLink | undefined, starting: Promise<ServiceLink | undefined>): DownloadsState {
  const [all, set_all] = useState<readonly Download[]>([]);
  const [kept, set_kept] = useState<readonly Kept[]>([]);
  const [can, set_can] = useState<Abilities>();
  const [impossible, set_impossible] = useState<number>();
  const [lasting, set_lasting] = useState(false);
  const [removing, ask_remove] = useState<Download>();
  const [, tick] = useState(0);
  const running = useRef<readonly Download[]>([]);
  running.current = all;

  useEffect(() => void abilities(link !== undefined).then(set_can), [link]);
  useEffect(() => void left_over(share).then(set_kept), [share]);
  useEffect(() => {
    const timer = setInterval(() => running.current.some(under_way) && tick((n) => n + 1), 1_000);
    // Browsers ask before the tab is closed; what it says is theirs.
    const leaving = (event: BeforeUnloadEvent) => running.current.some((download) => under_way(download) && !download.lasting) && event.preventDefault();
    addEventListener("beforeunload", leaving);
    return () => {
      clearInterval(timer);
      removeEventListener("beforeunload", leaving);
    };
  }, []);

  const begin = async (source: Source, target: ConstructorParameters<typeof Download>[1]) => {
    const download = new Download(source, target, { share: share.id, version: share.version, link: await starting });
    download.onchange(() => !under_way(download) && tick((n) => n + 1));
    set_all((before) => [download, ...before]);
  };

  const start = async (chosen: ReadonlySet<Node>) => {
    set_impossible(undefined);
    const source = source_of(share, chosen, share.name);
    if (isSecureContext && window.showSaveFilePicker) {
      // At once: browsers ask for a place only as the answer to a click.
      const handle = await chosen_file(source.name);
      if (handle === undefined) return;
      if (handle !== "refused") return begin(source, { way: "file", handle });
    }
    const able = await abilities((await starting) !== undefined);
    const way = way_for(source.size, { ...able, file: false }, lasting);
    return way === undefined ? set_impossible(source.size) : begin(source, { way });
  };

  const go_on = async (record: Kept) => {
    const nodes = by_indices(top, record.chosen);
    if (record.handle?.requestPermission && (await record.handle.requestPermission({ mode: "readwrite" })) !== "granted") return;
    set_kept((before) => before.filter((other) => other !== record));
    await begin(source_of(share, nodes, share.name), { way: record.way, kept: record, ...(record.handle ? { handle: record.handle } : {}) });
  };

  const discard = async (record: Kept) => {
    set_kept((before) => before.filter((other) => other !== record));
    if (record.stored) await remove_stored(record.stored);
    await forget(record.key);
  };

  const take_out = (download: Download) => set_all((before) => before.filter((other) => other !== download));
  const again = async (download: Download) => {
    take_out(download);
    const record = (await left_over(share)).find((other) => other.chosen.join() === download.source.chosen.join());
    if (record) await go_on(record);
    else await start(by_indices(top, download.source.chosen));
  };

  const size = all.filter(under_way).reduce((sum, { source }) => sum + source.size, 0);
  const bytes = all.filter(under_way).reduce((sum, download) => sum + download.bytes, 0);
  return {
    all,
    kept,
    percent: size > 0 ? Math.floor((bytes / size) * 100) / 100 : undefined,
    impossible,
    lasting,
    lasting_offered: can !== undefined && !can.file && can.stream && can.disk,
    set_lasting,
    removing,
    start,
    go_on,
    discard,
    again,
    ask_remove(download) {
      if (!download || under_way(download)) return ask_remove(download);
      take_out(download);
      void download.clear();
    },
    async remove() {
      ask_remove(undefined);
      if (!removing) return;
      take_out(removing);
      await removing.cancel();
    },
  };
}

function under_way({ state }: Download): boolean {
  return state === "running" || state === "paused" || state === "waiting";
}

function by_indices(top: Node, indices: readonly number[]): ReadonlySet<Node> {
  const wanted = new Set(indices);
  return new Set([...all_nodes(top)].filter((node) => wanted.has(node.entry.index)));
}

/** A file that the person chooses; undefined: they chose none; "refused": the browser does not ask here. */
async function chosen_file(name: string): Promise<FileSystemFileHandle | "refused" | undefined> {
  try {
    return await window.showSaveFilePicker?.({ suggestedName: name, id: "hither", startIn: "downloads" });
  } catch (problem) {
    return (problem as Error).name === "AbortError" ? undefined : "refused";
  }
}

/** Gives what is left of earlier tabs for this share as it is now; what is too old, or of another version, is removed. */
async function left_over(share: OpenShare): Promise<Kept[]> {
  const here: Kept[] = [];
  try {
    const locked = new Set((await navigator.locks?.query())?.held?.map(({ name }) => name));
    const stored = new Set<string>();
    for (const record of await all_kept()) {
      if (locked.has(lock_of(record.key))) continue; // Another tab writes it now.
      const old = Date.now() - record.at > KEPT_MS || (record.share === share.id && record.version !== share.version);
      if (old) await forget(record.key);
      else if (record.stored) stored.add(record.stored);
      if (!old && record.share === share.id) here.push(record);
    }
    for (const name of await all_stored()) if (!stored.has(name) && !locked.has(lock_of(name))) await remove_stored(name);
  } catch {
    // The browser keeps nothing here.
  }
  return here;
}
