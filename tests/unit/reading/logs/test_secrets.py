"""No answer holds a secret that a text or a log has, in any field; what only looks like a secret stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from raymemprof import explain, ooms
from raymemprof.reading.logs.secrets import without_secrets
from tests.paths import DATA
from tests.unit.reading.logs.test_layouts import LAYOUTS

SECRET = "hunter2Zq9"
LONG = f"{SECRET}abcdefghijklmnopqrstuvwxyz0123456789"
SECRETS = [
    f"https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={SECRET}%2F20260101%2Fs3&X-Amz-Security-Token={LONG}&X-Amz-Signature=aeeed9bb{SECRET}&x=1",
    f"https://a.blob.core.windows.net/c/b?sv=2021-06-08&sig={SECRET}abcdefghijk%2Bxyz%3D&se=2026",
    f"https://hooks.slack.com/services/T00/B00/{SECRET}",
    f"curl -u joe:{SECRET} https://example.com",
    f"curl -s --user 'joe:{SECRET}' https://example.com",
    f"mysql -u root -p{SECRET} db",
    f"sshpass -p {SECRET} ssh a",
    f"redis-cli -a {SECRET}",
    f"docker login -u joe -p {SECRET}",
    f"python a.py --password {SECRET} --lr 3",
    f"python a.py --token={SECRET}",
    f"python a.py --hf-token {SECRET}",
    f"python a.py --api_key {SECRET}",
    f"['a.py', '--password', '{SECRET}']",
    f"Authorization: Bearer {SECRET}",
    f"Authorization: Basic {SECRET}==",
    f"-H 'Authorization: token {SECRET}'",
    f'"authorization": "Bearer {SECRET}"',
    f"Cookie: session={SECRET}; a=b",
    f"postgres://joe:{SECRET}@db:5432/x",
    f"redis://:{SECRET}@h:6379",
    f"https://joe:p@{SECRET}@host/x",
    f"AWS_SECRET_ACCESS_KEY={SECRET}",
    f"export WANDB_API_KEY={SECRET}",
    f'HF_TOKEN="{SECRET}"',
    f"'HF_TOKEN': '{SECRET}'",
    f"DB_PASS={SECRET}",
    f"MYSQL_PWD={SECRET}",
    f"password: {SECRET}",
    f"password='{SECRET} and more'",
    f"client_secret={SECRET}&x=1",
    f"accessToken: {SECRET}",
    f"AZURE_STORAGE_KEY={LONG}==",
    f"AccountName=x;AccountKey={SECRET}==;EndpointSuffix=x",
    f"ghp_{LONG}",
    f"github_pat_11AA{LONG}",
    f"hf_{LONG}",
    f"sk-proj-{LONG}",
    f"sk-{LONG}",
    f"sk_live_{LONG}",
    f"sk-ant-api03-{LONG}",
    f"xoxb-123456789012-{LONG}",
    f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIi{LONG}.abc",
]
PEM = f"-----BEGIN RSA PRIVATE KEY-----\nMIIE{LONG}{LONG}\n{SECRET}=\n-----END RSA PRIVATE KEY-----"
INNOCENT = [
    "--num-tokens 5",
    "--token-count 5",
    "token_count=5",
    "max_new_tokens=512",
    "the token is 5",
    "startup_token=5",
    "token: 5.5GiB",
    'pad_token="<pad>"',
    "pad_token='x'",
    "eos_token='</s>'",
    "next_token: foo",
    "--tokenizer meta/llama",
    "PWD=/home/me",
    "name=refresh_token, pid=5",
    "ray::get_token",
    "Task get_secret failed",
    'File "/app/secret.py", line 5',
    "/etc/secrets/token",
    "--password-file /etc/x",
    "secretName: foo",
    "password is required",
    "password: required",
    "password=$PASSWORD",
    "def f(token: str)",
    "bypass: 5",
    "PASS: test_a",
    "docker run -u 1000:1000 -p 8080:80",
    "mysql -P 3306",
    "redis-cli -p 6379",
    "sig=11 res=1",
    "signature: (a, b)",
    "sk-learn",
    "hf_model_loader",
    "shard_key=abc",
    "--author me",
    "http://10.0.0.1:8265/a@b",
    "Basic training",
    "user@1000.service",
    "vault-token-injector-0",
    "00ffffffffffffffffffffffffffffffffffffff0100000001000000",
    f"sha256:{'ab' * 32}",
]
KILL = (DATA / "ray-2.60/task-oom.txt").read_text()


def told(text: str, folder: Path) -> str:
    found = explain(text, folder)
    return f"{found}{found._repr_html_()}{found.to_json()}{found.victims}{found.top_processes}{found.advice}"


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_hidden(secret: str) -> None:
    hidden = without_secrets(f"before {secret} after")
    assert SECRET not in hidden
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    assert without_secrets(hidden) == hidden


@pytest.mark.parametrize("innocent", INNOCENT)
def test_what_only_looks_like_a_secret_stays(innocent: str) -> None:
    assert without_secrets(f"before {innocent} after") == f"before {innocent} after"


@pytest.mark.parametrize("prefix", ["", "(f pid=7) ", "2026-01-01T00:00:00Z "])
def test_a_private_key_is_hidden_to_its_end(prefix: str) -> None:
    text = "\n".join(prefix + line for line in ["before", *PEM.splitlines(), "Killed process 4123 (python)"])
    assert SECRET not in without_secrets(text)
    assert text.startswith(f"{prefix}before")
    assert without_secrets(text).endswith("Killed process 4123 (python)")
    cut = without_secrets(text.partition(f"\n{prefix}{SECRET}=")[0] + f"\n{prefix}Killed process 4123 (python)")
    assert SECRET not in cut
    assert cut.endswith(f"{prefix}Killed process 4123 (python)")


def test_no_field_has_a_secret(tmp_path: Path) -> None:
    """In a name, in a command, in a log around it and in what a person says."""
    for secret in SECRETS:
        rows = f"4123\t9.00\tpython {secret}\n4124\t8.00\tsh -c '{secret}'\n"
        text = KILL.replace("COMMAND\n", f"COMMAND\n{rows}").replace("task name=allocate_memory", f"task name={secret}")
        assert SECRET not in told(f"{secret}\n{text}\nI ran {secret}, and it ran out of memory.", tmp_path)
        assert SECRET not in told(f"Killed process 41 ({secret}) total-vm:12kB, anon-rss:12kB, file-rss:0kB", tmp_path)
        assert SECRET not in told(f"torch.OutOfMemoryError: CUDA out of memory. {secret}", tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_layout_has_a_secret(layout: str, tmp_path: Path) -> None:
    rows = "".join(f"{pid}\t9.00\tpython a.py {secret}\n" for pid, secret in enumerate(SECRETS[9:13], 4123))
    text = f"{SECRETS[23]}\n{KILL.replace('COMMAND', 'COMMAND' + chr(10) + rows.rstrip())}\n{SECRETS[29]}"
    assert SECRET not in told(LAYOUTS[layout](text), tmp_path)


def test_no_log_s_secret_is_in_a_kill(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(DATA / "ray-2.60", logs / "events")
    events = logs / "events" / "event_RAYLET.log"
    text = events.read_text()
    secret = json.dumps(f"python a.py --password {SECRET}")[1:-1]
    assert "ray::" in text
    events.write_text(text.replace("ray::", f"{secret} ray::"))
    kills = ooms(logs)
    assert len(kills) > 0
    assert any("--password …" in process.command for kill in kills for process in kill.top_processes)
    assert SECRET not in f"{kills}{kills.to_json()}{[kill.top_processes for kill in kills]}"
