import { createBrowserRouter, isRouteErrorResponse, Navigate, useRouteError } from "react-router";
import { RequireRole } from "./auth/require-role";
import { ButtonLink, Card, Page } from "./components/basics";
import { Empty, ProblemView } from "./components/feedback";
import { ExplorerPage } from "./pages/explorer/page";
import { Shell } from "./shell";

function NotFound() {
  return (
    <Page title="Not found">
      <Card flush>
        <Empty title="There is no such page" action={<ButtonLink to="/explorer">To the explorer</ButtonLink>}>
          The address may have been mistyped, or what it named is gone.
        </Empty>
      </Card>
    </Page>
  );
}

function Failed() {
  const error = useRouteError();
  if (isRouteErrorResponse(error) && error.status === 404) return <NotFound />;
  return (
    <main className="main">
      <ProblemView error={error} retry={() => location.reload()} />
    </main>
  );
}

export const router = createBrowserRouter([
  {
    element: <Shell />,
    errorElement: <Failed />,
    hydrateFallbackElement: <div className="gate" role="status" aria-label="Starting" />,
    children: [
      { index: true, element: <Navigate to="/explorer" replace /> },
      { path: "explorer", element: <ExplorerPage /> },
      { path: "datasets", lazy: () => import("./pages/datasets/list") },
      { path: "datasets/:name", lazy: () => import("./pages/datasets/detail") },
      { path: "datasets/:name/upload", lazy: () => import("./pages/datasets/upload") },
      { path: "jobs", lazy: () => import("./pages/jobs/list") },
      { path: "jobs/:id", lazy: () => import("./pages/jobs/detail") },
      { path: "experiments/:id", lazy: () => import("./pages/experiments/leaderboard") },
      { path: "models", lazy: () => import("./pages/models/list") },
      { path: "models/:name", lazy: () => import("./pages/models/detail") },
      { path: "approvals", lazy: () => import("./pages/approvals/list") },
      { path: "usage", lazy: () => import("./pages/usage/page") },
      { path: "account", lazy: () => import("./pages/account/page") },
      {
        element: <RequireRole least="analyst" />,
        children: [{ path: "datasets/new", lazy: () => import("./pages/datasets/create") }],
      },
      {
        element: <RequireRole least="ml_engineer" />,
        children: [{ path: "jobs/new", lazy: () => import("./pages/jobs/train") }],
      },
      {
        element: <RequireRole least="admin" />,
        children: [
          { path: "users", lazy: () => import("./pages/users/list") },
          { path: "service-accounts", lazy: () => import("./pages/service-accounts/page") },
          // The page's address until it was named after what it lists.
          { path: "machines", element: <Navigate to="/service-accounts" replace /> },
          { path: "audit", lazy: () => import("./pages/audit/page") },
        ],
      },
      { path: "*", element: <NotFound /> },
    ],
  },
]);
