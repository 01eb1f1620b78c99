"""Rules, dashboards and runbooks against the code, and with `make test-watch` against Prometheus itself."""
