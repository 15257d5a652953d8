/** Links of Hither by what they open. Secrets stand behind the `#`; nothing here leaves this origin. */

const CODE = /(hither(?:-(?:pair|inbox|ask))?1[02-9ac-hj-np-z]+)/;
/** Longest code that is looked at. */
const LONGEST = 2_000;

export type LinkKind = "share" | "pair" | "inbox" | "ask";

/** The code in a link or a text that was copied from somewhere, and what it is. */
export function code_of(text: string): { kind: LinkKind; code: string } | undefined {
  const plain = text.slice(0, LONGEST * 2).replace(/\s+/g, "").toLowerCase();
  const code = CODE.exec(plain)?.[1];
  if (!code || code.length > LONGEST) return undefined;
  const kind = /^hither-(pair|inbox|ask)1/.exec(code)?.[1] as LinkKind | undefined;
  return { kind: kind ?? "share", code };
}

/** The place of this relay that a code belongs to, where that is another page. */
export function place_of(kind: LinkKind, code: string): string {
  return `/${{ share: "l", pair: "p", inbox: "i", ask: "a" }[kind]}#${code}`;
}

/** The place that a fragment belongs to where it is not for this page. */
export function elsewhere(fragment: string): string | undefined {
  if (!fragment.startsWith("#hither")) return undefined;
  const found = code_of(fragment);
  return found && found.kind !== "pair" ? place_of(found.kind, found.code) : undefined;
}
