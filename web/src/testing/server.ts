import { type DefaultBodyType, HttpResponse, http } from "msw";
import { setupServer } from "msw/node";

/** API as a test describes it; an unexpected request fails the test. */
export const server = setupServer();

export const at = (path: string) => `http://quantis.test${path}`;

export const get = (path: string, body: DefaultBodyType) => http.get(at(path), () => HttpResponse.json(body));

export const page = <T>(items: T[]) => ({ items, next_cursor: null });

export function problem(status: number, title: string, detail: string, more: object = {}) {
  const body = {
    type: "about:blank",
    title,
    status,
    detail,
    code: "some_code",
    request_id: "req-1",
    errors: [],
    ...more,
  };
  return HttpResponse.json(body, { status, headers: { "Content-Type": "application/problem+json" } });
}
