"""Asks the real OPA, a shared library, about many inputs.

Standard input: {"library", "modules": [[name, text], ...], "data", "query", "inputs": [...]}.
Standard output: for each input one line, {"result": ...}, {} where the query is undefined, or {"error": ...}.
"""

import ctypes
import json
import sys

asked = json.load(sys.stdin)
opa = ctypes.CDLL(asked["library"])
opa.OpaNew.restype = ctypes.c_uint64
for function, arguments in [
    (opa.OpaAddPolicy, [ctypes.c_char_p, ctypes.c_char_p]),
    (opa.OpaAddData, [ctypes.c_char_p, ctypes.c_char_p]),
    (opa.OpaEvalQuery, [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
]:
    function.argtypes = [ctypes.c_uint64, *arguments]
    function.restype = ctypes.c_void_p
opa.OpaFreeString.argtypes = [ctypes.c_void_p]
opa.OpaFreeString.restype = None
engine = opa.OpaNew()


def call(function, *arguments):
    """What a function of the library answers; the text it gives is ours to free."""
    texts = [text.encode() if isinstance(text, str) else text for text in arguments]
    pointer = function(engine, *texts)
    if not pointer:
        sys.exit("the library answered nothing")
    try:
        return json.loads(ctypes.string_at(pointer))
    finally:
        opa.OpaFreeString(pointer)


def must(answer):
    if answer.get("error"):
        sys.exit(f"OPA does not take the bundle: {answer['error']}")


for name, text in asked["modules"]:
    must(call(opa.OpaAddPolicy, name, text))
must(call(opa.OpaAddData, "", json.dumps(asked["data"])))
for document in asked["inputs"]:
    answer = call(opa.OpaEvalQuery, f"answer = {asked['query']}", json.dumps(document), 0, 0)
    if answer.get("error"):
        line = {"error": answer["error"]["message"]}
    else:
        rounds = answer.get("result") or []
        line = {"result": rounds[0]["bindings"]["answer"]} if rounds else {}
    print(json.dumps(line))
