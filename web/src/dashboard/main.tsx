import { render } from "preact";
import { LanguageProvider, useLanguageChoice } from "../i18n/index.ts";
import "../ui-kit/ui-kit.css";
import { App } from "./app.tsx";
import "./dashboard.css";
import { Live } from "./live.ts";

const live = new Live();

function Root() {
  return (
    <LanguageProvider value={useLanguageChoice()}>
      <App live={live} />
    </LanguageProvider>
  );
}

const place = document.getElementById("app");
if (place) render(<Root />, place);
live.begin();
