/** Screens by their addresses: `#/transfers/6d347bb6`. */
import { useEffect, useState } from "preact/hooks";

/** In the order of the navigation and of the keys 1 to 8. */
export const SCREENS = ["devices", "transfers", "shares", "inbox", "asks", "groups", "settings", "health"] as const;
export type Screen = (typeof SCREENS)[number];
export interface Route { screen: Screen; id: string }

export function parse_route(hash: string): Route {
  const [, screen = "", id = ""] = /^#\/([a-z]*)(?:\/(.*))?$/.exec(hash) ?? [];
  const known = SCREENS.find((one) => one === screen);
  if (!known) return { screen: "devices", id: "" };
  try {
    return { screen: known, id: decodeURIComponent(id) };
  } catch {
    return { screen: known, id: "" };
  }
}

export function address(screen: string, id = ""): string {
  return `#/${screen}${id === "" ? "" : `/${encodeURIComponent(id)}`}`;
}

/** The screen that the address names, as it changes. */
export function useRoute(): Route {
  const [route, set_route] = useState(() => parse_route(location.hash));
  useEffect(() => {
    const changed = () => set_route(parse_route(location.hash));
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return route;
}
