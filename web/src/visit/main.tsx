import { render } from "preact";
import { load_give_words } from "../give/words.ts";
import { current_language, type Language } from "../i18n/index.ts";
import { App } from "./app.tsx";
import { load_visit_words } from "./words.ts";
import "../ui-kit/ui-kit.css";
import "../give/give.css";
import "./visit.css";

const load = async (language: Language) => {
  await Promise.all([load_give_words(language), load_visit_words(language)]);
};

const root = document.getElementById("root");
void load(current_language()[0]).then(() => root && render(<App load={load} />, root));
