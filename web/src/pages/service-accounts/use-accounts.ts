import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import type { AccountValues } from "./account-form";

/** Function that reads the list of accounts again. */
export function useRefreshAccounts() {
  const client = useQueryClient();
  return () => client.invalidateQueries({ queryKey: ["clients"] });
}

/** Mutation that makes an account and hands over its secret, which is shown once. */
export function useCreateAccount(onSecret: (secret: string) => void) {
  const refresh = useRefreshAccounts();
  return useMutation({
    mutationFn: ({ name, role, scopes }: AccountValues) =>
      unwrap(api.POST("/v1/clients", { body: { name, role, scopes } })),
    onSuccess: async (account) => {
      await refresh();
      onSecret(account.client_secret);
    },
  });
}

/** Mutation that changes an account's role, scopes or state; its name stays. */
export function useChangeAccount(id: string, onDone: () => void) {
  const refresh = useRefreshAccounts();
  return useMutation({
    mutationFn: ({ role, scopes, disabled }: AccountValues) =>
      unwrap(
        api.PATCH("/v1/clients/{client_id}", {
          params: { path: { client_id: id } },
          body: { role, scopes, disabled },
        }),
      ),
    onSuccess: async () => {
      await refresh();
      onDone();
    },
  });
}
