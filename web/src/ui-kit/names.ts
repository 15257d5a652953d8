/**
 * Names from outside: files, shares, devices, people. They are shown with `display_name` and set as
 * text only, and given to a disk with `save_name` only. The rule for showing is that of the programs
 * (proto-spec/src/name.rs).
 */

/**
 * Characters that show nothing and take no place (Default_Ignorable_Code_Point of Unicode 17), bidirectional
 * controls, line and paragraph separators, interlinear annotations, and two letters drawn as blanks.
 */
const INVISIBLE: readonly (readonly [number, number])[] = [
  [0xad, 0xad], [0x34f, 0x34f], [0x61c, 0x61c], [0x115f, 0x1160], [0x17b4, 0x17b5], [0x180b, 0x180f],
  [0x200b, 0x200f], [0x2028, 0x202e], [0x2060, 0x206f], [0x2800, 0x2800], [0x3164, 0x3164],
  [0xfe00, 0xfe0f], [0xfeff, 0xfeff], [0xffa0, 0xffa0], [0xfff0, 0xfffb], [0x1bca0, 0x1bca3],
  [0x1d173, 0x1d17a], [0xe0000, 0xe0fff],
];

/** Blocks of pictures that are joined or given a presentation. */
const PICTOGRAPHS: readonly (readonly [number, number])[] = [
  [0x203c, 0x2049], [0x2122, 0x27bf], [0x2934, 0x2b55], [0x3030, 0x303d], [0x1f000, 0x1faff],
];

function within(code: number, ranges: readonly (readonly [number, number])[]): boolean {
  return ranges.some(([first, last]) => code >= first && code <= last);
}

function is_control(code: number): boolean {
  return code < 0x20 || (code >= 0x7f && code <= 0x9f);
}

/** Half of a surrogate pair, which is no character. */
function is_lone(code: number): boolean {
  return code >= 0xd800 && code <= 0xdfff;
}

/**
 * Makes any text safe to show on one line, and two texts that differ look different: control characters and
 * whatever shows nothing become U+FFFD, nothing else changes. Characters that join emoji stay between emoji.
 */
export function display_name(text: string): string {
  const codes = Array.from(text, (c) => c.codePointAt(0) ?? 0xfffd);
  let shown = "";
  codes.forEach((code, at) => {
    const before = codes[at - 1];
    const after = codes[at + 1];
    const picture_before = before !== undefined && within(before, PICTOGRAPHS);
    const joins =
      (code === 0xfe0f && picture_before) ||
      (code === 0x200d && (picture_before || before === 0xfe0f) && after !== undefined && within(after, PICTOGRAPHS));
    const hidden = is_control(code) || is_lone(code) || (within(code, INVISIBLE) && !joins);
    shown += hidden ? "\ufffd" : String.fromCodePoint(code);
  });
  return shown;
}

/** Device names of Windows, which answer with any extension and in any case. */
const DEVICE_NAMES = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9¹²³])\s*(\.|$)/i;

/**
 * The longest name that file systems take, in bytes of UTF-8, less what a browser adds while a file is not
 * complete (".crdownload").
 */
const MAX_SAVED = 240;

/**
 * A name that every file system takes as one name and that leads nowhere: for files that are saved and for
 * names inside a zip. Only what some system refuses is replaced.
 */
export function save_name(name: string): string {
  const safe = Array.from(name, (c) => {
    const code = c.codePointAt(0) ?? 0;
    const refused = is_control(code) || is_lone(code) || '\\/:*?"<>|'.includes(c);
    const bidi = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code === 0x200e || code === 0x200f;
    return refused || bidi ? "_" : c;
  }).join("");
  const ended = safe.replace(/[. ]+$/, (end) => "_".repeat(end.length));
  const named = DEVICE_NAMES.test(ended) ? `_${ended}` : ended;
  return shortened(named === "" ? "_" : named);
}

function shortened(name: string): string {
  const bytes = (text: string) => new TextEncoder().encode(text).length;
  if (bytes(name) <= MAX_SAVED) return name;
  const dot = name.lastIndexOf(".");
  const extension = dot > 0 && bytes(name.slice(dot)) <= 32 ? name.slice(dot) : "";
  let stem = "";
  let left = MAX_SAVED - bytes(extension);
  for (const c of extension ? name.slice(0, dot) : name) {
    left -= bytes(c);
    if (left < 0) break;
    stem += c;
  }
  return stem + extension;
}
