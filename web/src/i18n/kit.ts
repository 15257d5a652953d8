import de from "./kit.de.json";
import en from "./kit.en.json";
import zh from "./kit.zh.json";
import type { Catalogues } from "./index.ts";

/** Words of the kit itself. A page has its own catalogue beside it, made the same way. */
export const kit: Catalogues<keyof typeof en> = { en, de, zh };
