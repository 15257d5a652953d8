import { render } from "preact";
import { LanguageProvider, useLanguageChoice } from "../i18n/index.ts";
import "../ui-kit/ui-kit.css";
import { sign_in } from "./api.ts";
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
// Another address that `hither ui` opened in this tab: nothing but its fragment differs.
window.addEventListener("hashchange", () => {
  if (location.hash.startsWith("#open=")) location.reload();
});
await sign_in();
if (place) render(<Root />, place);
live.begin();
