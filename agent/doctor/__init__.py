"""The preflight: what attaching to a cluster could read on each node, and how to fix the rest.

A check passes through four modules, and a new one has a place in each:

1. `remote/doctor_probe.py` tries it on the node and returns the result as plain data.
2. `report.NodeCheck` declares that result; if it decides an evidence source, that is named in
   `report.RUNGS`.
3. `probe` sends the probe to all nodes and turns results into rungs (`_node_report`).
4. `fixes` maps a failed check to the text to paste; `text/doctor.py` only prints.

What is tried on the cluster itself, joining it and calling into an actor, the launcher does:
`launchers/preflight.py`.
"""
