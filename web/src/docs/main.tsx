import { StrictMode, useEffect, useMemo, useState } from "react";
import { createRoot } from "react-dom/client";
import { problemOf } from "../api/problem";
import { Icon, Logo } from "../components/icons";
import { startTheme, toggleTheme, useTheme } from "../components/theme";
import "../design/index.css";
import "./docs.css";
import { type Document, routesByTag } from "./openapi";
import { RouteView } from "./route";

/** The API's reference, drawn from the document that the server itself gives. */
function Reference() {
  const [document, setDocument] = useState<Document | null>(null);
  const [failed, setFailed] = useState("");
  const [filter, setFilter] = useState("");
  useEffect(() => {
    fetch("/openapi.json")
      .then(async (answer) => {
        if (!answer.ok) throw problemOf(null, answer);
        setDocument((await answer.json()) as Document);
      })
      .catch((error: Error) => setFailed(error.message));
  }, []);
  const groups = useMemo(() => {
    const all = document ? [...routesByTag(document)] : [];
    const wanted = filter.toLowerCase();
    return all.flatMap(([tag, routes]) => {
      const kept = routes.filter((r) =>
        `${r.method} ${r.path} ${r.operation.description}`.toLowerCase().includes(wanted),
      );
      return kept.length ? [[tag, kept] as const] : [];
    });
  }, [document, filter]);

  return (
    <div className="docs">
      <nav className="docs-nav" aria-label="Routes">
        <Header />
        <input
          className="input"
          type="search"
          aria-label="Filter the routes"
          placeholder="Filter"
          value={filter}
          onChange={(event) => setFilter(event.target.value)}
        />
        {groups.map(([tag, routes]) => (
          <section key={tag}>
            <h3>{tag}</h3>
            {routes.map((route) => (
              <a key={route.id} href={`#${route.id}`}>
                <span className={`verb ${route.method}`}>{route.method}</span>
                {route.path.replace(/^\/v1/, "")}
              </a>
            ))}
          </section>
        ))}
      </nav>
      <main className="docs-main">
        <h1>API reference</h1>
        {failed && (
          <p role="alert" className="notice bad">
            The description cannot be read: {failed}
          </p>
        )}
        {document && (
          <p className="muted">
            {document.info.description} Version {document.info.version}, base <code>/v1</code>. The same as{" "}
            <a href="/openapi.json">OpenAPI 3.1</a>. Errors are <code>application/problem+json</code>.
          </p>
        )}
        {document &&
          groups.map(([tag, routes]) => (
            <section key={tag} className="stack">
              <h2 className="tag">{tag}</h2>
              {routes.map((route) => (
                <RouteView key={route.id} document={document} route={route} />
              ))}
            </section>
          ))}
      </main>
    </div>
  );
}

function Header() {
  const theme = useTheme();
  return (
    <div className="docs-head">
      <a className="brand" href="/">
        <Logo />
        <b>quantis</b>
      </a>
      <button
        type="button"
        className="button ghost icon small"
        aria-label={theme === "dark" ? "Use the light theme" : "Use the dark theme"}
        onClick={toggleTheme}
      >
        <Icon name={theme === "dark" ? "sun" : "moon"} />
      </button>
    </div>
  );
}

startTheme();
const root = document.getElementById("root");
if (!root) throw new Error("docs/index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <Reference />
  </StrictMode>,
);
