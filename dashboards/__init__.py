"""The dashboards of Grafana. In come the names of metrics, out goes the JSON of charts/monitoring/dashboards.

`parts` says what a dashboard is, as data. `fleet`, `service`, `release` and `gateway` hold one dashboard each. `grafana` writes
the JSON for `make dashboards`, and is the only module that imports Grafana's own library.
"""
