/**
 * A field of a form that another device of its visitor fills: it behaves as a file input does. The key that the
 * answer is sealed for is made in the page that embeds the element, so that the relay's code never sees a file.
 * The page that the visitor opens and this one exchange no messages: what is given comes through the core.
 */
import { AskDialog } from "./dialog.ts";
import { digest_of, type Given } from "./given.ts";
import { sheet } from "./style.ts";
import { make } from "./dom.ts";
import { words_of, type AskWords } from "./words.ts";

export class HitherAsk extends HTMLElement {
  static readonly formAssociated = true;
  static readonly observedAttributes = ["label", "lang", "required", "multiple", "digest", "disabled"];

  readonly #internals = this.attachInternals();
  readonly #root = this.attachShadow({ mode: "closed", delegatesFocus: true });
  readonly #button = make("button", { type: "button", part: "button", "aria-describedby": "value" });
  readonly #slot = make("slot");
  readonly #value = make("span", { id: "value", part: "value", role: "status" });
  readonly #clear = make("button", { type: "button", part: "clear", class: "clear", hidden: "" });
  #files: readonly File[] = [];
  /** JSON of a digest; empty where there are files or nothing. */
  #digest = "";
  #disabled = false;
  #dialog: AskDialog | undefined;
  /** A click that came from inside: it was acted on already. */
  #inside: Event | undefined;

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [sheet()];
    this.#button.append(this.#slot);
    this.#root.append(this.#button, this.#value, this.#clear);
    this.#button.addEventListener("click", (event) => {
      this.#inside = event;
      this.#open();
    });
    this.#clear.addEventListener("click", (event) => {
      this.#inside = event;
      this.#set([], "");
      this.#told();
      this.#button.focus();
    });
    // A label of the form, or `click()`, comes to the element itself.
    this.addEventListener("click", (event) => {
      if (event !== this.#inside && event.target === this) this.#open();
    });
    this.addEventListener("focus", () => this.#name());
  }

  connectedCallback(): void {
    this.#draw();
  }

  disconnectedCallback(): void {
    this.#dialog?.cancel();
  }

  attributeChangedCallback(): void {
    this.#draw();
  }

  formDisabledCallback(disabled: boolean): void {
    this.#disabled = disabled;
    if (disabled) this.#dialog?.cancel();
    this.#draw();
  }

  formResetCallback(): void {
    this.#set([], "");
  }

  /** The browser gives back what was there before: files where it kept them, or a digest. */
  formStateRestoreCallback(state: File | string | FormData | null): void {
    if (typeof state === "string") this.#set([], state);
    else if (state instanceof File) this.#set([state], "");
    else if (state instanceof FormData) this.#set([...state.values()].filter((one): one is File => one instanceof File), "");
  }

  // ---- As an input has it

  get type(): string { return "hither-ask"; }
  get form(): HTMLFormElement | null { return this.#internals.form; }
  get labels(): NodeList { return this.#internals.labels; }
  get validity(): ValidityState { return this.#internals.validity; }
  get validationMessage(): string { return this.#internals.validationMessage; }
  get willValidate(): boolean { return this.#internals.willValidate; }
  checkValidity(): boolean { return this.#internals.checkValidity(); }
  reportValidity(): boolean { return this.#internals.reportValidity(); }

  get name(): string { return this.getAttribute("name") ?? ""; }
  set name(name: string) { this.setAttribute("name", name); }
  get accept(): string { return this.getAttribute("accept") ?? ""; }
  set accept(accept: string) { this.setAttribute("accept", accept); }
  get relay(): string { return this.getAttribute("relay") ?? ""; }
  set relay(relay: string) { this.setAttribute("relay", relay); }
  get reason(): string { return this.getAttribute("reason") ?? ""; }
  set reason(reason: string) { this.setAttribute("reason", reason); }
  get multiple(): boolean { return this.hasAttribute("multiple"); }
  set multiple(on: boolean) { this.toggleAttribute("multiple", on); }
  get digest(): boolean { return this.hasAttribute("digest"); }
  set digest(on: boolean) { this.toggleAttribute("digest", on); }
  get required(): boolean { return this.hasAttribute("required"); }
  set required(on: boolean) { this.toggleAttribute("required", on); }
  get disabled(): boolean { return this.hasAttribute("disabled"); }
  set disabled(on: boolean) { this.toggleAttribute("disabled", on); }

  /** The files that were given; empty with `digest`. */
  get files(): readonly File[] { return this.#files; }
  /** The name of the first file, or the digest; it can be set to nothing only. */
  get value(): string { return this.#digest || (this.#files[0]?.name ?? ""); }
  set value(value: string) {
    if (value !== "") throw new DOMException("only an empty value can be set", "InvalidStateError");
    this.#set([], "");
  }

  // ---- Inside

  get #words(): AskWords {
    return words_of(this.closest("[lang]")?.getAttribute("lang") ?? "");
  }

  #open(): void {
    if (this.#disabled || this.#dialog || !this.isConnected) return;
    const wasm = this.getAttribute("wasm") ?? new URL("hither.wasm", import.meta.url).href;
    const dialog = new AskDialog({ relay: this.relay, wasm, accept: this.accept, multiple: this.multiple, digest: this.digest, reason: this.reason, words: this.#words });
    this.#dialog = dialog;
    this.#button.setAttribute("aria-expanded", "true");
    this.#root.append(dialog.element);
    void dialog.run().then((given) => {
      this.#dialog = undefined;
      this.#button.removeAttribute("aria-expanded");
      dialog.element.remove();
      this.#button.focus();
      if (given) this.#take(given);
      else this.dispatchEvent(new Event("cancel", { bubbles: true }));
    });
  }

  #take(given: Given): void {
    this.#set(given.files, given.digests.length > 0 ? digest_of(given.digests, this.multiple) : "");
    this.#told();
  }

  #told(): void {
    this.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
    this.dispatchEvent(new Event("change", { bubbles: true }));
  }

  #set(files: readonly File[], digest: string): void {
    this.#files = Object.freeze([...files]);
    this.#digest = digest;
    const [first] = files;
    if (digest !== "") this.#internals.setFormValue(digest, digest);
    else if (!first) this.#internals.setFormValue(null);
    else if (files.length === 1) this.#internals.setFormValue(first, first);
    else {
      // Several values go under the element's name, as a file input's do.
      const data = new FormData();
      for (const file of files) data.append(this.name, file);
      this.#internals.setFormValue(data, data);
    }
    this.#draw();
  }

  #draw(): void {
    const { t, title } = this.#words;
    const empty = this.#files.length === 0 && this.#digest === "";
    this.#slot.textContent = this.getAttribute("label") ?? t(this.multiple ? "choose_many" : "choose");
    this.#button.disabled = this.#disabled;
    this.#clear.hidden = empty || this.#disabled;
    this.#clear.textContent = t("clear");
    this.#value.textContent = empty ? t("nothing") : title(this.#files, this.#digest);
    if (this.required && empty) this.#internals.setValidity({ valueMissing: true }, t("missing"), this.#button);
    else this.#internals.setValidity({});
    this.#name();
  }

  /** Labels of the form name the button too; they may come and go. */
  #name(): void {
    const label = [...this.#internals.labels].map((node) => node.textContent?.trim() ?? "").filter((text) => text !== "").join(" ");
    const own = this.getAttribute("aria-label") ?? label;
    if (own === "") return this.#button.removeAttribute("aria-label");
    const said = this.textContent?.trim() || (this.#slot.textContent ?? "");
    this.#button.setAttribute("aria-label", `${own}: ${said}`);
  }
}
