// Names as hostile people choose them, for files, devices, groups, messages: they are text, and nothing else.
export const HOSTILE = [
  '<img src=x onerror="globalThis.hit=1">',
  "<script>globalThis.hit=1</script>",
  '"><svg onload=globalThis.hit=1>',
  "javascript:globalThis.hit=1",
  "' onmouseover='globalThis.hit=1",
  "</title><script>globalThis.hit=1</script>",
  "{{constructor.constructor('globalThis.hit=1')()}}",
  "<iframe srcdoc='<script>parent.hit=1</script>'>",
  "<style>*{display:none}</style>",
  "<base href=//evil.example>",
  "<form action=//evil.example><input name=a>",
  "\u202egnp.exe",
  "a\u0000b\u0007c\u001b[31md",
  "x".repeat(255),
  "\u{1F469}\u200d\u{1F680} zero\u200bwidth",
  "../../etc/passwd",
];

/** Harm that must not have come of them: nothing ran, nothing was made of their markup, nothing was loaded. */
export const harm = (page) =>
  page.evaluate(() => ({
    hit: globalThis.hit,
    made: [...document.querySelectorAll("#app iframe, #app script, #app style, #app base, #app form[action], #app [onerror], #app [onload], #app [onmouseover], #app img[src='x'], #app a[href^='javascript:']")].map((one) => one.outerHTML.slice(0, 100)),
  }));
