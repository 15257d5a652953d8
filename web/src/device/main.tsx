import { render } from "preact";
import { load_give_words } from "../give/words.ts";
import { current_language, type Language } from "../i18n/index.ts";
import { load_words } from "../link/words.ts";
import { App } from "./app.tsx";
import { elsewhere } from "./links.ts";
import { load_device_words } from "./words.ts";
import "../ui-kit/ui-kit.css";
import "../link/link.css";
import "../give/give.css";
import "./device.css";

const load = async (language: Language) => {
  await Promise.all([load_words(language), load_give_words(language), load_device_words(language)]);
};

const root = document.getElementById("root");
const other = elsewhere(location.hash);
// A link that was opened at the wrong page of this relay still opens.
if (other) location.replace(other);
else void load(current_language()[0]).then(() => root && render(<App load={load} />, root));
