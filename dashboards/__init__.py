"""Grafana dashboards and Prometheus rules; it has no files yet."""
