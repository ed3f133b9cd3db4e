import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api } from "../../api/client";
import { asProblem, unwrap } from "../../api/problem";
import { CodeField } from "../../auth/code-field";
import { PasswordField } from "../../auth/password-field";
import { Button } from "../../components/basics";
import { ProblemView } from "../../components/feedback";

export function ChangePassword({ userName, onDone }: { userName: string; onDone: () => void }) {
  const client = useQueryClient();
  const [needsCode, setNeedsCode] = useState(false);
  const change = useMutation({
    mutationFn: (body: { current: string; new: string; otp?: string }) =>
      unwrap(api.POST("/v1/users/me/password", { body })),
    onError: (error) => {
      if (asProblem(error).code === "second_factor_required") setNeedsCode(true);
    },
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ["sessions"] });
      onDone();
    },
  });
  const refused = change.error && asProblem(change.error).code !== "second_factor_required" && change.error;
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const code = String(form.get("code") ?? "").replace(/\s/g, "");
    const [current, next] = [String(form.get("current")), String(form.get("password"))];
    change.mutate({ current, new: next, ...(code && { otp: code }) });
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      <input type="hidden" name="username" autoComplete="username" value={userName} />
      <PasswordField label="The password now" name="current" autoComplete="current-password" />
      <PasswordField label="The new password" autoComplete="new-password" />
      {needsCode && <CodeField autoFocus />}
      {refused && <ProblemView error={refused} />}
      <footer>
        <Button onClick={onDone}>Cancel</Button>
        <Button type="submit" variant="primary" disabled={change.isPending}>
          Change the password
        </Button>
      </footer>
    </form>
  );
}
