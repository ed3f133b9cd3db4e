import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { RouterProvider } from "react-router";
import { worthRetrying } from "./api/queries";
import { session } from "./auth/session";
import { startTheme } from "./components/theme";
import "./design/index.css";
import { router } from "./routes";

const client = new QueryClient({
  defaultOptions: { queries: { retry: worthRetrying, staleTime: 5_000, refetchOnWindowFocus: false } },
});

// Nothing that one user has read may be shown to the next.
session.subscribe(() => {
  if (session.status === "out") client.clear();
});

startTheme();
session.resume();

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  </StrictMode>,
);
