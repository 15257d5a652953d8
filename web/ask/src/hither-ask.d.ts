/** A thing of which only a digest was asked for: the JSON that the form gets. */
export interface HitherDigest {
  name: string;
  /** Bytes. */
  size: number;
  type: string;
  /** When it was made, ms since 1970. */
  made?: number;
  /** A small JPEG as a `data:` address. */
  thumbnail?: string;
}

/**
 * A field of a form that another device of its visitor fills. Fires `input` and `change` when something was given
 * or cleared, `cancel` when nothing was.
 */
export class HitherAsk extends HTMLElement {
  static readonly formAssociated: true;
  /** Origin of the relay, which must let this site ask: "https://relay.example.org". */
  relay: string;
  name: string;
  /** As an input has it; image, video or sound only asks for exactly that. */
  accept: string;
  /** Words for the person who is asked, at most 256 bytes. */
  reason: string;
  multiple: boolean;
  /** Asks only for name, size, type and a small picture; the form gets JSON (`HitherDigest`, a list with `multiple`). */
  digest: boolean;
  required: boolean;
  disabled: boolean;
  /** The name of the first file, or the digest; it can be set to "" only. */
  value: string;
  readonly files: readonly File[];
  readonly type: "hither-ask";
  readonly form: HTMLFormElement | null;
  readonly labels: NodeList;
  readonly validity: ValidityState;
  readonly validationMessage: string;
  readonly willValidate: boolean;
  checkValidity(): boolean;
  reportValidity(): boolean;
}

declare global {
  interface HTMLElementTagNameMap {
    "hither-ask": HitherAsk;
  }
}
