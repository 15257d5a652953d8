/** A field for a path of this device. Folders are proposed: those that are known, and what lies below. */
import { useEffect, useState } from "preact/hooks";
import { Field } from "../ui-kit/index.ts";
import { call } from "./api.ts";
import { useDesk } from "./desk.tsx";
import { useLists } from "./live.ts";
import type { Below } from "./types.ts";

/** Pause after a letter until the daemon is asked, ms. */
const PAUSE_MS = 150;
/** Most proposals. */
const MOST = 200;

/** The folder in which what is being typed would be. */
export function folder_of(text: string): string | undefined {
  if (!is_path(text)) return undefined;
  return /^(.*[/\\])[^/\\]*$/.exec(text.trim())?.[1];
}

function useBelow(text: string): readonly string[] {
  const [found, set_found] = useState<readonly string[]>([]);
  const folder = folder_of(text);
  useEffect(() => {
    set_found([]);
    if (folder === undefined) return;
    const stop = new AbortController();
    const ask = async () => {
      const { entries } = await call<Below>("GET", `paths?under=${encodeURIComponent(folder)}`, undefined, stop.signal);
      if (stop.signal.aborted) return;
      set_found(entries.map(({ name }) => folder + name).slice(0, MOST));
    };
    // A folder that cannot be listed gives no proposals, and paths can be typed.
    const timer = setTimeout(() => void ask().catch(() => undefined), PAUSE_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [folder]);
  return found;
}

export function PathField({ id, label, hint, value, onValue, error }: { id: string; label: string; hint?: string; value: string; onValue: (value: string) => void; error?: string | undefined }) {
  const { live } = useDesk();
  const { shares, transfers, receive } = useLists(live, "shares", "transfers", "receive");
  const below = useBelow(value);
  const parent = (path: string) => path.replace(/[/\\][^/\\]*$/, "");
  const known = new Set([...below, receive?.folder ?? "", ...(shares ?? []).map((one) => parent(one.path)), ...(transfers ?? []).map((one) => parent(one.path))].filter(is_path));
  return (
    <>
      <Field label={label} value={value} onValue={onValue} list={id} error={error} required {...(hint === undefined ? {} : { hint })} />
      <datalist id={id}>{[...known].map((path) => <option key={path} value={path} />)}</datalist>
    </>
  );
}

/** True when a text can be a path on this device at all. */
export function is_path(text: string): boolean {
  return /^(\/|[A-Za-z]:[/\\])/.test(text.trim());
}
