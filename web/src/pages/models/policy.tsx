import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "react-router";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { modelPolicy, modelTraffic } from "../../api/queries-admin";
import type { Policy } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { Confirm } from "../../components/confirm";
import { Notice } from "../../components/feedback";
import { trafficText } from "../approvals/labels";

/** Policy of promotions, with a button for admins that changes it. */
export function PolicyNote({ model }: { model: string }) {
  const client = useQueryClient();
  const admin = useMay("admin");
  const policy = useQuery(modelPolicy(model));
  const traffic = useQuery(modelTraffic(model));
  if (!policy.data) return null;
  const twoPersons = policy.data === "two_person";
  const set = async (to: Policy) => {
    const params = { path: { name: model } };
    await unwrap(api.PUT("/v1/models/{name}/policy", { params, body: { policy: to } }));
    await Promise.all(["models", "approvals"].map((key) => client.invalidateQueries({ queryKey: [key] })));
  };
  return (
    <Notice
      title={twoPersons ? "Two people decide which version serves" : "The gate decides which version serves"}
      action={
        admin &&
        (twoPersons ? (
          <Confirm
            button="Let the gate decide"
            title="Let the gate decide alone?"
            action="Ask for it"
            run={() => set("gate")}
          >
            Another person must approve this under Approvals. Until then two people go on deciding.
          </Confirm>
        ) : (
          <Confirm
            button="Let two people decide"
            title="Let two people decide?"
            action="Let two people decide"
            run={() => set("two_person")}
          >
            It holds at once. Whoever promotes a version then needs another person who approves it.
          </Confirm>
        ))
      }
    >
      <p>
        {twoPersons ? (
          <>
            One asks, another approves under <Link to="/approvals">Approvals</Link>; the gate must pass too.
          </>
        ) : (
          "A version that beats seasonal naive may be promoted by one person."
        )}
      </p>
      {traffic.data && traffic.data.shares.length > 0 && (
        <p>Requests that name no version are divided: {trafficText(traffic.data)}.</p>
      )}
    </Notice>
  );
}
