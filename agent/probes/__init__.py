"""Spans recorded inside a training process (stdlib only, sent by value).

Wrappers on the classes of DeepSpeed and Ray write fixed-size records into a ring in shared
memory; the session reads it from outside. Nothing here may raise into the job, wait, start a
thread, or stay when it is told to go.
"""
