import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { PasswordField } from "../../auth/password-field";
import { Button } from "../../components/basics";
import { ProblemView } from "../../components/feedback";

export function ChangePassword({ userName, onDone }: { userName: string; onDone: () => void }) {
  const client = useQueryClient();
  const change = useMutation({
    mutationFn: (body: { current: string; new: string }) =>
      unwrap(api.POST("/v1/users/me/password", { body })),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ["sessions"] });
      onDone();
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    change.mutate({ current: String(form.get("current")), new: String(form.get("password")) });
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      <input type="hidden" name="username" autoComplete="username" value={userName} />
      <PasswordField label="The password now" name="current" autoComplete="current-password" />
      <PasswordField label="The new password" autoComplete="new-password" />
      {change.error && <ProblemView error={change.error} />}
      <footer>
        <Button onClick={onDone}>Cancel</Button>
        <Button type="submit" variant="primary" disabled={change.isPending}>
          Change the password
        </Button>
      </footer>
    </form>
  );
}
