import { Link } from "react-router";
import { Notice } from "../../components/feedback";

/** Notice that a change waits until another person approves it. */
export function ApprovalNotice() {
  return (
    <Notice tone="good" title="Asked for">
      <p>
        Another person must approve it, under <Link to="/approvals">Approvals</Link>. Until then nothing
        changes.
      </p>
    </Notice>
  );
}
