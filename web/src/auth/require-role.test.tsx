import { screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { renderPage } from "../testing/render";
import { signIn } from "../testing/signed-in";
import { RequireRole } from "./require-role";

const Admins = () => <RequireRole least="admin" />;

test("when a page is for a higher role, then it says which one instead of failing", async () => {
  await signIn({ role: "analyst" });
  renderPage(Admins, "/users", "/users");
  expect(await screen.findByText("This page needs the role Admin")).toBeInTheDocument();
  expect(screen.getByText(/You are signed in as ada, Analyst/)).toBeInTheDocument();
});
