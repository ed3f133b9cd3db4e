import { screen, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { expect, test } from "vitest";
import { api } from "../api/client";
import { renderPage } from "../testing/render";
import { at, get, problem, server } from "../testing/server";
import { ADA, signIn } from "../testing/signed-in";
import { PasswordAgain } from "./password-again";

const createKey = () => api.POST("/v1/api-keys", { body: { name: "nightly" } });

/** API that makes keys for whoever gave the password `correct horse` and the code 123456 again. */
function guarded() {
  const seen = { headers: [] as (string | null)[], bodies: [] as unknown[] };
  server.use(
    http.post(at("/v1/api-keys"), ({ request }) => {
      const header = request.headers.get("Quantis-Reauthentication");
      seen.headers.push(header);
      if (header === "again") return HttpResponse.json({ id: "k1" }, { status: 201 });
      return problem(403, "Your password is needed again", "ask", { code: "reauthentication_required" });
    }),
    http.post(at("/v1/users/me/reauthentication"), async ({ request }) => {
      const body = (await request.json()) as { password?: string; otp?: string };
      seen.bodies.push(body);
      if (body.password !== "correct horse") {
        return problem(403, "Again", "the password is wrong", { code: "reauthentication_required" });
      }
      if (!body.otp) return problem(401, "A code", "send otp", { code: "second_factor_required" });
      return HttpResponse.json({ token: "again", expires_in: 300 }, { status: 201 });
    }),
  );
  return seen;
}

test("when a call needs the password again, then it is asked for with its code, and the call goes on", async () => {
  await signIn();
  const seen = guarded();
  const { user } = renderPage(PasswordAgain, "/", "/");
  const created = createKey();
  const dialog = await screen.findByRole("dialog", { name: "Your password, again" });
  await user.type(await within(dialog).findByLabelText("Password"), "wrong{Enter}");
  expect(await within(dialog).findByRole("alert")).toHaveTextContent("the password is wrong");
  await user.clear(within(dialog).getByLabelText("Password"));
  await user.type(within(dialog).getByLabelText("Password"), "correct horse{Enter}");
  await user.type(await within(dialog).findByLabelText("Code"), "123 456{Enter}");
  expect((await created).response.status).toBe(201);
  expect(seen.headers).toEqual([null, "again"]);
  expect(seen.bodies).toEqual([
    { password: "wrong" },
    { password: "correct horse" },
    { password: "correct horse", otp: "123456" },
  ]);
  expect((await createKey()).response.status).toBe(201);
  expect([localStorage.length, sessionStorage.length]).toEqual([0, 0]);
});

test("when the dialog is closed, then the refusal is given on", async () => {
  await signIn();
  server.use(
    http.post(at("/v1/api-keys"), () => problem(403, "Again", "ask", { code: "reauthentication_required" })),
  );
  const { user } = renderPage(PasswordAgain, "/", "/");
  const created = createKey();
  await user.click(await screen.findByRole("button", { name: "Cancel" }));
  expect((await created).response.status).toBe(403);
});

test("when the user signs in at an organisation, then a new sign-in there is offered", async () => {
  await signIn({ external: true });
  server.use(
    http.post(at("/v1/api-keys"), () => problem(403, "Again", "ask", { code: "reauthentication_required" })),
    http.post(at("/v1/users/me/reauthentication"), () => problem(403, "Again", "sign in there again")),
    get("/v1/users/me", { ...ADA, external: true }),
  );
  const { user } = renderPage(PasswordAgain, "/", "/");
  const created = createKey();
  const link = await screen.findByRole("link", { name: "Sign in with your organisation" });
  expect(link).toHaveAttribute("href", "/v1/oauth/oidc/start?prompt=login");
  await user.click(screen.getByRole("button", { name: "Continue" }));
  expect(await screen.findByRole("alert")).toHaveTextContent("sign in there again");
  await user.click(screen.getByRole("button", { name: "Cancel" }));
  expect((await created).response.status).toBe(403);
});
