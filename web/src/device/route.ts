/** Views by their addresses: `#send/<device>`. Codes of links are no views. */
import { useEffect, useState } from "preact/hooks";
import { code_of } from "./links.ts";

export const TABS = ["devices", "inbox", "requests", "sent", "page"] as const;
export type Tab = (typeof TABS)[number];
export type View = Tab | "send" | "share" | "shared";
export interface Route {
  view: View;
  id: string;
  /** A code for pairing, which the address had. */
  pair?: string;
}

export function parse_route(hash: string): Route {
  const found = hash.startsWith("#hither-pair1") ? code_of(hash) : undefined;
  if (found) return { view: "devices", id: "", pair: found.code };
  const [, view = "", id = ""] = /^#([a-z]+)(?:\/(.*))?$/.exec(hash) ?? [];
  const known = ([...TABS, "send", "share", "shared"] as const).find((one) => one === view);
  try {
    return known ? { view: known, id: decodeURIComponent(id) } : { view: "devices", id: "" };
  } catch {
    return { view: "devices", id: "" };
  }
}

export function address(view: View, id = ""): string {
  return `#${view}${id === "" ? "" : `/${encodeURIComponent(id)}`}`;
}

export function go(view: View, id = ""): void {
  location.hash = address(view, id);
}

export function useRoute(): [Route, (route: Route) => void] {
  const [route, set] = useState(() => parse_route(location.hash));
  useEffect(() => {
    const changed = () => set(parse_route(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return [route, set];
}
