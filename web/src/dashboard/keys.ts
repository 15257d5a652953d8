/** Single keys of this page, which can be turned off: who speaks to their computer, or slips, turns them off (WCAG 2.1.4). */
const KEPT = "hither.shortcuts";

export function shortcuts_on(): boolean {
  try {
    return localStorage.getItem(KEPT) !== "off";
  } catch {
    return true; // Storage is forbidden: as if nothing was said.
  }
}

export function set_shortcuts(on: boolean): void {
  try {
    localStorage.setItem(KEPT, on ? "on" : "off");
  } catch {
    // Storage is forbidden: nothing is kept.
  }
}
