import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import { problemOf } from "../api/problem";
import { ProblemView } from "./feedback";

const answer = (status: number, headers: Record<string, string> = {}) => ({
  status,
  headers: new Headers(headers),
});

test("when the server explains a problem, then title, detail, fields and request id are shown", () => {
  const problem = problemOf(
    {
      title: "Invalid input",
      status: 422,
      detail: "/h: must be at least 1",
      code: "invalid_input",
      request_id: "req-42",
      errors: [{ pointer: "/body/h", message: "must be at least 1" }],
    },
    answer(422),
  );
  render(<ProblemView error={problem} />);
  const alert = screen.getByRole("alert");
  expect(alert).toHaveTextContent("Invalid input");
  expect(alert).toHaveTextContent("/h: must be at least 1");
  expect(alert).toHaveTextContent("/body/h must be at least 1");
  expect(alert).toHaveTextContent("Request req-42");
});

test("when a proxy answers with a page instead, then the status and the header's request id are still shown", () => {
  render(
    <ProblemView error={problemOf("<html>Bad gateway</html>", answer(502, { "x-request-id": "req-9" }))} />,
  );
  expect(screen.getByRole("alert")).toHaveTextContent("The server failed");
  expect(screen.getByRole("alert")).toHaveTextContent("502");
  expect(screen.getByRole("alert")).toHaveTextContent("req-9");
  expect(screen.getByRole("alert")).not.toHaveTextContent("<html>");
});

test("when nobody answers, then it says what to look at, and trying again is offered", async () => {
  const retry = vi.fn();
  render(<ProblemView error={new TypeError("Failed to fetch")} retry={retry} />);
  expect(screen.getByRole("alert")).toHaveTextContent("quantis doctor");
  await userEvent.click(screen.getByRole("button", { name: "Try again" }));
  expect(retry).toHaveBeenCalledOnce();
});
