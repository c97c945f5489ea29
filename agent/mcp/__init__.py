"""The MCP server: what agents can ask of live jobs and incident files, read-only and bounded.

`server` speaks the protocol and is the only module that needs the SDK. It passes each call on to a
process of its own, in which `toolbox` answers: nothing in Ray and no hostile file can end or block
the server.
"""
