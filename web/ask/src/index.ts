/** `<hither-ask>`: loading this module defines the element. */
import { HitherAsk } from "./element.ts";

if (!customElements.get("hither-ask")) customElements.define("hither-ask", HitherAsk);

export { HitherAsk };
