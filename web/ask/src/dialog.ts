/** The dialog: a QR code and a button that opens the same here, the number to compare, progress, and a way out. */
import { encode } from "uqr";
import { load_asker } from "./load-asker.ts";
import type { Asker } from "../../src/core/device-api.ts";
import { make } from "./dom.ts";
import { bring, request_of, type Given } from "./given.ts";
import type { AskKey, AskWords } from "./words.ts";

export interface AskOptions {
  relay: string;
  wasm: string;
  accept: string;
  multiple: boolean;
  digest: boolean;
  reason: string;
  words: AskWords;
}

const KNOWN = new Set(["refused", "declined", "expired", "unreachable", "damaged"]);
const POPUP = "popup,noopener,noreferrer,width=480,height=780";

/** The relay's origin: encrypted, or on this machine. */
export function relay_origin(relay: string): string | undefined {
  try {
    const { origin, protocol, hostname } = new URL(relay);
    const local = protocol === "http:" && (hostname === "localhost" || hostname === "127.0.0.1" || hostname === "[::1]");
    return protocol === "https:" || local ? origin : undefined;
  } catch {
    return undefined;
  }
}

/** The place that another device opens: the relay's page, with the core's code behind the `#`. */
export function place_of(origin: string, code: string): string {
  return `${origin}/a#${code}`;
}

export class AskDialog {
  readonly element: HTMLDialogElement;
  readonly #options: AskOptions;
  readonly #body = make("div", { class: "body" });
  readonly #foot = make("div", { class: "foot" });
  /** Read to screen readers as it changes. */
  readonly #aloud = make("p", { class: "aloud", role: "status" });
  #asker: Asker | undefined;
  #end: (given: Given | undefined) => void = () => {};
  #over = false;

  constructor(options: AskOptions) {
    this.#options = options;
    const { t, language } = options.words;
    const heading = make("h2", { id: "title", tabindex: "-1", autofocus: "" }, t("title"));
    this.element = make("dialog", { "aria-labelledby": "title", part: "dialog", lang: language === "zh" ? "zh-Hans" : language }, heading, this.#body, this.#aloud, this.#foot);
    this.element.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.cancel();
    });
    // Clicks in the dialog are no clicks on the field.
    this.element.addEventListener("click", (event) => event.stopPropagation());
  }

  /** Shows the dialog until something was given, or nothing will be. */
  async run(): Promise<Given | undefined> {
    this.element.showModal();
    const ended = new Promise<Given | undefined>((resolve) => (this.#end = resolve));
    void this.#ask();
    const given = await ended;
    this.#over = true;
    this.#asker?.close();
    this.element.close();
    return given;
  }

  cancel(): void {
    this.#end(undefined);
  }

  #button(key: AskKey, act: () => void, kind = ""): HTMLButtonElement {
    const button = make("button", { type: "button", class: kind }, this.#options.words.t(key));
    button.addEventListener("click", act);
    return button;
  }

  #show(body: readonly Node[], aloud: string, ...buttons: Node[]): void {
    this.#body.replaceChildren(...body);
    this.#aloud.textContent = aloud;
    this.#foot.replaceChildren(...buttons, this.#button("cancel", () => this.cancel()));
  }

  async #ask(): Promise<void> {
    const { words: { t }, wasm, digest } = this.#options;
    const origin = relay_origin(this.#options.relay);
    if (origin === undefined) return this.#failed("no_relay");
    this.#show([make("div", { class: "spinner", "aria-hidden": "true" })], t("connecting"));
    try {
      const core = await load_asker(wasm);
      const asker = await core.ask(request_of(this.#options), origin);
      if (this.#over) return asker.close();
      this.#asker = asker;
      const changed = () => this.#changed(asker, place_of(origin, asker.link));
      const stop = asker.onchange(changed);
      changed();
      const things = await asker.answer();
      stop();
      if (this.#over) return;
      const bar = make("progress", { max: "1", value: "0", "aria-label": t("fetching") });
      this.#show([bar], t("fetching"));
      const given = await bring(asker, things, digest, (done, all) => (bar.value = all > 0 ? done / all : 1));
      if (!this.#over) this.#end(given);
    } catch (problem) {
      if (this.#over) return;
      const { code } = problem as { code?: string };
      this.#failed(code !== undefined && KNOWN.has(code) ? (`failed_${code}` as AskKey) : "failed_other");
    }
  }

  #shown: "" | "waiting" | "opened" = "";
  #changed(asker: Asker, place: string): void {
    if (asker.state === "opened" && asker.number !== undefined && this.#shown !== "opened") this.#opened(asker.number);
    else if (asker.state === "waiting" && this.#shown === "") this.#waiting(place);
  }

  #waiting(link: string): void {
    this.#shown = "waiting";
    const { t } = this.#options.words;
    const here = make("a", { class: "button primary", href: link, target: "_blank", rel: "noopener noreferrer" }, t("open_here"));
    here.addEventListener("click", (event) => {
      // A window beside this one, which shares nothing with it; a browser that has none follows the link.
      event.preventDefault();
      window.open(link, "_blank", POPUP);
    });
    const said = [make("p", {}, t("scan")), qr_code(link, t("qr")), make("p", {}, t("or_here"))];
    this.#show(said, t("waiting"), here);
  }

  #opened(number: number): void {
    this.#shown = "opened";
    const { t } = this.#options.words;
    this.#show([make("p", {}, t("compare")), make("p", { class: "number" }, String(number)), make("p", { class: "quiet" }, t("differs"))], t("opened", { n: number }));
  }

  #failed(key: AskKey): void {
    this.#shown = "";
    this.#asker?.close();
    this.#asker = undefined;
    const { t } = this.#options.words;
    const said = make("p", { class: "bad", role: "alert" }, t(key));
    if (key === "no_relay" || key === "failed_refused") this.#show([said], "");
    else this.#show([said], "", this.#button("again", () => void this.#ask(), "primary"));
  }
}

/** A QR code with its quiet zone, dark on light, because many readers need it so. */
function qr_code(text: string, label: string): SVGSVGElement {
  const { size, data } = encode(text, { ecc: "L", border: 4 });
  let path = "";
  data.forEach((row, y) => {
    for (let x = 0; x < row.length; x += 1) if (row[x]) path += `M${x} ${y}h1v1h-1z`;
  });
  const svg = (tag: string, attributes: Record<string, string>) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const code = svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label, class: "qr", "shape-rendering": "crispEdges" }) as SVGSVGElement;
  code.append(svg("rect", { width: String(size), height: String(size), fill: "#fff" }), svg("path", { d: path, fill: "#000" }));
  return code;
}
