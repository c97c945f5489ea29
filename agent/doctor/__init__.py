"""The preflight: what attaching to a cluster could read on each node, and how to fix the rest.

A check passes through four modules, and a new one has a place in each:

1. `remote/doctor_probe.py` tries it on the node and returns the result as plain data; what surrounds
   the reader is in `remote/confinement.py`, the kernel's checks are in `remote/rights.py`.
2. `facts.NodeCheck` declares that result; `rungs` turns results into evidence sources, named in
   `report.RUNGS`, and `rights` says what they mean for whoever reads the node.
3. `probe` sends the probe to all nodes.
4. `fixes` maps a failed check to the smallest change that helps, `denials` one that the kernel denies;
   `snippets` has the text to paste, and `text/doctor.py` only prints.

What is tried on the cluster itself, joining it and calling into an actor, the launcher does:
`launchers/preflight.py`.
"""
