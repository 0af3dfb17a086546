"""The sample's nine steps with a requests session that verifies the server's certificate."""
import json
import sys

import requests

url, ca, username, password = sys.argv[1:]
session = requests.Session()
session.verify = ca
# a CA bundle named in the environment would win over the line above
session.trust_env = False
session.headers["accept"] = "application/json"
seen = []


def call(path, body):
    answer = session.post(f"{url}/api/{path}", json=body)
    value = answer.json()
    if answer.ok:
        return value["result"]["data"].get("msg", str(answer.status_code))
    data = value["error"]["data"]
    message = f" {value['error']['message']}" if data["reason"] == "invalid_credentials" else ""
    return f"{answer.status_code} {data['reason']}{message}"


seen.append(call("notauthFunc", {"a": 1}))
seen.append(call("authFunc", {"a": 1}))
seen.append(call("auth.login", {"username": username, "password": "a wrong password"}))
seen.append(call("auth.login", {"username": username, "password": password}))
seen.append(call("notauthFunc", {"a": 1}))
seen.append(call("authFunc", {"a": 1}))
seen.append(call("auth.logout", {}))
seen.append(call("notauthFunc", {"a": 1}))
seen.append(call("authFunc", {"a": 1}))
print(json.dumps(seen))
