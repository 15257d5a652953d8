import de from "./dashboard.de.json";
import en from "./dashboard.en.json";
import zh from "./dashboard.zh.json";
import { joined, type Catalogues } from "./index.ts";
import { kit } from "./kit.ts";

const own: Catalogues<keyof typeof en> = { en, de, zh };

/** Words of the dashboard, with those of the kit. */
export const dashboard = joined(kit, own);
export type Word = keyof (typeof dashboard)["en"];
