"""Metrics and traces in the formats of Prometheus, OpenTelemetry and Perfetto."""
