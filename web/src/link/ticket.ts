/** The longest ticket (SPEC.md, "Ticket"). */
const LONGEST = 1000;
const TICKET = /^hither1[02-9ac-hj-np-z]+$/;

export type Parsed = { ticket: string } | { wrong: "missing" | "broken" };

/**
 * The ticket in a link, in the part of it after `#`, or typed as such. Blanks and line breaks are left out,
 * because tickets are copied from screens that break them. What passes has letters and digits only, so it
 * can stand in a command.
 */
export function parse_ticket(text: string): Parsed {
  const after = text.includes("#") ? text.slice(text.indexOf("#") + 1) : text;
  let plain = after;
  try {
    plain = decodeURIComponent(after);
  } catch {
    // A lone percent sign: no ticket has one, which the pattern says below.
  }
  plain = plain.replace(/\s+/g, "").toLowerCase();
  if (plain === "") return { wrong: "missing" };
  if (plain.length > LONGEST || !TICKET.test(plain)) return { wrong: "broken" };
  return { ticket: plain };
}
