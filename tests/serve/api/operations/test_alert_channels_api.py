from __future__ import annotations

HOOK = {
    "kind": "webhook",
    "name": "pager",
    "url": "https://hooks.example.org/tok3n",
    "secret": "0123456789abcdef",
}


def test_when_a_channel_is_made_then_address_and_secret_are_in_no_answer_and_in_no_audit_event(world):
    admin = world.client("admin")
    made = admin.post("/v1/alert-channels", json=HOOK)
    assert made.status_code == 201, made.text
    path = f"/v1/alert-channels/{made.json()['id']}"
    change = {"url": "https://hooks.example.org/t0ken", "secret": "fedcba9876543210"}
    answers = [made, admin.patch(path, json=change), admin.get(path), admin.get("/v1/alert-channels")]
    answers.append(admin.get("/v1/audit-events"))
    for answer in answers:
        assert answer.is_success, answer.text
        for secret in ("tok3n", "t0ken", HOOK["secret"], change["secret"]):
            assert secret not in answer.text
    assert made.json()["target"] == "https://hooks.example.org/..."
    assert world.services.alert_channels.secrets("default", made.json()["id"]) == change


def test_when_a_host_is_not_allowed_then_the_refusal_does_not_echo_the_token(world, problem):
    admin = world.client("admin")
    for host in ("evil.example.org", "127.0.0.1", "169.254.169.254", "hooks.example.org:8000"):
        answer = admin.post("/v1/alert-channels", json={**HOOK, "url": f"https://{host}/tok3n"})
        assert "tok3n" not in str(problem(answer, 403, "forbidden"))
    answer = admin.post("/v1/alert-channels", json={**HOOK, "secret": "sh0rt", "url": "ftp://x/tok3n"})
    assert "tok3n" not in answer.text
    assert "sh0rt" not in answer.text


def test_when_a_channel_is_tested_then_the_notification_is_listed_and_can_be_sent_again(world, problem):
    admin = world.client("admin")
    path = f"/v1/alert-channels/{admin.post('/v1/alert-channels', json=HOOK).json()['id']}"
    delivery = admin.post(f"{path}/test").json()
    assert (delivery["state"], delivery["channel_name"]) == ("pending", "pager")
    listed = admin.get("/v1/alert-deliveries", params={"state": "pending"}).json()["items"]
    assert [item["id"] for item in listed] == [delivery["id"]]
    replay = f"/v1/alert-deliveries/{delivery['id']}/replay"
    problem(admin.post(replay), 409, "conflict")
    world.services.alert_deliveries.settle("default", delivery["id"], "200 ok")
    again = admin.post(replay).json()
    assert (again["id"], again["state"]) == (delivery["id"], "pending")
    assert admin.delete(path).status_code == 204
    assert admin.get(replay.removesuffix("/replay")).json()["response"] == "the channel was deleted"


def test_when_mail_has_no_server_then_the_answer_names_the_setting(world, problem):
    mail = {"kind": "mail", "name": "post", "recipients": ["ada@example.org"]}
    answer = problem(world.client("admin").post("/v1/alert-channels", json=mail), 403, "forbidden")
    assert "QUANTIS_SMTP_HOST" in answer["detail"]
