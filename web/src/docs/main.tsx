import { StrictMode, useEffect, useMemo, useState } from "react";
import { createRoot } from "react-dom/client";
import { problemOf } from "../api/problem";
import { Icon, Logo } from "../components/icons";
import { startTheme, toggleTheme, useTheme } from "../components/theme";
import "../design/index.css";
import "./docs.css";
import { type Document, type Route, routesByTag } from "./openapi";
import { RouteView } from "./route";

/** Reference of the API, drawn from the document that the server itself serves. */
function Reference() {
  const { document, error } = useDocument();
  const [filter, setFilter] = useState("");
  const groups = useMemo(() => (document ? matchingRoutes(document, filter) : []), [document, filter]);
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
        <RouteLinks groups={groups} />
      </nav>
      <main className="docs-main">
        <h1>API reference</h1>
        {error && (
          <p role="alert" className="notice bad">
            The description cannot be read: {error}
          </p>
        )}
        {document && <Introduction info={document.info} />}
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

function useDocument() {
  const [document, setDocument] = useState<Document | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    fetch("/openapi.json")
      .then(async (response) => {
        if (!response.ok) throw problemOf(null, response);
        setDocument((await response.json()) as Document);
      })
      .catch((thrown: Error) => setError(thrown.message));
  }, []);
  return { document, error };
}

type RouteGroup = readonly [tag: string, routes: Route[]];

function matchingRoutes(document: Document, filter: string): RouteGroup[] {
  const text = filter.toLowerCase();
  const matches = ({ method, path, operation }: Route) =>
    `${method} ${path} ${operation.description}`.toLowerCase().includes(text);
  return [...routesByTag(document)]
    .map(([tag, routes]) => [tag, routes.filter(matches)] as const)
    .filter(([, routes]) => routes.length > 0);
}

function RouteLinks({ groups }: { groups: RouteGroup[] }) {
  return groups.map(([tag, routes]) => (
    <section key={tag}>
      <h3>{tag}</h3>
      {routes.map((route) => (
        <a key={route.id} href={`#${route.id}`}>
          <span className={`verb ${route.method}`}>{route.method}</span>
          {route.path.replace(/^\/v1/, "")}
        </a>
      ))}
    </section>
  ));
}

function Introduction({ info }: { info: Document["info"] }) {
  return (
    <p className="muted">
      {info.description} Version {info.version}, base <code>/v1</code>. The same as{" "}
      <a href="/openapi.json">OpenAPI 3.1</a>. Errors are <code>application/problem+json</code>.
    </p>
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
