"""A legacy server on a pipe that has a secret in everything that it says."""
import json, sys

# In two parts, so that it is not in the command line.
SECRET = "ghp_" + "318wPfvnmcZm8jFzhUXA8iNWWgoZXrugg3af"
LEAK = "so " + SECRET + " it is"
# For who is obliged to the pack `pii`.
MAIL = LEAK + ", says alice@acme.com"
heard_aside = heard_mail = False
answers = 0
# Airlock puts a handle of its own in the place of the id, which is not looked at.
TASK = {"taskId": SECRET, "status": "working", "statusMessage": LEAK, "ttl": 60000,
        "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z"}


def send(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def notify(method, params):
    send({"method": method, "params": params})


def call(ident, params):
    tool = params["name"]
    token = params.get("_meta", {}).get("progressToken")
    if tool == "heard":
        heard = SECRET in json.dumps(params)
        return {"content": [{"type": "text", "text": "heard it" if heard else "heard nothing of it"}],
                "structuredContent": {"keys": sorted(params["arguments"])}}
    if tool == "all":
        if token is not None:
            notify("notifications/progress", {"progressToken": token, "progress": 1, "message": LEAK})
        notify("notifications/message", {"level": "error", "data": {"deep": [LEAK]}})
        return {"content": [{"type": "text", "text": LEAK},
                            {"type": "resource", "resource": {"uri": "leak://" + SECRET, "text": LEAK}},
                            {"type": "vendor/new", LEAK: 1}],
                "structuredContent": {"card": 4111111111111111, "kept": 1.50, SECRET: [LEAK]},
                "_meta": {"vendor": LEAK}}
    if tool == "noisy":
        print(LEAK, file=sys.stderr, flush=True)
        return {"content": [{"type": "text", "text": "said"}]}
    if tool == "pieces":
        half = len(SECRET) // 2
        return {"content": [{"type": "text", "text": SECRET[:half]}, {"type": "text", "text": SECRET[half:]}]}
    if tool == "url":
        return {"content": [{"type": "text", "text": "see data:image/png;base64,iVBORw0KGgo= there"}]}
    if tool == "told":
        return {"content": [{"type": "text", "text": "heard it" if heard_aside else "heard nothing of it"}],
                "structuredContent": {"answers": answers, "mail": heard_mail}}
    if tool == "aside":
        return {"content": [{"type": "text", "text": "wait"}]}
    if tool == "clean":
        return {"content": [{"type": "text", "text": "nothing to see \u00e9"}], "n": 1.50}
    if tool == "half":
        # Half a surrogate pair: JSON by its grammar, and no text.
        return {"content": [{"type": "text", "text": "\ud83d " + LEAK}]}
    if tool == "bytes":
        line = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"%s"}}'
        sys.stdout.buffer.write((line % LEAK).encode().replace(b"so ", b"\xff ") + b"\n")
        return {"content": [{"type": "text", "text": "said"}]}
    if tool == "roots":
        send({"id": "r", "method": "roots/list"})
        return {"content": [{"type": "text", "text": json.dumps(json.loads(sys.stdin.readline())["result"])}]}
    if tool == "long":
        return {"content": [{"type": "text", "text": "word " * 80000 + LEAK}]}
    if tool == "ask":
        send({"id": "q", "method": "elicitation/create",
              "params": {"message": MAIL, "requestedSchema": {"type": "object", "properties": {}}}})
        answer = json.loads(sys.stdin.readline())
        heard = SECRET in json.dumps(answer)
        return {"content": [{"type": "text", "text": "heard it" if heard else "heard nothing of it"}],
                "structuredContent": {"mail": "alice@acme.com" in json.dumps(answer)}}
    raise ValueError


for line in sys.stdin:
    message = json.loads(line)
    ident, method, params = message.get("id"), message.get("method"), message.get("params", {})
    if method is None:
        # An answer to a question that belongs to no call.
        answers += 1
        heard_aside, heard_mail = SECRET in json.dumps(message), "alice@acme.com" in json.dumps(message)
    if ident is None or method is None:
        continue
    result = {
        "initialize": {"protocolVersion": "2025-11-25", "serverInfo": {"name": "leaky", "version": "1"},
                       "capabilities": {"tools": {}, "resources": {}, "prompts": {}, "completions": {}, "logging": {},
                                        "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}},
                       "instructions": MAIL},
        "ping": {}, "logging/setLevel": {},
        "tools/list": {"tools": [{"name": name, "description": MAIL, "inputSchema": {"type": "object"},
                             "execution": {"taskSupport": "optional"}}
                                 for name in ["heard", "all", "clean", "long", "ask"]]},
        "resources/list": {"resources": [{"uri": "leak://one", "name": LEAK}]},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "leak://{x}", "name": LEAK}]},
        "prompts/list": {"prompts": [{"name": "p", "description": LEAK}]},
        "resources/read": {"contents": [{"uri": "leak://one", "text": LEAK}]},
        "prompts/get": {"messages": [{"role": "user", "content": {"type": "text", "text": LEAK}}]},
        "completion/complete": {"completion": {"values": [LEAK]}},
        "tasks/list": {"tasks": [TASK]},
        "tasks/result": {"content": [{"type": "text", "text": LEAK}],
                         "_meta": {"io.modelcontextprotocol/related-task": {"taskId": SECRET}}},
    }.get(method)
    if method == "tasks/get" and params["taskId"] == SECRET:
        result = TASK
    if method == "tools/call" and "task" in params:
        result = {"task": TASK}
    elif method == "tools/call":
        try:
            result = call(ident, params)
        except ValueError:
            send({"id": ident, "error": {"code": 7, "message": LEAK, "data": {"more": LEAK}}})
            continue
    if result is None:
        send({"id": ident, "error": {"code": -32601, "message": "Method not found"}})
    else:
        send({"id": ident, "result": result})
    if method == "tools/call" and params["name"] == "aside":
        # Behind the answer, so in no call.
        said = {
            "notifications/message": {"level": "error", "data": {"deep": [MAIL]}},
            "notifications/tasks/status": {**TASK, "statusMessage": MAIL},
            "elicitation/create": {"message": MAIL, "requestedSchema": {"type": "object", "properties": {}}},
            "sampling/createMessage": {"messages": [{"role": "user", "content": {"type": "text", "text": MAIL}}],
                                       "maxTokens": 5},
        }
        method = params["arguments"]["method"]
        if method.startswith("notifications/"):
            notify(method, said[method])
        else:
            send({"id": "aside", "method": method, "params": said[method]})
