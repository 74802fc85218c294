"""The everything server of the Python SDK: everything.py DIRECTORY PLACE, where a place is `stdio`, a port or a socket."""

import sys

sys.path.insert(0, sys.argv[1])
place = sys.argv[2]

from mcp_everything_server import server  # noqa: E402

if place == "stdio":
    server.mcp.run(transport="stdio")
else:
    import uvicorn

    # As its own command line starts it.
    app = server.mcp.streamable_http_app(event_store=server.event_store, retry_interval=100)
    where = {"uds": place} if place.startswith("/") else {"host": "127.0.0.1", "port": int(place)}
    uvicorn.run(app, log_level="warning", **where)
