import { screen } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { expect, test } from "vitest";
import { Shell } from "./shell";
import { renderPage } from "./testing/render";
import { at, get, server } from "./testing/server";
import { signIn } from "./testing/signed-in";

test("when somebody is signed in, then every page's frame has the way out, and it leads to the sign-in", async () => {
  await signIn();
  const revoked: string[] = [];
  server.use(
    get("/v1/setup", { open: false, oidc: false }),
    http.post(at("/v1/oauth/revoke"), async ({ request }) => {
      revoked.push(await request.text());
      return new HttpResponse(null, { status: 204 });
    }),
  );
  const { user } = renderPage(Shell, "/explorer", "/explorer");
  await user.click(await screen.findByRole("button", { name: "Sign out" }));
  expect(await screen.findByLabelText(/Password/)).toBeInTheDocument();
  expect(screen.queryByRole("navigation", { name: "Main" })).not.toBeInTheDocument();
  expect(revoked).toHaveLength(1);
});
