/** Styles as a sheet that is adopted: a site's policy need not allow styles in elements. Colours are the system's. */
const CSS = `
:host { display: inline-flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; font: inherit; }
:host([hidden]) { display: none; }
*, *::before { box-sizing: border-box; }
[hidden] { display: none !important; }
button, .button {
  display: inline-flex; align-items: center; justify-content: center; min-block-size: 44px; min-inline-size: 44px;
  padding: 0.5rem 1rem; border: 1px solid color-mix(in srgb, CanvasText 55%, Canvas); border-radius: 0.5rem;
  background: Canvas; color: CanvasText; font: inherit; text-decoration: none; cursor: pointer;
}
button:hover, .button:hover { background: color-mix(in srgb, CanvasText 8%, Canvas); }
.primary { background: #2450d8; border-color: #2450d8; color: #fff; }
.primary:hover { background: #1b3fb0; }
button:disabled { cursor: default; opacity: 0.6; }
:is(button, .button, h2):focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
h2:focus { outline: none; }
#value { overflow-wrap: anywhere; }
dialog {
  inline-size: min(26rem, calc(100vw - 2rem)); max-block-size: calc(100dvh - 2rem); overflow: auto; padding: 1.25rem;
  border: 1px solid color-mix(in srgb, CanvasText 30%, Canvas); border-radius: 0.75rem;
  background: Canvas; color: CanvasText; font: 1rem/1.5 system-ui, sans-serif; text-align: start;
}
dialog::backdrop { background: rgb(0 0 0 / 50%); }
h2 { margin: 0 0 0.75rem; font-size: 1.25rem; }
p { margin: 0; }
.body { display: flex; flex-direction: column; gap: 0.75rem; align-items: flex-start; }
.qr { inline-size: min(15rem, 100%); block-size: auto; align-self: center; border-radius: 0.375rem; }
.number { align-self: center; padding: 0.25rem 1rem; border: 2px solid currentcolor; border-radius: 0.5rem; font: 700 2.5rem/1.3 ui-monospace, monospace; }
.quiet, .aloud { color: color-mix(in srgb, CanvasText 75%, Canvas); }
.aloud { min-block-size: 1.5em; margin-block: 0.75rem; }
.bad { font-weight: 600; }
progress { inline-size: 100%; block-size: 0.75rem; accent-color: #2450d8; }
.foot { display: flex; flex-wrap: wrap; gap: 0.5rem; }
.spinner {
  inline-size: 1.5rem; block-size: 1.5rem; border: 2px solid color-mix(in srgb, CanvasText 25%, Canvas);
  border-block-start-color: #2450d8; border-radius: 50%; animation: turn 900ms linear infinite;
}
@keyframes turn { to { transform: rotate(1turn); } }
@media (prefers-reduced-motion: reduce) { .spinner { animation: none; } }
`;

let made: CSSStyleSheet | undefined;

/** One sheet for all elements of a page. */
export function sheet(): CSSStyleSheet {
  if (!made) {
    made = new CSSStyleSheet();
    made.replaceSync(CSS);
  }
  return made;
}
