import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, render, screen } from "@testing-library/react";
import { RouterProvider } from "react-router";
import { expect, test } from "vitest";
import { router } from "./routes";
import { get, page, server } from "./testing/server";
import { signIn } from "./testing/signed-in";

test("when the old address of the service accounts is opened, then it leads to the new one", async () => {
  await signIn();
  server.use(get("/v1/clients", page([])), get("/v1/api-keys", page([])));
  await act(() => router.navigate("/machines"));
  render(
    <QueryClientProvider client={new QueryClient()}>
      <RouterProvider router={router} />
    </QueryClientProvider>,
  );
  expect(await screen.findByRole("heading", { name: "Service accounts", level: 1 })).toBeInTheDocument();
  expect(router.state.location.pathname).toBe("/service-accounts");
});
